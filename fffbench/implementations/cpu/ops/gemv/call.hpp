// What does Python hold on to for a dense layer on few tokens? A planned call with its workspace.
#pragma once
#include <cstdint>
#include <string>

#include "ops/gemv/job.hpp"
#include "runtime/dispatch.hpp"
#include "runtime/forklock.hpp"
#include "runtime/workspace.hpp"

namespace fffbench {

using Address = std::uintptr_t;

class GemvCall {
public:
    GemvCall(Address x, Address w1, Address w2, Address y, std::int64_t batch, std::int64_t d, std::int64_t n,
             int threads, const std::string& isa, Dtype dtype);
    void run() { run_on(x_, w1_, w2_, y_); }
    void run_on(Address x, Address w1, Address w2, Address y);

    std::size_t workspace_bytes() const { return workspace_.bytes(); }
    const char* isa() const { return isa_->name; }

private:
    Address x_, w1_, w2_, y_;
    std::int64_t batch_, d_, n_, stride_;
    int threads_;
    const Isa* isa_;
    const GemvKernels* kernels_;
    Workspace workspace_;
    float* partials_ = nullptr;
    ForkLock busy_;
};

}  // namespace fffbench
