// What is gelu(z) = z * Phi(z), for a whole vector and to fp32 accuracy?
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

// In place over `count` floats, a multiple of the vector width.
inline void gelu_all(float* values, int count) {
    for (int i = 0; i < count; i += Simd::width) Simd::store(values + i, gelu(Simd::load(values + i)));
}

// In place over any number of floats.
void gelu_floats(float* values, std::size_t count) {
    constexpr std::size_t W = Simd::width;
    std::size_t i = 0;
    for (; i + W <= count; i += W) Simd::store(values + i, gelu(Simd::load(values + i)));
    const int rest = static_cast<int>(count - i);
    if (rest > 0) Simd::store(values + i, gelu(Simd::load(values + i, rest)), rest);
}

}  // namespace
