// How are vectors spelled with AVX2 and FMA?
#pragma once
#include <immintrin.h>

#include "runtime/types.hpp"

namespace {
using fffbench::bf16;

struct Simd {
    using V = __m256;
    static constexpr int width = 8;

    // Keep a loaded value in its register: GCC would load it again for every use that can take a memory operand.
    template <class R>
    static R pin(R a) {
        asm("" : "+x"(a));
        return a;
    }
    static V zero() { return _mm256_setzero_ps(); }
    static V set1(float a) { return _mm256_set1_ps(a); }
    static V add(V a, V b) { return _mm256_add_ps(a, b); }
    static V sub(V a, V b) { return _mm256_sub_ps(a, b); }
    static V mul(V a, V b) { return _mm256_mul_ps(a, b); }
    static V div(V a, V b) { return _mm256_div_ps(a, b); }
    static V fma(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
    static V min(V a, V b) { return _mm256_min_ps(a, b); }
    static V max(V a, V b) { return _mm256_max_ps(a, b); }
    static V abs(V a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
    static V round(V a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
    static V scale(V a, V n) {  // a * 2**n for whole n in [-126, 127]
        const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
        return _mm256_mul_ps(a, _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23)));
    }
    static V where_positive(V z, V yes, V no) {
        return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(z, zero(), _CMP_GT_OQ));
    }
    static float sum(V a) {
        __m128 q = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
        q = _mm_hadd_ps(q, q);
        return _mm_cvtss_f32(_mm_hadd_ps(q, q));
    }
    // The sums of four vectors, each added up in the same order as sum() does.
    static void sum4(V a, V b, V c, V d, float* out) {
        const __m128 ab = _mm_hadd_ps(halves(a), halves(b)), cd = _mm_hadd_ps(halves(c), halves(d));
        _mm_storeu_ps(out, _mm_hadd_ps(ab, cd));
    }
    // The sums of 4 x 3 vectors, likewise; every fourth float of `out` is left over.
    static void sum4x3(const V (*v)[3], float* out) {
        for (int t = 0; t < 4; ++t) sum4(v[t][0], v[t][1], v[t][2], v[t][2], out + 4 * t);
    }
    static __m128 halves(V a) { return _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1)); }

    static __m256i lanes(int n) {
        return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    }
    static V load(const float* p) { return _mm256_loadu_ps(p); }
    static V load(const bf16* p) { return widen(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
    static V load(const float* p, int n) { return _mm256_maskload_ps(p, lanes(n)); }
    static V load(const bf16* p, int n) {
        bf16 whole[width] = {};
        for (int i = 0; i < n; ++i) whole[i] = p[i];
        return load(whole);
    }
    static void store(float* p, V a) { _mm256_storeu_ps(p, a); }
    static void store(bf16* p, V a) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), narrow(a)); }
    static void store(float* p, V a, int n) { _mm256_maskstore_ps(p, lanes(n), a); }
    static void store(bf16* p, V a, int n) {
        bf16 whole[width];
        store(whole, a);
        for (int i = 0; i < n; ++i) p[i] = whole[i];
    }
    static void stream(float* p, V a) { _mm256_stream_ps(p, a); }
    static void stream(bf16* p, V a) { _mm_stream_si128(reinterpret_cast<__m128i*>(p), narrow(a)); }
    static void stream_end() { _mm_sfence(); }

    static V widen(__m128i a) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(a), 16)); }
    static __m128i narrow(V a) {
        // round to nearest even on the integer image; a NaN keeps its high half, made quiet
        const __m256i bits = _mm256_castps_si256(a);
        const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
        const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
        const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
        const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(a, a, _CMP_UNORD_Q));
        const __m256i high = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16);
        return _mm_packus_epi32(_mm256_castsi256_si128(high), _mm256_extracti128_si256(high, 1));
    }
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
