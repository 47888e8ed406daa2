// Dense layer on few tokens: how are W1 and W2 streamed through once, as fast as memory delivers them?
//
// A thread owns a range of neurons. For 64 of them at a time it computes the logits, the activations and adds their
// W2 rows to its own partial y, so no thread waits for another until the partial sums are added.
#pragma once

namespace {
using fffbench::GEMV_MAX_BATCH;
using fffbench::GemvJob;

constexpr int GEMV_NEURONS = 64;  // activations of 64 neurons x 16 tokens are 4 KiB; 64 rows of W1 are 192 KiB
constexpr int GEMV_ROWS = 4;      // rows streamed side by side for several tokens, whole rows fetched ahead
constexpr int GEMV_NEURONS_OF_ONE = 1024;  // the same 4 KiB for one token; 64 at a time took 8 % longer

// Bytes of the one run of a single token that are on their way into the second-level cache, a line more for each that is
// used. From 0.5 to 3 KiB are level on Zen 4: 27 GB/s on one core, where two rows fetched at once reached 18.
constexpr int GEMV_AHEAD = 1536;

template <class T, int TOKENS>
inline void gemv_logits(const T* const* x, const T* w1, std::int64_t d, int rows, float* act, bool first) {
    for (int r = 0; r < rows; r += GEMV_ROWS) {
        const T* w[GEMV_ROWS];
        if (first)
            for (int i = 0; i < GEMV_ROWS; ++i) fetch_row(w1 + (r + GEMV_ROWS + i) * d, d);
        for (int i = 0; i < GEMV_ROWS; ++i) w[i] = w1 + (r + i < rows ? r + i : rows - 1) * d;
        const T* far[FAR];
        for (int f = 0; f < FAR; ++f) far[f] = x[0];
        float out[TOKENS][GEMV_ROWS];
        dots<T, TOKENS, GEMV_ROWS>(x, w, d, out, far);
        for (int t = 0; t < TOKENS; ++t)
            for (int i = 0; i < GEMV_ROWS && r + i < rows; ++i) act[t * GEMV_NEURONS + r + i] = out[t][i];
    }
}

// partial[t] += act[t][r .. r + ROWS) . rows of W2
template <class T, int ROWS>
inline void gemv_add(float* partial, const T* w2, std::int64_t d, std::int64_t tokens, const float* act) {
    std::int64_t i = 0;
    for (; i + Simd::width <= d; i += Simd::width) {
        Simd::V row[ROWS];
        for (int r = 0; r < ROWS; ++r) row[r] = Simd::load(w2 + r * d + i);
        for (std::int64_t t = 0; t < tokens; ++t) {
            float* y = partial + t * d + i;
            auto sum = Simd::load(y);
            for (int r = 0; r < ROWS; ++r) sum = Simd::fma(Simd::set1(act[t * GEMV_NEURONS + r]), row[r], sum);
            Simd::store(y, sum);
        }
    }
    if (i < d) {
        const int tail = static_cast<int>(d - i);
        for (std::int64_t t = 0; t < tokens; ++t) {
            float* y = partial + t * d + i;
            auto sum = Simd::load(y, tail);
            for (int r = 0; r < ROWS; ++r)
                sum = Simd::fma(Simd::set1(act[t * GEMV_NEURONS + r]), Simd::load(w2 + r * d + i, tail), sum);
            Simd::store(y, sum, tail);
        }
    }
}

template <class T>
inline void gemv_add_one(float* y, const T* w, std::int64_t d, float act) {
    const auto a = Simd::set1(act);
    std::int64_t i = 0;
    for (; i + Simd::width <= d; i += Simd::width) {
        __builtin_prefetch(w + i + GEMV_AHEAD / static_cast<int>(sizeof(T)), 0, 2);
        Simd::store(y + i, Simd::fma(a, Simd::load(w + i), Simd::load(y + i)));
    }
    if (i < d) {
        const int tail = static_cast<int>(d - i);
        Simd::store(y + i, Simd::fma(a, Simd::load(w + i, tail), Simd::load(y + i, tail)), tail);
    }
}

// One token: row after row, as memory lies, for that is what the hardware prefetchers are best at.
template <class T>
void gemv_of_one(const GemvJob& job, std::int64_t row_begin, std::int64_t row_end, float* y) {
    constexpr int AHEAD = GEMV_AHEAD / static_cast<int>(sizeof(T));
    const T* x = static_cast<const T*>(job.x);
    alignas(64) float act[GEMV_NEURONS_OF_ONE];
    for (std::int64_t i = 0; i < job.d; ++i) y[i] = 0;
    for (std::int64_t begin = row_begin; begin < row_end; begin += GEMV_NEURONS_OF_ONE) {
        const std::int64_t end = row_end - begin < GEMV_NEURONS_OF_ONE ? row_end : begin + GEMV_NEURONS_OF_ONE;
        for (std::int64_t r = begin; r < end; ++r) {
            const T* w = static_cast<const T*>(job.w1) + r * job.d;
            dots_each<T, 1, 4, AHEAD>(&x, &w, job.d, act + (r - begin));
        }
        gelu_all(act, round_up(static_cast<int>(end - begin), LOGIT_PAD));
        for (std::int64_t r = begin; r < end; ++r)
            gemv_add_one<T>(y, static_cast<const T*>(job.w2) + r * job.d, job.d, act[r - begin]);
    }
}

template <class T>
void gemv(const GemvJob& job, std::int64_t row_begin, std::int64_t row_end, float* partial) {
    if (job.batch == 1) {
        gemv_of_one<T>(job, row_begin, row_end, partial);
        return;
    }
    const T* x = static_cast<const T*>(job.x);
    alignas(64) float act[GEMV_MAX_BATCH * GEMV_NEURONS];
    for (std::int64_t i = 0; i < job.batch * job.d; ++i) partial[i] = 0;
    for (std::int64_t begin = row_begin; begin < row_end; begin += GEMV_NEURONS) {
        const int rows = row_end - begin < GEMV_NEURONS ? static_cast<int>(row_end - begin) : GEMV_NEURONS;
        const T* w1 = static_cast<const T*>(job.w1) + begin * job.d;
        const T* w2 = static_cast<const T*>(job.w2) + begin * job.d;
        for (std::int64_t t = 0; t < job.batch; t += GROUP) {
            const T* group[GROUP];
            for (int i = 0; i < GROUP; ++i) group[i] = x + (t + i) * job.d;
            float* to = act + t * GEMV_NEURONS;
            switch (job.batch - t) {
                case 1: gemv_logits<T, 1>(group, w1, job.d, rows, to, t == 0); break;
                case 2: gemv_logits<T, 2>(group, w1, job.d, rows, to, t == 0); break;
                case 3: gemv_logits<T, 3>(group, w1, job.d, rows, to, t == 0); break;
                default: gemv_logits<T, 4>(group, w1, job.d, rows, to, t == 0); break;
            }
        }
        for (std::int64_t t = 0; t < job.batch; ++t)
            gelu_all(act + t * GEMV_NEURONS, round_up(rows, LOGIT_PAD));
        int r = 0;
        for (; r + GEMV_ROWS <= rows; r += GEMV_ROWS) {
            for (int i = 0; i < GEMV_ROWS; ++i) fetch_row(w2 + (r + GEMV_ROWS + i) * job.d, job.d);
            gemv_add<T, GEMV_ROWS>(partial, w2 + r * job.d, job.d, job.batch, act + r);
        }
        for (; r < rows; ++r) gemv_add<T, 1>(partial, w2 + r * job.d, job.d, job.batch, act + r);
    }
}

}  // namespace
