// How is the toy split over threads, and what does Python see of it?
#include <algorithm>

#include "ops/toy/job.hpp"
#include "runtime/op.hpp"
#include "runtime/pool.hpp"

namespace fffbench {

FFFBENCH_TABLES(toy, ToyKernels)

namespace {

class ToyCall {
public:
    ToyCall(Address x, Address w1, Address w2, Address y, std::int64_t batch, std::int64_t d, int levels, int threads,
            const std::string& isa, Dtype dtype)
        : x_(x), w1_(w1), w2_(w2), y_(y), batch_(batch), d_(d), levels_(levels), threads_(threads),
          isa_(&isa_named(isa)), kernels_(&toy_kernels(*isa_, dtype)) {
        if (batch < 0 || d < 1 || levels < 1 || threads < 1) throw std::invalid_argument("counts must be positive");
        reserve_threads(threads);
    }
    void run() { run_on(x_, w1_, w2_, y_); }
    void run_on(Address x, Address w1, Address w2, Address y) {
        const ToyJob job{reinterpret_cast<const void*>(x), reinterpret_cast<const void*>(w1),
                         reinterpret_cast<const void*>(w2), reinterpret_cast<void*>(y), d_, levels_};
        for_each_item(threads_, threads_, [&](std::int64_t part) {
            kernels_->tokens(job, batch_ * part / threads_, batch_ * (part + 1) / threads_);
        });
    }
    std::size_t workspace_bytes() const { return 0; }
    const char* isa() const { return isa_->name; }

private:
    Address x_, w1_, w2_, y_;
    std::int64_t batch_, d_;
    int levels_, threads_;
    const Isa* isa_;
    const ToyKernels* kernels_;
};

}  // namespace
}  // namespace fffbench

FFFBENCH_OP(toy) {
    using namespace fffbench;
    call_class<ToyCall>(m, "ToyCall", "A tree FFF, plainly.")
        .def("__init__",
             [](ToyCall* at, Address x, Address w1, Address w2, Address y, std::int64_t batch, std::int64_t d, int levels,
                int threads, const std::string& dtype) {
                 new (at) ToyCall(x, w1, w2, y, batch, d, levels, threads, "auto", dtype_named(dtype));
             },
             "x"_a, "w1"_a, "w2"_a, "y"_a, "batch"_a, "d"_a, "levels"_a, "threads"_a = 1, "dtype"_a = "fp32")
        .def("run_on", run_on<ToyCall, Address, Address, Address, Address>, Unlocked(), "x"_a, "w1"_a, "w2"_a, "y"_a,
             "The same with other tensors.");
}
