// How does a dense layer apply GELU to its hidden tile without a second thread pool getting in the BLAS's way?
#include "elementwise.hpp"

#include <algorithm>

#include "dispatch.hpp"
#include "pool.hpp"

namespace fffbench {

namespace {
constexpr std::int64_t LINE_FLOATS = 16;  // a thread's part starts on a cache line of the tile
}

void gelu_in_place(std::uintptr_t address, std::int64_t count, int threads, const std::string& isa) {
    const Isa& chosen = isa_named(isa);
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
