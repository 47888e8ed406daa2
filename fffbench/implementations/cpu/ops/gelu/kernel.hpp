// What does every instruction set compile of GELU over an array? What the other ops apply to their logits.
#pragma once
#include "ops/gelu/job.hpp"

namespace {

// In place over any number of floats.
void gelu_floats(float* values, std::size_t count) {
    constexpr std::size_t W = Simd::width;
    std::size_t i = 0;
    for (; i + W <= count; i += W) Simd::store(values + i, gelu(Simd::load(values + i)));
    const int rest = static_cast<int>(count - i);
    if (rest > 0) Simd::store(values + i, gelu(Simd::load(values + i, rest)), rest);
}

}  // namespace

FFFBENCH_KERNELS(gelu, GeluKernels, gelu_floats)
