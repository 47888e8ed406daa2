// How are the logits x . w of a few tokens and a few weight rows computed, and how the sums of W2 rows?
#pragma once

// Loops over registers must be unrolled, or the registers become memory; GCC stops at a size of its own otherwise.
#define UNROLL _Pragma("GCC unroll 8")

namespace {

constexpr int LINE = 64;  // bytes

// Rows fetched ahead in one pass. Measured on Zen 4: 1 does not keep up with four tokens, 3 gains nothing over 2.
constexpr int FAR = 2;
constexpr int FAR_SPARING = 1;  // where the job is sparing

// TOKENS x ROWS dot products at once: TOKENS + ROWS loads feed TOKENS * ROWS fused multiply-adds. Every product has
// one accumulator, so a token's logit does not depend on which tokens share the pass. `far` are rows that will be
// wanted later: their lines are fetched into the second-level cache at the pace of the multiply-adds.
template <class T, int TOKENS, int ROWS, int AHEAD = FAR, int STRIDE>
inline void dots(const T* const* x, const T* const* w, std::int64_t d, float (*out)[STRIDE],
                 const T* const* far) {
    using D = Dot<T>;
    Simd::V sum[TOKENS][ROWS];
    UNROLL for (int t = 0; t < TOKENS; ++t) UNROLL for (int r = 0; r < ROWS; ++r) sum[t][r] = Simd::zero();
    std::int64_t i = 0;
    for (; i + D::step <= d; i += D::step) {
        typename D::R row[ROWS];
        UNROLL for (int r = 0; r < ROWS; ++r) row[r] = Simd::pin(D::load(w[r] + i));
        UNROLL for (int t = 0; t < TOKENS; ++t) {
            const auto v = Simd::pin(D::load(x[t] + i));
            UNROLL for (int r = 0; r < ROWS; ++r) sum[t][r] = D::mad(v, row[r], sum[t][r]);
        }
        UNROLL for (int f = 0; f < AHEAD; ++f) __builtin_prefetch(far[f] + i, 0, 2);
    }
    if (i < d) {
        const int tail = static_cast<int>(d - i);
        typename D::R row[ROWS];
        UNROLL for (int r = 0; r < ROWS; ++r) row[r] = D::load(w[r] + i, tail);
        UNROLL for (int t = 0; t < TOKENS; ++t) {
            const auto v = D::load(x[t] + i, tail);
            UNROLL for (int r = 0; r < ROWS; ++r) sum[t][r] = D::mad(v, row[r], sum[t][r]);
        }
    }
    if constexpr (TOKENS == 4 && ROWS == 3 && STRIDE == 4) {
        Simd::sum4x3(sum, out[0]);
    } else if constexpr (TOKENS == 4) {
        UNROLL for (int r = 0; r < ROWS; ++r) {
            float of_row[4];
            Simd::sum4(sum[0][r], sum[1][r], sum[2][r], sum[3][r], of_row);
            UNROLL for (int t = 0; t < 4; ++t) out[t][r] = of_row[t];
        }
    } else {
        UNROLL for (int t = 0; t < TOKENS; ++t) UNROLL for (int r = 0; r < ROWS; ++r) out[t][r] = Simd::sum(sum[t][r]);
    }
}

// One dot product for each of LANES pairs of rows. Lanes x chains of 4 cover the latency of the multiply-add; with
// one chain the result has the same bits as that of dots(). Meanwhile what lies FAR_ELEMENTS further is fetched into
// the second-level cache, where that is not 0.
template <class T, int LANES, int CHAINS, int FAR_ELEMENTS = 0>
inline void dots_each(const T* const* x, const T* const* w, std::int64_t d, float* out) {
    using D = Dot<T>;
    Simd::V sum[LANES][CHAINS];
    UNROLL for (int l = 0; l < LANES; ++l)
        UNROLL for (int c = 0; c < CHAINS; ++c) sum[l][c] = Simd::zero();
    std::int64_t i = 0;
    for (; i + CHAINS * D::step <= d; i += CHAINS * D::step)
        UNROLL for (int l = 0; l < LANES; ++l)
            UNROLL for (int c = 0; c < CHAINS; ++c) {
                const T* at = w[l] + i + c * D::step;
                if constexpr (FAR_ELEMENTS != 0) __builtin_prefetch(at + FAR_ELEMENTS, 0, 2);
                sum[l][c] = D::mad(D::load(x[l] + i + c * D::step), D::load(at), sum[l][c]);
            }
    for (; i + D::step <= d; i += D::step)
        UNROLL for (int l = 0; l < LANES; ++l) sum[l][0] = D::mad(D::load(x[l] + i), D::load(w[l] + i), sum[l][0]);
    if (i < d) {
        const int tail = static_cast<int>(d - i);
        UNROLL for (int l = 0; l < LANES; ++l)
            sum[l][0] = D::mad(D::load(x[l] + i, tail), D::load(w[l] + i, tail), sum[l][0]);
    }
    UNROLL for (int l = 0; l < LANES; ++l) {
        UNROLL for (int c = 1; c < CHAINS; ++c) sum[l][0] = Simd::add(sum[l][0], sum[l][c]);
        out[l] = Simd::sum(sum[l][0]);
    }
}

enum class Store { plain, stream };

// Far rows that four tokens' output fetches: one a token, as the passes do.
constexpr int OUTPUT_FAR = 4;

// The columns [i, i + COLUMNS vectors) of TOKENS output rows: the sum over `count` weight rows, kept in registers.
// Meanwhile the same columns of the `far` rows, if there are any, are fetched into the second-level cache.
template <class T, class Y, int TOKENS, int COLUMNS, Store STORE>
inline void output_block(Y* const* y, const T* const* rows, const float* act, int stride, int count, std::int64_t i,
                         bool add, const T* const* far, const T* start) {
    constexpr int LINES = OUTPUT_FAR * ((COLUMNS * Simd::width * static_cast<int>(sizeof(T)) + LINE - 1) / LINE);
    const int pace = (LINES + count - 1) / count;
    int line = 0;
    Simd::V sum[TOKENS][COLUMNS];
    UNROLL for (int t = 0; t < TOKENS; ++t)
        UNROLL for (int c = 0; c < COLUMNS; ++c) sum[t][c] = add ? Simd::load(y[t] + i + c * Simd::width) : Simd::zero();
    if (start != nullptr)
        UNROLL for (int c = 0; c < COLUMNS; ++c) {
            const auto from = Simd::load(start + i + c * Simd::width);
            UNROLL for (int t = 0; t < TOKENS; ++t) sum[t][c] = Simd::add(sum[t][c], from);
        }
    for (int k = 0; k < count; ++k) {
        Simd::V row[COLUMNS];
        UNROLL for (int c = 0; c < COLUMNS; ++c) row[c] = Simd::pin(Simd::load(rows[k] + i + c * Simd::width));
        UNROLL for (int t = 0; t < TOKENS; ++t) {
            const auto a = Simd::pin(Simd::set1(act[t * stride + k]));
            UNROLL for (int c = 0; c < COLUMNS; ++c) sum[t][c] = Simd::fma(a, row[c], sum[t][c]);
        }
        if (TOKENS == 4 && COLUMNS > 1 && far != nullptr)
            for (const int until = line + pace < LINES ? line + pace : LINES; line < until; ++line)
                __builtin_prefetch(far[line % OUTPUT_FAR] + i + line / OUTPUT_FAR * (LINE / static_cast<int>(sizeof(T))),
                                   0, 2);
    }
    UNROLL for (int t = 0; t < TOKENS; ++t)
        UNROLL for (int c = 0; c < COLUMNS; ++c) {
            if constexpr (STORE == Store::stream)
                Simd::stream(y[t] + i + c * Simd::width, sum[t][c]);
            else
                Simd::store(y[t] + i + c * Simd::width, sum[t][c]);
        }
}

template <class T, class Y>
inline void output_tail(Y* y, const T* const* rows, const float* act, int count, std::int64_t i, int tail, bool add,
                        const T* start) {
    auto sum = add ? Simd::load(y + i, tail) : Simd::zero();
    if (start != nullptr) sum = Simd::add(sum, Simd::load(start + i, tail));
    for (int k = 0; k < count; ++k) sum = Simd::fma(Simd::set1(act[k]), Simd::load(rows[k] + i, tail), sum);
    Simd::store(y + i, sum, tail);
}

template <class T, class Y, int COLUMNS, Store STORE>
inline void output_columns(Y* const* y, const T* const* rows, const float* act, int stride, int tokens, int count,
                           std::int64_t i, bool add, const T* const* far, const T* start) {
    int t = 0;
    for (; t + 4 <= tokens; t += 4)
        output_block<T, Y, 4, COLUMNS, STORE>(y + t, rows, act + t * stride, stride, count, i, add,
                                              far == nullptr ? nullptr : far + t, start);
    const float* act_t = act + t * stride;
    switch (tokens - t) {
        case 3: output_block<T, Y, 3, COLUMNS, STORE>(y + t, rows, act_t, stride, count, i, add, far, start); break;
        case 2: output_block<T, Y, 2, COLUMNS, STORE>(y + t, rows, act_t, stride, count, i, add, far, start); break;
        case 1: output_block<T, Y, 1, COLUMNS, STORE>(y + t, rows, act_t, stride, count, i, add, far, start); break;
        default: break;
    }
}

// y[t] (+)= sum over k of act[t][k] * rows[k], for tokens that share all rows. `stream` needs rows of y that are
// whole, aligned cache lines (so there is no tail). `far`: null, or OUTPUT_FAR rows to fetch for every four tokens.
// `start`: null, or a row added once to every token.
template <class T, class Y>
inline void output(Y* const* y, const T* const* rows, const float* act, int stride, int tokens, int count,
                   std::int64_t d, bool add, bool stream, const T* const* far = nullptr, const T* start = nullptr) {
    // accumulators of 4 tokens and the row fit the registers: 24 + 6 of 32, or 12 + 3 of 16
    constexpr int COLUMNS = Simd::width == 16 ? 6 : 3;
    constexpr int W = Simd::width;
    std::int64_t i = 0;
    if (stream) {
        for (; i + COLUMNS * W <= d; i += COLUMNS * W)
            output_columns<T, Y, COLUMNS, Store::stream>(y, rows, act, stride, tokens, count, i, add, far, start);
        for (; i + W <= d; i += W)
            output_columns<T, Y, 1, Store::stream>(y, rows, act, stride, tokens, count, i, add, far, start);
        return;
    }
    for (; i + COLUMNS * W <= d; i += COLUMNS * W)
        output_columns<T, Y, COLUMNS, Store::plain>(y, rows, act, stride, tokens, count, i, add, far, start);
    for (; i + W <= d; i += W)
        output_columns<T, Y, 1, Store::plain>(y, rows, act, stride, tokens, count, i, add, far, start);
    if (i < d)
        for (int t = 0; t < tokens; ++t)
            output_tail(y[t], rows, act + t * stride, count, i, static_cast<int>(d - i), add, start);
}

// y = the sum of `parts` fp32 rows that lie `stride` floats apart, always in the same order.
template <class T>
void sum_partials(void* y, const float* partials, std::int64_t parts, std::int64_t stride, std::int64_t count) {
    T* to = static_cast<T*>(y);
    for (std::int64_t i = 0; i < count; i += Simd::width) {
        const int n = count - i < Simd::width ? static_cast<int>(count - i) : Simd::width;
        auto sum = Simd::load(partials + i, n);
        for (std::int64_t p = 1; p < parts; ++p) sum = Simd::add(sum, Simd::load(partials + p * stride + i, n));
        Simd::store(to + i, sum, n);
    }
}

}  // namespace
