// How does a dense layer apply GELU to its hidden tile without a second thread pool getting in the BLAS's way?
#include <algorithm>

#include "ops/gelu/job.hpp"
#include "runtime/op.hpp"
#include "runtime/pool.hpp"

namespace fffbench {

FFFBENCH_TABLES(gelu, GeluKernels)

namespace {
constexpr std::int64_t LINE_FLOATS = 16;  // a thread's part starts on a cache line of the tile
}

static void gelu_in_place(std::uintptr_t address, std::int64_t count, int threads, const std::string& isa) {
    const GeluKernels& chosen = gelu_kernels(isa_named(isa), Dtype::fp32);
    float* values = reinterpret_cast<float*>(address);
    reserve_threads(threads);
    const std::int64_t lines = (count + LINE_FLOATS - 1) / LINE_FLOATS;
    for_each_item(threads, threads, [&](std::int64_t part) {
        const auto from = lines * part / threads * LINE_FLOATS;
        const auto to = std::min(lines * (part + 1) / threads * LINE_FLOATS, count);
        if (to > from) chosen.gelu(values + from, static_cast<std::size_t>(to - from));
    });
}

}  // namespace fffbench

FFFBENCH_OP(gelu) {
    using namespace fffbench;
    m.def("gelu", gelu_in_place, Unlocked(), "ptr"_a, "count"_a, "threads"_a = 1, "isa"_a = "auto",
          "Exact GELU over `count` floats, in place.");
}
