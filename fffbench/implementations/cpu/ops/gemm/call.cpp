// How are many tokens of a dense layer split over threads?
#include "ops/gemm/call.hpp"

#include <algorithm>

#include "runtime/op.hpp"
#include "runtime/pool.hpp"

namespace fffbench {

FFFBENCH_TABLES(gemm, GemmKernels)

namespace {

std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

constexpr std::int64_t MOST = std::int64_t{1} << 40;  // keeps every product below within 64 bits

}  // namespace

GemmCall::GemmCall(Address x, Address weights, Address y, std::int64_t batch, std::int64_t d, std::int64_t n,
                   int threads, const std::string& isa, int levels, Fault fault)
    : x_(x), weights_(weights), y_(y), batch_(batch), d_(d), levels_(levels), fault_(fault), isa_(&isa_named(isa)),
      kernels_(&gemm_kernels(*isa_, Dtype::fp32)) {
    if (batch < 0 || batch > MOST) throw std::invalid_argument("batch must be from 0 to 2**40");
    if (d < 1 || n < 1 || d > MOST || n > MOST) throw std::invalid_argument("d and n must be from 1 to 2**40");
    if (threads < 1 || threads > MAX_THREADS) throw std::invalid_argument("threads must be from 1 to 1024");
    rows_ = divide_up(n, panel()) * panel();
    if (levels < 0 || levels > GEMM_MAX_LEVELS)
        throw std::invalid_argument("levels must be from 0 to " + std::to_string(GEMM_MAX_LEVELS));
    if (levels > 0) {
        const std::int64_t nodes = (std::int64_t{1} << levels) - 1, block_trees = GEMM_NEURONS / nodes;
        if (n % nodes != 0) throw std::invalid_argument("n must be a multiple of 2**levels - 1");
        trees_ = n / nodes;
        const std::int64_t full = (trees_ - 1) / block_trees;
        rows_ = full * GEMM_NEURONS + divide_up((trees_ - full * block_trees) * nodes, panel()) * panel();
    }
    columns_ = divide_up(d, panel()) * panel();
    // as many items for each thread as it takes, all of a size
    const std::int64_t items = threads * divide_up(batch, std::int64_t{threads} * GEMM_TOKENS);
    item_ = batch == 0 ? 1 : divide_up(batch, items);
    threads_ = static_cast<int>(std::min<std::int64_t>(threads, std::max<std::int64_t>(1, divide_up(batch, item_))));
    stride_ = GEMM_TOKENS * (columns_ + GEMM_NEURONS) + 32;  // two lines apart, and not all in the same sets
    const auto floats = checked_product(static_cast<std::size_t>(stride_), static_cast<std::size_t>(threads_));
    workspace_.reserve<float>(floats);
    workspace_.allocate();
    scratch_ = workspace_.take<float>(floats);
    reserve_threads(threads_);
}

void GemmCall::run_on(Address x, Address weights, Address y) {
    const std::lock_guard lock(busy_);
    if (batch_ == 0) return;
    if (x == 0 || weights == 0 || y == 0) throw std::invalid_argument("x, weights and y must not be null");
    const GemmJob job{reinterpret_cast<const float*>(x), reinterpret_cast<const float*>(weights),
                      reinterpret_cast<float*>(y), d_, rows_, columns_, batch_, trees_, levels_, fault_};
    std::atomic<std::int64_t> handed_out{0};
    auto body = [&](int worker) {
        float* scratch = scratch_ + worker * stride_;
        for (std::int64_t begin; (begin = handed_out.fetch_add(item_, std::memory_order_relaxed)) < batch_;)
            kernels_->gemm(job, begin, std::min(begin + item_, batch_), scratch);
    };
    run_parallel(threads_, false, body);
}

void mask_trees(Address logits, std::int64_t tokens, std::int64_t stride, std::int64_t trees, int levels, int threads,
                Dtype dtype, Fault fault) {
    if (levels < 1 || levels > MAX_LEVELS) throw std::invalid_argument("levels must be from 1 to 24");
    if (threads < 1 || threads > MAX_THREADS) throw std::invalid_argument("threads must be from 1 to 1024");
    if (tokens < 0 || trees < 1 || stride / ((std::int64_t{1} << levels) - 1) < trees)
        throw std::invalid_argument("tokens must not be negative, and stride at least trees * (2**levels - 1)");
    if (tokens == 0) return;
    if (logits == 0) throw std::invalid_argument("logits must not be null");
    const GemmKernels& kernels = gemm_kernels(isa_named("auto"), dtype);
    const MaskJob job{reinterpret_cast<void*>(logits), stride, trees, levels, fault};
    const std::int64_t item = std::clamp<std::int64_t>(tokens / (4 * std::int64_t{threads}), 1, GEMM_TOKENS);
    for_each_item(threads, divide_up(tokens, item), [&](std::int64_t i) {
        kernels.mask_trees(job, i * item, std::min((i + 1) * item, tokens));
    });
}

}  // namespace fffbench

FFFBENCH_OP(gemm) {
    using namespace fffbench;
    call_class<GemmCall>(m, "GemmCall", "A dense layer on many tokens, fp32, with its workspace.")
        .def("__init__",
             [](GemmCall* at, Address x, Address weights, Address y, std::int64_t batch, std::int64_t d, std::int64_t n,
                int threads, const std::string& isa, int levels FFFBENCH_FAULT_PARAMETER) {
                 new (at) GemmCall(x, weights, y, batch, d, n, threads, isa, levels, FFFBENCH_FAULT);
             },
             "x"_a, "weights"_a, "y"_a, "batch"_a, "d"_a, "n"_a, "threads"_a = 1, "isa"_a = "auto",
             "levels"_a = 0 FFFBENCH_FAULT_NAME)
        .def("run_on", run_on<GemmCall, Address, Address, Address>, Unlocked(), "x"_a, "weights"_a, "y"_a,
             "The same with other tensors.")
        .def_prop_ro("panel", &GemmCall::panel, "Neurons or outputs side by side in the packed weights.")
        .def_prop_ro("rows", &GemmCall::rows, "Neurons in the packed weights, padding included.");
    m.attr("GEMM_NEURONS") = GEMM_NEURONS;
    m.attr("GEMM_MAX_LEVELS") = GEMM_MAX_LEVELS;
    m.def("mask_trees",
          [](Address logits, std::int64_t tokens, std::int64_t stride, std::int64_t trees, int levels, int threads,
             const std::string& dtype FFFBENCH_FAULT_PARAMETER) {
              mask_trees(logits, tokens, stride, trees, levels, threads, dtype_named(dtype), FFFBENCH_FAULT);
          },
          Unlocked(), "logits"_a, "tokens"_a, "stride"_a, "trees"_a, "levels"_a, "threads"_a = 1,
          "dtype"_a = "fp32" FFFBENCH_FAULT_NAME,
          "In place: activations of the logits on each token's path, 0 elsewhere.");
}
