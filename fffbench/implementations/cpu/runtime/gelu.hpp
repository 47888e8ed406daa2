// What are gelu(z) = z * Phi(z) and the other activations, for a whole vector and to fp32 accuracy?
//
// Phi(-a) = exp(-a*a/2) * R(a) with R(a) = erfcx(a / sqrt 2) / 2, which is smooth: a rational of degree 4/5 fits it
// on [0, 13.1] to a relative error of 5e-9 (weighted least squares, iterated towards the minimax solution). All
// coefficients are positive, so nothing cancels and the left tail keeps its relative accuracy.
#pragma once

namespace {

// Where exp(-a*a/2) would leave the normal range; Phi(-13.1) = 1.6e-39 is 0 to any fp32 sum.
constexpr float GELU_FAR = 13.1f;
constexpr float GELU_TINY = 1e-37f;  // subtracted so that the far tail is exactly 0 and -1e38 * Phi stays 0

inline Simd::V exp_nonpositive(Simd::V x) {
    const auto n = Simd::round(Simd::mul(x, Simd::set1(1.44269504f)));
    auto r = Simd::fma(n, Simd::set1(-0.693359375f), x);  // ln 2 in two parts, the first exact times n
    r = Simd::fma(n, Simd::set1(2.12194440e-4f), r);
    auto p = Simd::set1(1.0f / 720);  // Taylor on |r| <= 0.347: the next term is 1.2e-7 relative
    p = Simd::fma(p, r, Simd::set1(1.0f / 120));
    p = Simd::fma(p, r, Simd::set1(1.0f / 24));
    p = Simd::fma(p, r, Simd::set1(1.0f / 6));
    p = Simd::fma(p, r, Simd::set1(0.5f));
    p = Simd::fma(p, r, Simd::set1(1.0f));
    p = Simd::fma(p, r, Simd::set1(1.0f));
    return Simd::scale(p, n);
}

inline Simd::V gelu(Simd::V z) {
    const auto a = Simd::min(Simd::abs(z), Simd::set1(GELU_FAR));
    auto p = Simd::set1(4.003024093e-03f);
    p = Simd::fma(p, a, Simd::set1(3.986769886e-02f));
    p = Simd::fma(p, a, Simd::set1(1.809597013e-01f));
    p = Simd::fma(p, a, Simd::set1(4.352150417e-01f));
    p = Simd::fma(p, a, Simd::set1(0.5f));
    auto q = Simd::set1(1.003394557e-02f);
    q = Simd::fma(q, a, Simd::set1(9.994106099e-02f));
    q = Simd::fma(q, a, Simd::set1(4.634644228e-01f));
    q = Simd::fma(q, a, Simd::set1(1.193038152f));
    q = Simd::fma(q, a, Simd::set1(1.668314992f));
    q = Simd::fma(q, a, Simd::set1(1.0f));
    const auto e = exp_nonpositive(Simd::mul(Simd::mul(a, a), Simd::set1(-0.5f)));
    auto tail = Simd::mul(e, Simd::div(p, q));
    tail = Simd::max(Simd::sub(tail, Simd::set1(GELU_TINY)), Simd::zero());
    return Simd::mul(z, Simd::where_positive(z, Simd::sub(Simd::set1(1.0f), tail), tail));
}

// Beyond it exp(-a) is 0 to any fp32 sum; exp(-80) = 1.8e-35 and 2**-116 are still normal.
constexpr float SIGMOID_FAR = 80.0f;
constexpr float SIGMOID_TINY = 2e-35f;  // subtracted so that the far tail is exactly 0, as in gelu

// z / (1 + exp(-u)), for u of the sign of z
inline Simd::V sigmoid_times(Simd::V z, Simd::V u) {
    const auto e = exp_nonpositive(Simd::mul(Simd::min(Simd::abs(u), Simd::set1(SIGMOID_FAR)), Simd::set1(-1.0f)));
    const auto tail = Simd::div(e, Simd::add(Simd::set1(1.0f), e));
    const auto small = Simd::max(Simd::sub(tail, Simd::set1(SIGMOID_TINY)), Simd::zero());
    return Simd::mul(z, Simd::where_positive(z, Simd::sub(Simd::set1(1.0f), tail), small));
}

inline Simd::V silu(Simd::V z) { return sigmoid_times(z, z); }

// 0.5 z (1 + tanh(c (z + 0.044715 z^3))) with c = sqrt(2 / pi), which is z / (1 + exp(-2 c (z + ...)))
inline Simd::V gelu_tanh(Simd::V z) {
    const auto cubic = Simd::fma(Simd::mul(z, z), Simd::set1(0.044715f), Simd::set1(1.0f));
    return sigmoid_times(z, Simd::mul(Simd::mul(z, cubic), Simd::set1(1.59576912f)));
}

// A product instead of a maximum: an infinite logit gives NaN whatever its sign, as the other activations do, so that
// a logit that has left fp32's range never ends in a finite output.
inline Simd::V relu(Simd::V z) { return Simd::where_positive(z, z, Simd::mul(z, Simd::zero())); }

// Logits to activations, `count` floats, a multiple of the vector width; both may be the same.
inline void activate_all(fffbench::Activation activation, const float* logits, float* act, int count) {
    const auto each = [&](auto f) {
        for (int i = 0; i < count; i += Simd::width) Simd::store(act + i, f(Simd::load(logits + i)));
    };
    switch (activation) {
        case fffbench::Activation::gelu_tanh: each([](Simd::V z) { return gelu_tanh(z); }); break;
        case fffbench::Activation::relu: each([](Simd::V z) { return relu(z); }); break;
        case fffbench::Activation::silu: each([](Simd::V z) { return silu(z); }); break;
        default: each([](Simd::V z) { return gelu(z); }); break;
    }
}

// In place over `count` floats, a multiple of the vector width.
inline void gelu_all(float* values, int count) {
    for (int i = 0; i < count; i += Simd::width) Simd::store(values + i, gelu(Simd::load(values + i)));
}

}  // namespace
