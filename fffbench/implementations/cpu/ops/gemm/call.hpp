// What does Python hold on to for a dense layer on many tokens? A planned call with its workspace.
#pragma once
#include <cstdint>
#include <string>

#include "ops/gemm/job.hpp"
#include "runtime/dispatch.hpp"
#include "runtime/forklock.hpp"
#include "runtime/workspace.hpp"

namespace fffbench {

using Address = std::uintptr_t;

class GemmCall {
public:
    // `weights`: packed as GemmJob says; x, weights and y may be null until run_on gives them. With `levels`, the n neurons
    // are those of trees of so many levels.
    GemmCall(Address x, Address weights, Address y, std::int64_t batch, std::int64_t d, std::int64_t n, int threads,
             const std::string& isa, int levels = 0, Fault fault = Fault::none);
    void run() { run_on(x_, weights_, y_); }
    void run_on(Address x, Address weights, Address y);

    std::size_t workspace_bytes() const { return workspace_.bytes(); }
    const char* isa() const { return isa_->name; }
    int panel() const { return kernels_->gemm_panel; }
    std::int64_t rows() const { return rows_; }

private:
    Address x_, weights_, y_;
    std::int64_t batch_, d_, rows_, columns_, item_, trees_ = 0;  // item: tokens
    int threads_, levels_;
    Fault fault_;
    const Isa* isa_;
    const GemmKernels* kernels_;
    Workspace workspace_;
    std::int64_t stride_;
    float* scratch_ = nullptr;  // [threads][stride]
    ForkLock busy_;
};

// In place: activations of the logits [tokens][stride] of all nodes of `trees` trees that are on a token's path, 0 elsewhere.
void mask_trees(Address logits, std::int64_t tokens, std::int64_t stride, std::int64_t trees, int levels, int threads,
                Dtype dtype, Fault fault = Fault::none);

}  // namespace fffbench
