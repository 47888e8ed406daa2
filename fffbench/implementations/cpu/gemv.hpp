// Dense layer on few tokens: how are W1 and W2 streamed through once, as fast as memory delivers them?
//
// A thread owns a range of neurons. For 64 of them at a time it computes the logits, the activations and adds their
// W2 rows to its own partial y, so no thread waits for another until the partial sums are added.
#pragma once

namespace {
using fffbench::GEMV_MAX_BATCH;
using fffbench::GemvJob;

constexpr int GEMV_NEURONS = 64;  // activations of 64 neurons x 16 tokens are 4 KiB; 64 rows of W1 are 192 KiB
constexpr int GEMV_AHEAD = 2;     // rows fetched ahead of the one in work
constexpr int GEMV_ROWS = 4;      // rows streamed side by side: four runs for the hardware prefetchers

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

// One token: row after row, as memory lies, for that is what the hardware prefetchers are best at.
template <class T>
inline void gemv_logits_of_one(const T* x, const T* w1, std::int64_t d, int rows, float* act) {
    for (int r = 0; r < rows; ++r) {
        const T* w = w1 + r * d;
        fetch_row(w + GEMV_AHEAD * d, d);
        dots_each<T, 1, 4>(&x, &w, d, act + r);
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
void gemv(const GemvJob& job, std::int64_t row_begin, std::int64_t row_end, float* partial) {
    const T* x = static_cast<const T*>(job.x);
    alignas(64) float act[GEMV_MAX_BATCH * GEMV_NEURONS];
    for (std::int64_t i = 0; i < job.batch * job.d; ++i) partial[i] = 0;
    for (std::int64_t begin = row_begin; begin < row_end; begin += GEMV_NEURONS) {
        const int rows = row_end - begin < GEMV_NEURONS ? static_cast<int>(row_end - begin) : GEMV_NEURONS;
        const T* w1 = static_cast<const T*>(job.w1) + begin * job.d;
        const T* w2 = static_cast<const T*>(job.w2) + begin * job.d;
        if (job.batch == 1) gemv_logits_of_one(x, w1, job.d, rows, act);
        for (std::int64_t t = 0; t < job.batch && job.batch > 1; t += GROUP) {
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
