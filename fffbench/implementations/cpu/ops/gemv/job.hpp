// What does a call of the dense layer on few tokens consist of? Plain data, as in types.hpp.
#pragma once
#include "runtime/types.hpp"

namespace fffbench {

constexpr int GEMV_MAX_BATCH = 16; // x and the partial y of 16 tokens are 2 x 48 KiB at d = 768: they stay in L2

// One call of the dense layer on few tokens.
struct GemvJob {
    const void* x;
    const void* w1;
    const void* w2;
    void* y;
    std::int64_t batch, d, n;
};

struct GemvKernels {
    void (*gemv)(const GemvJob&, std::int64_t row_begin, std::int64_t row_end, float* partial);
    void (*sum_partials)(void* y, const float* partials, std::int64_t parts, std::int64_t stride, std::int64_t count);
};

}  // namespace fffbench
