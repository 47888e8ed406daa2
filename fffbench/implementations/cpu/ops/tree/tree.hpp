// Which way does a token turn, what does a logit contribute, and which row holds it? The few rules both strategies
// share; the planted faults live here, and only in the build that asks for them.
#pragma once

namespace {
using fffbench::Fault;
using fffbench::Job;
using fffbench::Scratch;

#ifdef FFFBENCH_PLANT_FAULTS
constexpr bool PLANTED = true;
#else
constexpr bool PLANTED = false;
#endif

template <class J>
inline bool planted(const J& job, Fault fault) {
    return PLANTED && job.fault == fault;
}

template <class J>
inline bool turns_right(const J& job, float logit, int level) {
    if (planted(job, Fault::flip_branch) && level == 0) return !(logit > 0);
    return logit > 0;
}

// The row of W2 that belongs to row `row` of W1, reached at `level`.
inline std::int64_t output_row(const Job& job, std::int64_t row, int level) {
    if (planted(job, Fault::wrong_row) && level == job.levels - 1) return (row + 1) % (job.nodes * job.trees);
    return row;
}

// Logits to activations, `size` floats (a multiple of LOGIT_PAD) holding whole paths of job.levels each.
template <class J>
inline void activate(const J& job, const float* logits, float* act, int size) {
    auto activation = fffbench::Activation::gelu;
    if constexpr (requires { job.activation; }) activation = job.activation;
    if (planted(job, Fault::ignore_activation))
        for (int i = 0; i < size; i += Simd::width) Simd::store(act + i, Simd::load(logits + i));
    else
        activate_all(activation, logits, act, size);
    if (planted(job, Fault::skip_level))
        for (int k = job.levels / 2; k < size; k += job.levels) act[k] = 0;
}

// Whether the token's output is left as it was.
template <class J>
inline bool forgets(const J& job, std::int64_t token) {
    return planted(job, Fault::stale_memory) && (job.batch - 1 - token) % 64 == 0;
}

template <class T, class J>
inline void overrun(const J& job) {
    if (planted(job, Fault::write_past_end)) {
        T* y = static_cast<T*>(job.y) + job.batch * job.d;
        Simd::store(y, Simd::set1(1.0f), 1);
    }
}

// Whole row into the second-level cache; every weight row is too long to be wanted in the first all at once.
template <class T>
inline void fetch_row(const T* row, std::int64_t d) {
    const char* p = reinterpret_cast<const char*>(row);
    const auto bytes = d * static_cast<std::int64_t>(sizeof(T));
    for (std::int64_t b = 0; b < bytes; b += LINE) __builtin_prefetch(p + b, 0, 2);
}

template <class A, class B>
inline constexpr bool same = false;
template <class A>
inline constexpr bool same<A, A> = true;

inline float to_float(float value) { return value; }
inline float to_float(bf16 value) {
    const std::uint32_t bits = std::uint32_t{value.bits} << 16;
    float wide;
    __builtin_memcpy(&wide, &bits, sizeof wide);
    return wide;
}

// What is added to the logit of row `row` of W1.
template <class T>
inline float bias_of(const Job& job, std::int64_t row) {
    return job.b1 == nullptr ? 0.0f : to_float(static_cast<const T*>(job.b1)[row]);
}

// To nearest, ties to even; a NaN stays one.
template <class T>
inline T from_float(float value) {
    if constexpr (same<T, float>) {
        return value;
    } else {
        std::uint32_t bits;
        __builtin_memcpy(&bits, &value, sizeof bits);
        if (value != value) return T{static_cast<std::uint16_t>((bits >> 16) | 0x40)};
        return T{static_cast<std::uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16)};
    }
}

inline int round_up(int value, int step) { return (value + step - 1) / step * step; }

}  // namespace
