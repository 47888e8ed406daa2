// What does Python hold on to between calls? A planned call with its workspace; run() allocates nothing.
#pragma once
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "ops/tree/plan.hpp"
#include "runtime/dispatch.hpp"
#include "runtime/forklock.hpp"
#include "runtime/workspace.hpp"

namespace fffbench {

using Address = std::uintptr_t;

struct FffShape {
    std::int64_t batch, d, trees;
    int levels, threads;
    Dtype dtype;
};

// What a call may have beside its four tensors, of the same type; 0: none. See Job.
struct Extras {
    Address b1 = 0, b2 = 0;
    Activation activation = Activation::gelu;
};

inline void set_extras(Job& job, const Extras& extras) {
    job.b1 = reinterpret_cast<const void*>(extras.b1);
    job.b2 = reinterpret_cast<const void*>(extras.b2);
    job.activation = extras.activation;
}

// The way in for a call with extras: `activation` by its number.
template <class Call>
void run_with(Call& call, Address x, Address w1, Address w2, Address y, Address b1, Address b2, int activation) {
    if (activation < 0 || activation > static_cast<int>(Activation::silu))
        throw std::invalid_argument("activation must be from 0 to 3");
    call.run_on(x, w1, w2, y, {b1, b2, static_cast<Activation>(activation)});
}

class FffCall {
public:
    FffCall(Address x, Address w1, Address w2, Address y, const FffShape& shape, const std::string& strategy,
            const std::string& isa, Fault fault = Fault::none);
    void run() { run_on(x_, w1_, w2_, y_); }
    // the same shape, other tensors
    void run_on(Address x, Address w1, Address w2, Address y, const Extras& extras = {});

    std::size_t workspace_bytes() const { return workspace_.bytes(); }
    const char* strategy() const { return strategy_name(plan_.strategy, plan_.sparing); }
    const char* isa() const { return isa_->name; }
    int threads() const { return plan_.workers; }

private:
    void run_walk(const Job& job);
    void run_direct(const Job& job);
    void run_forest(const Job& job);
    void run_trees_in_turn(const Job& job);
    void run_two_phases(const Job& job);
    void sum_parts(const Job& job, std::int64_t parts, std::int64_t token_stride, std::int64_t part_stride);
    void sort_by_subtree(const Job& job);
    std::int64_t element() const { return dtype_ == Dtype::bf16 ? 2 : 4; }
    std::int64_t blocks(const Job& job) const { return (job.batch + plan_.block - 1) / plan_.block; }
    template <class F>
    void for_items(std::int64_t count, F work);

    Address x_, w1_, w2_, y_;
    const Isa* isa_;
    Dtype dtype_;
    const TreeKernels* kernels_;
    Job job_;
    Plan plan_;
    Workspace workspace_;
    std::vector<Scratch> scratch_;
    std::vector<BucketItem> items_;
    std::int32_t* places_ = nullptr;  // [blocks][subtrees] a block's tokens; then where the first of them belongs
    std::int64_t* starts_ = nullptr;  // [subtrees] where each begins in the order
    float* partials_ = nullptr;  // fp32 output rows of parts of the trees, or sums over trees that bf16 cannot hold
    ForkLock busy_;  // one workspace, one run at a time
};

// The rows of W1 that every token visits, int32 (batch, trees * levels).
void visited_path(Address x, Address w1, Address b1, const FffShape& shape, const std::string& isa, Address out);

}  // namespace fffbench
