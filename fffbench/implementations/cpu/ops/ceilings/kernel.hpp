// What can this machine do at most: multiply-adds from registers, reads and copies of memory?
#pragma once
#include "ops/ceilings/job.hpp"

namespace {

// Independent chains: more than latency x throughput needs (4 x 2), fewer than there are registers.
constexpr int PROBE_CHAINS = Simd::width == 16 ? 16 : 10;

template <class T>
double fma_burst(std::int64_t rounds) {
    volatile float source = 0.999f;
    Simd::V sum[PROBE_CHAINS];
    for (int c = 0; c < PROBE_CHAINS; ++c) sum[c] = Simd::set1(source);
    int per_lane = 2;
    if constexpr (Dot<T>::step > Simd::width) {
        T small[Dot<T>::step];
        for (auto& value : small) value = T{static_cast<std::uint16_t>(source < 2 ? 0x3c00 : 0)};
        const auto factor = Dot<T>::load(small);
        for (std::int64_t i = 0; i < rounds; ++i)
            for (int c = 0; c < PROBE_CHAINS; ++c) sum[c] = Dot<T>::mad(factor, factor, sum[c]);
        per_lane = 4;
    } else {
        const auto factor = Simd::set1(source), term = Simd::set1(source * 0.001f);
        for (std::int64_t i = 0; i < rounds; ++i)
            for (int c = 0; c < PROBE_CHAINS; ++c) sum[c] = Simd::fma(sum[c], factor, term);
    }
    volatile float sink = 0;
    for (int c = 0; c < PROBE_CHAINS; ++c) sink = sink + Simd::sum(sum[c]);
    return static_cast<double>(rounds) * PROBE_CHAINS * Simd::width * per_lane;
}

float read_floats(const float* from, std::size_t count) {
    constexpr std::size_t W = Simd::width;
    Simd::V sum[8];
    for (auto& part : sum) part = Simd::zero();
    for (std::size_t i = 0; i + 8 * W <= count; i += 8 * W)
        for (std::size_t c = 0; c < 8; ++c) sum[c] = Simd::add(sum[c], Simd::load(from + i + c * W));
    for (std::size_t c = 1; c < 8; ++c) sum[0] = Simd::add(sum[0], sum[c]);
    return Simd::sum(sum[0]);
}

void copy_floats(float* to, const float* from, std::size_t count) {
    constexpr std::size_t W = Simd::width;
    for (std::size_t i = 0; i + W <= count; i += W) Simd::stream(to + i, Simd::load(from + i));
    Simd::stream_end();
}

}  // namespace

FFFBENCH_KERNELS(ceilings, CeilingKernels, fma_burst<T>, read_floats, copy_floats)
