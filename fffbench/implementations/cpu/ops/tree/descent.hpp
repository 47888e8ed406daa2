// What do all steps of a descent share, and how is the output of tokens written that arrive at one leaf?
#pragma once

namespace {
using fffbench::LOGIT_PAD;

constexpr int OUTPUT_TOKENS = 16;  // tokens whose activations are held at once while columns of W2 pass by

template <class T>
struct Descent {
    const Job& job;
    const Scratch& scratch;
    std::int64_t base;        // row of the tree's root
    int stop;                 // level at which to record the node instead of going on, or job.levels
    float* sums;              // fp32 output rows in place of y, from `first_token` on; null: y itself
    std::int64_t first_token;
    bool add;                 // to what earlier trees left
    std::int32_t* counts = nullptr;  // of tokens that stop at each node of level `stop`, from the left
    std::int32_t* leaves = nullptr;  // where set: record the leaf of each token and compute no output

    const T* x(std::int64_t token) const { return static_cast<const T*>(job.x) + token * job.d; }
    const T* w1(std::int64_t node) const { return static_cast<const T*>(job.w1) + (base + node) * job.d; }

    const T* w2(std::int64_t node) const { return static_cast<const T*>(job.w2) + (base + node) * job.d; }
};

// Tokens that share the path to `leaf`: activations, then the output rows.
template <class T>
inline void leaf_output(const Descent<T>& c, std::int64_t leaf, const std::int32_t* tokens, int count) {
    if (c.leaves != nullptr) {
        for (int i = 0; i < count; ++i) c.leaves[tokens[i]] = static_cast<std::int32_t>(leaf);
        return;
    }
    const Job& job = c.job;
    const T* rows[MAX_LEVELS];
    for (int k = job.levels - 1; k >= 0; --k, leaf = (leaf - 1) / 2)
        rows[k] = static_cast<const T*>(job.w2) + output_row(job, c.base + leaf, k) * job.d;
    const int stride = job.logit_stride;
    alignas(64) float act[OUTPUT_TOKENS * 2 * LOGIT_PAD];
    const T* start = c.add ? nullptr : static_cast<const T*>(job.b2);
    T* y[OUTPUT_TOKENS];
    float* sums[OUTPUT_TOKENS];
    for (int i = 0; i < count;) {
        int n = 0;
        for (; n < OUTPUT_TOKENS && i < count; ++i) {
            const std::int64_t token = tokens[i];
            if (forgets(job, token)) continue;
            y[n] = static_cast<T*>(job.y) + token * job.d;
            if (c.sums != nullptr) sums[n] = c.sums + (token - c.first_token) * job.d;
            activate(job, job.logits + token * stride, act + n * stride, stride);
            ++n;
        }
        const T* far[OUTPUT_TOKENS];
        const int fetched = job.sparing ? 0 : n / OUTPUT_FAR * OUTPUT_FAR;
        for (int f = 0; f < fetched; ++f) far[f] = next_errand(c, rows[0]);
        const T* const* fetch = job.sparing ? nullptr : far;
        if (c.sums != nullptr)
            output<T, float>(sums, rows, act, stride, n, job.levels, job.d, c.add, false, fetch, start);
        else
            output<T, T>(y, rows, act, stride, n, job.levels, job.d, c.add, job.stream, fetch, start);
    }
}

}  // namespace
