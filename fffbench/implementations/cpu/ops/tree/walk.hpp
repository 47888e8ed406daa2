// Latency strategy: how does a token get down its trees as fast as the memory allows?
//
// Up to four lanes (a lane is one token in one tree) go down together, so that four chains of dependent loads are
// under way at once. Every turn fetches what will be needed whichever way it goes.
#pragma once

namespace {
using fffbench::LANES;
using fffbench::MAX_LEVELS;
using fffbench::WalkItem;

// Is the next row of W1 fetched whole into the second-level cache as soon as the turn is known? Loads alone bring 6.6 GB/s
// from scattered rows on Zen 4, whose core has 24 first-level misses under way; fetched past the first level they bring
// more: one token takes 5.1 us instead of 8.6, two 11 instead of 14 (docs/notebook/kernels.md). Four lanes keep the memory busy by
// themselves: they gain 7 % cold and lose 13 % hot.
template <int LANES_USED>
constexpr bool FETCHES_ROW = LANES_USED <= 2;

// Bytes of each child's W1 row that are fetched before it is known which child is next: to have the address translated
// and the first line there, or the hardware prefetcher started; more costs bandwidth on the side not taken.
constexpr int CHILD_BYTES_ALONE = 256;  // where the row is not fetched whole afterwards
template <int LANES_USED>
constexpr int CHILD_BYTES = FETCHES_ROW<LANES_USED> ? LINE : CHILD_BYTES_ALONE;

template <class T>
struct Lanes {
    const T* x[LANES];
    std::int64_t token[LANES], tree[LANES];
    std::int64_t node[LANES];
    std::int64_t rows[LANES * MAX_LEVELS];
    alignas(64) float act[LANES * MAX_LEVELS + fffbench::LOGIT_PAD];
};

template <class T, int LIMIT = CHILD_BYTES_ALONE>
inline void fetch_children(const Job& job, const T* w1, std::int64_t base, std::int64_t node, int level) {
    if (level + 1 >= job.levels) return;
    const auto bytes = job.d * static_cast<std::int64_t>(sizeof(T));
    for (int side = 1; side <= 2; ++side) {
        const char* row = reinterpret_cast<const char*>(w1 + (base + 2 * node + side) * job.d);
        for (std::int64_t b = 0; b < bytes && b < LIMIT; b += LINE) __builtin_prefetch(row + b, 0, 3);
    }
}

template <class T, int N>
inline void go_down(const Job& job, Lanes<T>& lanes) {
    const T* w1 = static_cast<const T*>(job.w1);
    const T* w2 = job.path == nullptr ? static_cast<const T*>(job.w2) : nullptr;
    const T* row[N];
    float logit[N];
    for (int l = 0; l < N; ++l) lanes.node[l] = 0;
    if constexpr (N == 1) {  // several lanes hide each other's first misses, and pay for fetching
        fetch_row(w1 + lanes.tree[0] * job.nodes * job.d, job.d);
        fetch_row(lanes.x[0], job.d);
    }
    for (int level = 0; level < job.levels; ++level) {
        for (int l = 0; l < N; ++l) {
            const auto base = lanes.tree[l] * job.nodes;
            row[l] = w1 + (base + lanes.node[l]) * job.d;
            fetch_children<T, CHILD_BYTES<N>>(job, w1, base, lanes.node[l], level);
        }
        dots_each<T, N, (N == 1 ? 4 : N <= 3 ? 2 : 1)>(lanes.x, row, job.d, logit);
        for (int l = 0; l < N; ++l) {
            const int at = l * job.levels + level;
            const auto base = lanes.tree[l] * job.nodes;
            logit[l] += bias_of<T>(job, base + lanes.node[l]);
            lanes.rows[at] = base + lanes.node[l];
            lanes.act[at] = logit[l];
            lanes.node[l] = 2 * lanes.node[l] + 1 + turns_right(job, logit[l], level);
            if (FETCHES_ROW<N> && level + 1 < job.levels) fetch_row(w1 + (base + lanes.node[l]) * job.d, job.d);
        }
        // after the next rows of W1, which the next turn waits for; the output is not needed before the end
        if (w2 != nullptr)
            for (int l = 0; l < N; ++l) fetch_row(w2 + lanes.rows[l * job.levels + level] * job.d, job.d);
    }
}

template <class T, class Y>
inline void write_run(const Job& job, const Lanes<T>& lanes, int first, int count, Y* y, bool add) {
    const bool begins = lanes.tree[first] == 0;  // whoever computes the token's first tree, alone or as a part

    const T* w2 = static_cast<const T*>(job.w2);
    const T* rows[LANES * MAX_LEVELS];
    for (int k = 0; k < count * job.levels; ++k)
        rows[k] = w2 + output_row(job, lanes.rows[first * job.levels + k], k % job.levels) * job.d;
    output<T, Y>(&y, rows, lanes.act + first * job.levels, 0, 1, count * job.levels, job.d, add, false,
                 nullptr, begins ? static_cast<const T*>(job.b2) : nullptr);
}

// Lanes of one token are neighbours: sum each run of them in one go.
template <class T>
inline void finish(const Job& job, const Scratch& scratch, const WalkItem& item, Lanes<T>& lanes, int count) {
    if (job.path != nullptr) {
        for (int l = 0; l < count; ++l) {
            std::int32_t* to = job.path + (lanes.token[l] * job.trees + lanes.tree[l]) * job.levels;
            for (int k = 0; k < job.levels; ++k) to[k] = static_cast<std::int32_t>(lanes.rows[l * job.levels + k]);
        }
        return;
    }
    activate(job, lanes.act, lanes.act, round_up(count * job.levels, fffbench::LOGIT_PAD));
    for (int first = 0, next; first < count; first = next) {
        const auto token = lanes.token[first];
        for (next = first + 1; next < count && lanes.token[next] == token;) ++next;
        if (forgets(job, token)) continue;
        const bool add = lanes.tree[first] != item.tree_begin;
        const bool done = lanes.tree[next - 1] + 1 == item.tree_end;
        T* y = static_cast<T*>(job.y) + token * job.d;
        if (item.partial != nullptr) {
            write_run(job, lanes, first, next - first, item.partial + (token - item.token_begin) * job.d, add);
        } else if (same<T, float> || (!add && done)) {
            write_run(job, lanes, first, next - first, y, add);
        } else {  // sums over several runs are kept in fp32
            write_run(job, lanes, first, next - first, scratch.row, add);
            if (done) sum_partials<T>(y, scratch.row, 1, 0, job.d);
        }
    }
}

template <class T>
void walk(const Job& job, const Scratch& scratch, const WalkItem& item) {
    Lanes<T> lanes;
    for (int i = 0; i < LANES * MAX_LEVELS + fffbench::LOGIT_PAD; ++i) lanes.act[i] = 0;
    std::int64_t token = item.token_begin, tree = item.tree_begin;
    while (token < item.token_end) {
        int count = 0;
        for (; count < LANES && token < item.token_end; ++count) {
            lanes.x[count] = static_cast<const T*>(job.x) + token * job.d;
            lanes.token[count] = token;
            lanes.tree[count] = tree;
            if (++tree == item.tree_end) {
                tree = item.tree_begin;
                ++token;
            }
        }
        switch (count) {
            case 4: go_down<T, 4>(job, lanes); break;
            case 3: go_down<T, 3>(job, lanes); break;
            case 2: go_down<T, 2>(job, lanes); break;
            default: go_down<T, 1>(job, lanes); break;
        }
        finish(job, scratch, item, lanes, count);
    }
    if (job.path == nullptr && item.token_end == job.batch) overrun<T>(job);
}

}  // namespace
