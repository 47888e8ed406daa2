// What does Python hold on to for a leaf FFF? A planned call with its workspace; run() allocates nothing.
#pragma once
#include "ops/leaf/job.hpp"
#include "ops/tree/call.hpp"

namespace fffbench {

struct LeafShape {
    std::int64_t batch, d, trees;
    int levels;  // of routers; 0: every token takes the only leaf
    std::int64_t width;
    int threads;
    Dtype dtype;
};

class LeafCall {
public:
    LeafCall(Address x, Address w1, Address w2, Address y, const LeafShape& shape, const std::string& strategy,
             const std::string& isa, Fault fault = Fault::none);
    void run() { run_on(x_, w1_, w2_, y_); }
    // the same shape, other tensors
    void run_on(Address x, Address w1, Address w2, Address y, const Extras& extras = {});

    std::size_t workspace_bytes() const { return workspace_.bytes(); }
    const char* strategy() const { return strategy_name(strategy_); }
    const char* isa() const { return isa_->name; }
    int threads() const { return workers_; }

private:
    void run_walk(const LeafJob& job);
    void run_bucket(const LeafJob& job);
    void sort_by_leaf(const LeafJob& job, std::int64_t tree);
    template <class F>
    void for_items(std::int64_t count, F work);

    Address x_, w1_, w2_, y_;
    const Isa* isa_;
    const LeafIsa* kernels_;
    std::int64_t element_;  // bytes
    LeafJob job_;
    Strategy strategy_;
    int workers_;
    std::int64_t parts_ = 1;  // walk: how many ways the neurons of a token are split
    Workspace workspace_;
    std::vector<LeafScratch> scratch_;
    std::vector<LeafTile> tiles_;
    std::int64_t* counts_ = nullptr;
    std::int32_t* order_ = nullptr;
    float* partials_ = nullptr;
    ForkLock busy_;  // one workspace, one run at a time
};

}  // namespace fffbench
