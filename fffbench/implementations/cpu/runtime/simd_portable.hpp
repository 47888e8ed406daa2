// How are vectors spelled where nothing is known of the machine? GCC's and Clang's four-lane vectors.
#pragma once
#include "runtime/types.hpp"

namespace {
using fffbench::bf16;

struct Simd {
    typedef float V __attribute__((vector_size(16)));
    typedef std::int32_t I __attribute__((vector_size(16)));
    typedef std::uint16_t H __attribute__((vector_size(8)));
    static constexpr int width = 4;

    template <class R>
    static R pin(R a) {
        return a;
    }
    static V zero() { return V{}; }
    static V set1(float a) { return V{a, a, a, a}; }
    static V add(V a, V b) { return a + b; }
    static V sub(V a, V b) { return a - b; }
    static V mul(V a, V b) { return a * b; }
    static V div(V a, V b) { return a / b; }
    static V fma(V a, V b, V c) { return a * b + c; }
    static V min(V a, V b) { return a < b ? a : b; }
    static V max(V a, V b) { return a > b ? a : b; }
    static V abs(V a) { return a < zero() ? -a : a; }
    static V round(V a) {  // to nearest even for |a| < 2**22, by the rounding of the addition
        const V big = set1(12582912.0f);
        return (a + big) - big;
    }
    static V scale(V a, V n) {  // a * 2**n for whole n in [-126, 127]
        const I exponent = (__builtin_convertvector(n, I) + 127) << 23;
        return a * reinterpret_cast<V>(exponent);
    }
    static V where_positive(V z, V yes, V no) { return z > zero() ? yes : no; }
    static float sum(V a) { return (a[0] + a[1]) + (a[2] + a[3]); }
    static void sum4(V a, V b, V c, V d, float* out) {
        out[0] = sum(a), out[1] = sum(b), out[2] = sum(c), out[3] = sum(d);
    }
    static void sum4x3(const V (*v)[3], float* out) {
        for (int t = 0; t < 4; ++t)
            for (int r = 0; r < 3; ++r) out[4 * t + r] = sum(v[t][r]);
    }

    template <class E>
    static V load(const E* p, int n) {
        E whole[width] = {};
        for (int i = 0; i < n; ++i) whole[i] = p[i];
        return load(whole);
    }
    static V load(const float* p) {
        V a;
        __builtin_memcpy(&a, p, sizeof a);
        return a;
    }
    static V load(const bf16* p) {
        H half;
        __builtin_memcpy(&half, p, sizeof half);
        return reinterpret_cast<V>(__builtin_convertvector(half, I) << 16);
    }
    static void store(float* p, V a) { __builtin_memcpy(p, &a, sizeof a); }
    static void store(bf16* p, V a) {
        // round to nearest even on the integer image; a NaN keeps its high half, made quiet
        typedef std::uint32_t U __attribute__((vector_size(16)));
        const U bits = reinterpret_cast<U>(a);
        const U rounded = bits + ((bits >> 16) & 1u) + 0x7fffu;
        const U high = (a == a ? rounded : (bits | 0x400000u)) >> 16;
        const H half = __builtin_convertvector(high, H);
        __builtin_memcpy(p, &half, sizeof half);
    }
    template <class E>
    static void store(E* p, V a, int n) {
        E whole[width];
        store(whole, a);
        for (int i = 0; i < n; ++i) p[i] = whole[i];
    }
    template <class E>
    static void stream(E* p, V a) {
        store(p, a);
    }
    static void stream_end() {}
};

// Products for dot products: `step` elements of type T a register, summed into fp32 lanes.
template <class T>
struct Dot {
    using R = Simd::V;
    static constexpr int step = Simd::width;
    static R load(const T* p) { return Simd::load(p); }
    static R load(const T* p, int n) { return Simd::load(p, n); }
    static Simd::V mad(R a, R b, Simd::V c) { return Simd::fma(a, b, c); }
};
}  // namespace
