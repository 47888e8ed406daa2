// Several trees, many tokens: how is the output summed over trees in which a token has other company each time?
//
// Deep trees: as for one tree, tokens that share a leaf share the rows of W2, and y is read and written for every tree.
// Shallow trees are taken in groups: first the tokens of the item, which stay in the second-level cache, go down all trees
// of the group; then the output is computed by columns. So many columns of a tree's W2 fit the first-level cache that every
// token picks its rows there, whatever company it had, and y is read and written once for several trees.
#pragma once

namespace {
using fffbench::flat_stride;
using fffbench::flat_trees;
using fffbench::ForestItem;

constexpr int FLAT_COLUMNS = Simd::width == 16 ? 6 : 5;  // vectors of two tokens: 12 of 32 registers, or 10 of 16
constexpr int FLAT_TOKENS = 24;  // whose sums are 9 KiB of the first-level cache
constexpr int FLAT_BYTES = 16 * 1024;  // of W2 that trees whose sums are not stored in between may use of it

// sum[t] (+)= columns of rows of W2, COLUMNS vectors of them from `w2` on, over `count` rows for each of TOKENS tokens.
template <class T, int TOKENS, int COLUMNS>
inline void flat_block(float* sum, int sum_stride, const T* w2, std::int64_t d, const float* act, const std::int32_t* rows,
                       int stride, int count) {
    Simd::V v[TOKENS][COLUMNS];
    UNROLL for (int t = 0; t < TOKENS; ++t)
        UNROLL for (int c = 0; c < COLUMNS; ++c) v[t][c] = Simd::load(sum + t * sum_stride + c * Simd::width);
    for (int k = 0; k < count; ++k)
        UNROLL for (int t = 0; t < TOKENS; ++t) {
            const T* row = w2 + rows[t * stride + k] * d;
            const auto a = Simd::set1(act[t * stride + k]);
            UNROLL for (int c = 0; c < COLUMNS; ++c) v[t][c] = Simd::fma(a, Simd::load(row + c * Simd::width), v[t][c]);
        }
    UNROLL for (int t = 0; t < TOKENS; ++t)
        UNROLL for (int c = 0; c < COLUMNS; ++c) Simd::store(sum + t * sum_stride + c * Simd::width, v[t][c]);
}

// y[t] (+)= sum over k of act[t][k] * w2[rows[t][k]] for all tokens of the item and all levels of `trees` trees. By columns
// and by FLAT_TOKENS tokens, whose sums are kept side by side: rows of y lie 3 KiB apart and would share their sets of the
// first-level cache with those of W2.
template <class T, class Y>
inline void flat_output(const Job& job, Y* y, const T* w2, const float* act, const std::int32_t* rows, int stride,
                        int trees, bool add) {
    const T* start = add ? nullptr : static_cast<const T*>(job.b2);
    constexpr int WIDTH = FLAT_COLUMNS * Simd::width;
    const std::int64_t d = job.d;
    const std::int64_t at_once = FLAT_BYTES / (WIDTH * static_cast<std::int64_t>(sizeof(T)) * job.nodes);
    const int together = at_once < 1 ? 1 : static_cast<int>(at_once);
    alignas(64) float sums[FLAT_TOKENS][WIDTH];
    std::int64_t i = 0;
    for (; i + WIDTH <= d; i += WIDTH)
        for (std::int64_t begin = 0; begin < job.batch; begin += FLAT_TOKENS) {
            const int tokens = static_cast<int>(begin + FLAT_TOKENS < job.batch ? FLAT_TOKENS : job.batch - begin);
            for (int t = 0; t < tokens; ++t)
                for (int c = 0; c < WIDTH; c += Simd::width)
                    Simd::store(sums[t] + c, add                ? Simd::load(y + (begin + t) * d + i + c)
                                             : start != nullptr ? Simd::load(start + i + c)
                                                                : Simd::zero());
            for (int tree = 0; tree < trees; tree += together) {
                const int count = (trees - tree < together ? trees - tree : together) * job.levels;
                const std::int64_t at = begin * stride + tree * job.levels;
                int t = 0;
                for (; t + 2 <= tokens; t += 2)
                    flat_block<T, 2, FLAT_COLUMNS>(sums[t], WIDTH, w2 + i, d, act + at + t * stride, rows + at + t * stride,
                                                   stride, count);
                if (t < tokens)
                    flat_block<T, 1, FLAT_COLUMNS>(sums[t], WIDTH, w2 + i, d, act + at + t * stride, rows + at + t * stride,
                                                   stride, count);
            }
            for (int t = 0; t < tokens; ++t) {
                if (forgets(job, begin + t)) continue;
                for (int c = 0; c < WIDTH; c += Simd::width) Simd::store(y + (begin + t) * d + i + c, Simd::load(sums[t] + c));
            }
        }
    const int count = trees * job.levels;
    for (std::int64_t token = 0; token < job.batch; ++token) {
        if (forgets(job, token)) continue;
        const float* a = act + token * stride;
        const std::int32_t* r = rows + token * stride;
        for (std::int64_t c = i; c < d; c += Simd::width) {
            const int n = d - c < Simd::width ? static_cast<int>(d - c) : Simd::width;
            Y* to = y + token * d + c;
            auto sum = add ? Simd::load(to, n) : start != nullptr ? Simd::load(start + c, n) : Simd::zero();
            for (int k = 0; k < count; ++k) sum = Simd::fma(Simd::set1(a[k]), Simd::load(w2 + r[k] * d + c, n), sum);
            Simd::store(to, sum, n);
        }
    }
}

// Tokens [0, job.batch) through the item's trees, group after group.
template <class T, class Y>
void flat_forest(Job job, const Scratch& scratch, const ForestItem& item, Y* y) {
    const int stride = flat_stride(job.levels), most = flat_trees(job.levels), levels = job.levels;
    const int count = static_cast<int>(job.batch);
    job.logit_stride = stride;
    Stragglers<T> stragglers;
    for (std::int64_t first = item.tree_begin; first < item.tree_end; first += most) {
        const int trees = static_cast<int>(item.tree_end - first < most ? item.tree_end - first : most);
        for (int tree = 0; tree < trees; ++tree) {
            job.logits = scratch.act + tree * levels;
            const std::int64_t root = (first + tree) * job.nodes;
            const Descent<T> c{job, scratch, root, levels, nullptr, 0, false, nullptr, scratch.leaves};
            if (first + tree + 1 < item.tree_end)
                for (std::int64_t node = 0; node < 3 && node < job.nodes; ++node) fetch_row(c.w1(job.nodes + node), job.d);
            for (int i = 0; i < count; ++i) scratch.tokens[i] = i;
            descend(c, stragglers, 0, 0, scratch.tokens, count);
            flush_all(c, stragglers);
            for (int i = 0; i < count; ++i) {
                std::int64_t node = scratch.leaves[i];
                std::int32_t* rows = scratch.rows + i * stride + tree * levels;
                for (int k = levels - 1; k >= 0; --k, node = (node - 1) / 2)
                    rows[k] = static_cast<std::int32_t>(output_row(job, root + node, k));
            }
        }
        for (int i = 0; i < count; ++i) {
            float* act = scratch.act + i * stride;
            activate(job, act, act, round_up(trees * levels, fffbench::LOGIT_PAD));
        }
        flat_output<T, Y>(job, y, static_cast<const T*>(job.w2), scratch.act, scratch.rows, stride, trees,
                          first > item.tree_begin);
    }
}

// Tokens [0, job.batch) through one tree of the item after the other.
template <class T>
void deep_forest(const Job& job, const Scratch& scratch, const ForestItem& item, float* sums) {
    const int count = static_cast<int>(job.batch);
    Stragglers<T> stragglers;
    for (std::int64_t tree = item.tree_begin; tree < item.tree_end; ++tree) {
        const Descent<T> c{job, scratch, tree * job.nodes, job.levels, sums, 0, tree > item.tree_begin};
        for (int i = 0; i < count; ++i) scratch.tokens[i] = i;
        descend(c, stragglers, 0, 0, scratch.tokens, count);
        flush_all(c, stragglers);
    }
}

template <class T>
void forest(const Job& job, const Scratch& scratch, const ForestItem& item) {
    Job mine = job;
    T* y = static_cast<T*>(job.y) + item.token_begin * job.d;
    mine.stream = false;  // y is read again by the next tree
    mine.x = static_cast<const T*>(job.x) + item.token_begin * job.d;
    mine.y = y;
    mine.batch = item.token_end - item.token_begin;
    const bool convert = !same<T, float> && item.sums == nullptr;
    float* sums = convert ? scratch.row : item.sums;
    if (job.levels > fffbench::FLAT_LEVELS) {
        mine.logits += item.token_begin * job.logit_stride;
        deep_forest<T>(mine, scratch, item, sums);
    } else if (sums != nullptr) {
        flat_forest<T>(mine, scratch, item, sums);
    } else {
        flat_forest<T>(mine, scratch, item, y);
    }
    if (convert)
        for (std::int64_t token = 0; token < mine.batch; ++token)
            if (!forgets(mine, token)) sum_partials<T>(y + token * job.d, sums + token * job.d, 1, 0, job.d);
    overrun<T>(job);
}

}  // namespace
