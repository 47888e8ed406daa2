// Throughput strategy, where sharing ends: how do the last one or two tokens at a node go on?
//
// A row that serves one token is worth no speculation. Such tokens wait, by level, until four have come together from
// different nodes; then they walk the rest of the way side by side, as in walk.hpp.
#pragma once

namespace {

constexpr int FEW = 2;  // at most this many tokens at a node go on alone

template <class T>
struct Stragglers {
    struct Waiting {
        int count;
        std::int32_t token[LANES], node[LANES];
    };
    Waiting at[MAX_LEVELS];  // by level

    Stragglers() {
        for (auto& waiting : at) waiting.count = 0;
    }
};

template <class T, int N>
inline void walk_on(const Descent<T>& c, const std::int32_t* token, const std::int32_t* start, int level) {
    const Job& job = c.job;
    const T* x[N];
    const T* row[N];
    std::int64_t node[N];
    float logit[N];
    for (int l = 0; l < N; ++l) x[l] = c.x(token[l]), node[l] = start[l];
    for (; level < job.levels; ++level) {
        for (int l = 0; l < N; ++l) {
            row[l] = c.w1(node[l]);
            fetch_children(job, static_cast<const T*>(job.w1), c.base, node[l], level);
        }
        dots_each<T, N, 1>(x, row, job.d, logit);
        for (int l = 0; l < N; ++l) {
            logit[l] += bias_of<T>(job, c.base + node[l]);
            if (c.leaves == nullptr) fetch_row(c.w2(node[l]), job.d);
            job.logits[static_cast<std::int64_t>(token[l]) * job.logit_stride + level] = logit[l];
            if (level + 1 < job.levels) node[l] = 2 * node[l] + 1 + turns_right(job, logit[l], level);
        }
    }
    for (int l = 0; l < N; ++l) leaf_output(c, node[l], token + l, 1);
}

template <class T>
inline void flush(const Descent<T>& c, Stragglers<T>& stragglers, int level) {
    auto& waiting = stragglers.at[level];
    switch (waiting.count) {
        case 4: walk_on<T, 4>(c, waiting.token, waiting.node, level); break;
        case 3: walk_on<T, 3>(c, waiting.token, waiting.node, level); break;
        case 2: walk_on<T, 2>(c, waiting.token, waiting.node, level); break;
        case 1: walk_on<T, 1>(c, waiting.token, waiting.node, level); break;
        default: break;
    }
    waiting.count = 0;
}

template <class T>
inline void flush_all(const Descent<T>& c, Stragglers<T>& stragglers) {
    for (int level = 0; level < c.job.levels; ++level) flush(c, stragglers, level);
}

template <class T>
inline void leave_behind(const Descent<T>& c, Stragglers<T>& stragglers, std::int64_t node, int level,
                         const std::int32_t* tokens, int count) {
    auto& waiting = stragglers.at[level];
    for (int i = 0; i < count; ++i) {
        waiting.token[waiting.count] = tokens[i];
        waiting.node[waiting.count] = static_cast<std::int32_t>(node);
        if (++waiting.count == LANES) flush(c, stragglers, level);
    }
}

}  // namespace
