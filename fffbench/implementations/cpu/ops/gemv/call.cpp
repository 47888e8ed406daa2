// How is the dense layer on few tokens split over threads, and how are the parts put together?
#include "ops/gemv/call.hpp"

#include <algorithm>

#include "runtime/op.hpp"
#include "runtime/pool.hpp"

namespace fffbench {

FFFBENCH_TABLES(gemv, GemvKernels)

GemvCall::GemvCall(Address x, Address w1, Address w2, Address y, std::int64_t batch, std::int64_t d, std::int64_t n,
                   int threads, const std::string& isa, Dtype dtype)
    : x_(x), w1_(w1), w2_(w2), y_(y), batch_(batch), d_(d), n_(n), isa_(&isa_named(isa)),
      kernels_(&gemv_kernels(*isa_, dtype)) {
    if (batch < 0 || batch > GEMV_MAX_BATCH) throw std::invalid_argument("batch must be from 0 to 16");
    if (d < 1 || n < 1) throw std::invalid_argument("d and n must be at least 1");
    if (threads < 1 || threads > MAX_THREADS) throw std::invalid_argument("threads must be from 1 to 1024");
    threads_ = static_cast<int>(std::min<std::int64_t>(threads, n));
    // a line between the partial sums of two threads
    stride_ = (batch * d + 31) / 16 * 16;
    const auto floats = checked_product(static_cast<std::size_t>(stride_), static_cast<std::size_t>(threads_));
    workspace_.reserve<float>(floats);
    workspace_.allocate();
    partials_ = workspace_.take<float>(floats);
    reserve_threads(threads_);
}

void GemvCall::run_on(Address x, Address w1, Address w2, Address y) {
    const std::lock_guard lock(busy_);
    if (batch_ == 0) return;
    if (x == 0 || w1 == 0 || w2 == 0 || y == 0) throw std::invalid_argument("x, w1, w2 and y must not be null");
    const GemvJob job{reinterpret_cast<const void*>(x), reinterpret_cast<const void*>(w1),
                      reinterpret_cast<const void*>(w2), reinterpret_cast<void*>(y), batch_, d_, n_};
    for_each_item(threads_, threads_, [&](std::int64_t part) {
        kernels_->gemv(job, n_ * part / threads_, n_ * (part + 1) / threads_, partials_ + part * stride_);
    });
    kernels_->sum_partials(job.y, partials_, threads_, stride_, batch_ * d_);
}

}  // namespace fffbench

FFFBENCH_OP(gemv) {
    using namespace fffbench;
    call_class<GemvCall>(m, "GemvCall", "A dense layer on at most 16 tokens, with its workspace.")
        .def("__init__",
             [](GemvCall* at, Address x, Address w1, Address w2, Address y, std::int64_t batch, std::int64_t d,
                std::int64_t n, int threads, const std::string& isa, const std::string& dtype) {
                 new (at) GemvCall(x, w1, w2, y, batch, d, n, threads, isa, dtype_named(dtype));
             },
             "x"_a, "w1"_a, "w2"_a, "y"_a, "batch"_a, "d"_a, "n"_a, "threads"_a = 1, "isa"_a = "auto",
             "dtype"_a = "fp32")
        .def("run_on", run_on<GemvCall, Address, Address, Address, Address>, Unlocked(), "x"_a, "w1"_a, "w2"_a, "y"_a,
             "The same with other tensors.");
    m.attr("GEMV_MAX_BATCH") = GEMV_MAX_BATCH;
}
