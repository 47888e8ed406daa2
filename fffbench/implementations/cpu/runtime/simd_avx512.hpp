// How are vectors spelled with AVX-512 (F, BW, DQ, VL), and bf16 products where AVX512-BF16 is there too?
#pragma once
#include <immintrin.h>

#include "runtime/types.hpp"

namespace {
using fffbench::bf16;

struct Simd {
    using V = __m512;
    static constexpr int width = 16;

    // Keep a loaded value in its register: GCC would load it again for every use that can take a memory operand.
    template <class R>
    static R pin(R a) {
        asm("" : "+v"(a));
        return a;
    }
    static V zero() { return _mm512_setzero_ps(); }
    static V set1(float a) { return _mm512_set1_ps(a); }
    static V add(V a, V b) { return _mm512_add_ps(a, b); }
    static V sub(V a, V b) { return _mm512_sub_ps(a, b); }
    static V mul(V a, V b) { return _mm512_mul_ps(a, b); }
    static V div(V a, V b) { return _mm512_div_ps(a, b); }
    static V fma(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
    static V min(V a, V b) { return _mm512_min_ps(a, b); }
    static V max(V a, V b) { return _mm512_max_ps(a, b); }
    static V abs(V a) { return _mm512_abs_ps(a); }
    static V round(V a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
    static V scale(V a, V n) { return _mm512_scalef_ps(a, n); }  // a * 2**n for whole n
    static V where_positive(V z, V yes, V no) {
        return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(z, zero(), _CMP_GT_OQ), no, yes);
    }
    static float sum(V a) {
        __m256 h = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
        __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
        q = _mm_hadd_ps(q, q);
        return _mm_cvtss_f32(_mm_hadd_ps(q, q));
    }
    // The sums of four vectors, each added up in the same order as sum() does.
    static void sum4(V a, V b, V c, V d, float* out) {
        const V ab = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
        const V cd = _mm512_add_ps(_mm512_shuffle_f32x4(c, d, 0x44), _mm512_shuffle_f32x4(c, d, 0xee));
        V all = _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));
        all = _mm512_add_ps(all, _mm512_permute_ps(all, 0xb1));
        all = _mm512_add_ps(all, _mm512_permute_ps(all, 0x4e));
        _mm_storeu_ps(out, _mm512_castps512_ps128(_mm512_maskz_compress_ps(0x1111, all)));
    }
    // The sums of 4 x 3 vectors, each added up in the same order as sum() does; out[4 * t + 3] is of no use.
    static void sum4x3(const V (*v)[3], float* out) {
        V all[3];  // the sums of 128-bit quarters, a quarter for each of four vectors
        for (int r = 0; r < 3; ++r) {
            const V ab = _mm512_add_ps(_mm512_shuffle_f32x4(v[0][r], v[1][r], 0x44),
                                       _mm512_shuffle_f32x4(v[0][r], v[1][r], 0xee));
            const V cd = _mm512_add_ps(_mm512_shuffle_f32x4(v[2][r], v[3][r], 0x44),
                                       _mm512_shuffle_f32x4(v[2][r], v[3][r], 0xee));
            all[r] = _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));
        }
        const V lo = _mm512_add_ps(_mm512_shuffle_ps(all[0], all[1], 0x88), _mm512_shuffle_ps(all[0], all[1], 0xdd));
        const V hi = _mm512_add_ps(all[2], _mm512_permute_ps(all[2], 0xb1));
        _mm512_storeu_ps(out, _mm512_add_ps(_mm512_shuffle_ps(lo, hi, 0x08), _mm512_shuffle_ps(lo, hi, 0xad)));
    }

    static __mmask16 lanes(int n) { return static_cast<__mmask16>((1u << n) - 1); }
    static V load(const float* p) { return _mm512_loadu_ps(p); }
    static V load(const bf16* p) { return widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }
    static V load(const float* p, int n) { return _mm512_maskz_loadu_ps(lanes(n), p); }
    static V load(const bf16* p, int n) { return widen(_mm256_maskz_loadu_epi16(lanes(n), p)); }
    static void store(float* p, V a) { _mm512_storeu_ps(p, a); }
    static void store(bf16* p, V a) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), narrow(a)); }
    static void store(float* p, V a, int n) { _mm512_mask_storeu_ps(p, lanes(n), a); }
    static void store(bf16* p, V a, int n) { _mm256_mask_storeu_epi16(p, lanes(n), narrow(a)); }
    static void stream(float* p, V a) { _mm512_stream_ps(p, a); }
    static void stream(bf16* p, V a) { _mm256_stream_si256(reinterpret_cast<__m256i*>(p), narrow(a)); }
    static void stream_end() { _mm_sfence(); }

    static V widen(__m256i a) {
        return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(a), 16));
    }
    static __m256i narrow(V a) {
#ifdef __AVX512BF16__
        return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(a));
#else
        // round to nearest even on the integer image; a NaN keeps its high half, made quiet
        const __m512i bits = _mm512_castps_si512(a);
        const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
        const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
        const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
        const __mmask16 nan = _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);
        return _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_mask_blend_epi32(nan, rounded, quiet), 16));
#endif
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

#ifdef __AVX512BF16__
template <>
struct Dot<bf16> {
    using R = __m512i;
    static constexpr int step = 32;
    static R load(const bf16* p) { return _mm512_loadu_si512(p); }
    static R load(const bf16* p, int n) { return _mm512_maskz_loadu_epi16(static_cast<__mmask32>((1ull << n) - 1), p); }
    static Simd::V mad(R a, R b, Simd::V c) {
        return _mm512_dpbf16_ps(c, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
    }
};
#endif
}  // namespace
