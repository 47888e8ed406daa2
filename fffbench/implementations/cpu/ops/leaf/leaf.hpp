// Leaf FFF: how do tokens find their leaf, and how is a leaf block, a small dense layer, applied to them?
//
// Few tokens: each goes down alone, then its block is streamed from memory once (leaf_token). Many: all are routed
// first and sorted by leaf; the tokens of a leaf meet its block in a register-blocked product (leaf_tile).
#pragma once
#include "ops/leaf/job.hpp"

namespace {
using fffbench::LEAF_TOKENS;
using fffbench::LeafJob;
using fffbench::LeafKernels;
using fffbench::LeafPart;
using fffbench::LeafScratch;
using fffbench::LeafTile;

// Rows of W1 that four tokens meet at once: 16 accumulators, 4 rows and a token's vector of 32 registers, or 12, 3, 1.
constexpr int LEAF_ROWS = Simd::width == 16 ? 4 : 3;
constexpr int LEAF_AHEAD = 2;  // rows of a block fetched ahead where only one token wants it, as in gemv.hpp

// The first row of a leaf's block in W1, and in W2.
template <class T>
inline const T* block1(const LeafJob& job, std::int64_t tree, std::int64_t leaf) {
    const std::int64_t neuron = (tree * (job.nodes + 1) + leaf) * job.width;
    return static_cast<const T*>(job.w1) + (job.trees * job.nodes + neuron) * job.d;
}
template <class T>
inline const T* block2(const LeafJob& job, std::int64_t tree, std::int64_t leaf) {
    return static_cast<const T*>(job.w2) + (tree * (job.nodes + 1) + leaf) * job.width * job.d;
}

// Row of W1 where the leaf's block begins.
inline std::int64_t block_row(const LeafJob& job, std::int64_t tree, std::int64_t leaf) {
    return job.trees * job.nodes + (tree * (job.nodes + 1) + leaf) * job.width;
}
// What a token's sum starts from when it reaches the leaf; null where nothing does.
template <class T>
inline const T* leaf_start(const LeafJob& job, std::int64_t tree, std::int64_t leaf) {
    if (job.b2 == nullptr) return nullptr;
    return static_cast<const T*>(job.b2) + (tree * (job.nodes + 1) + leaf) * job.d;
}

// N tokens go down one tree side by side: N chains of dependent loads are under way at once.
template <class T, int N>
inline void find_leaves(const LeafJob& job, std::int64_t tree, const T* const* x, std::int64_t* leaf) {
    const T* w1 = static_cast<const T*>(job.w1);
    const std::int64_t base = tree * job.nodes;
    std::int64_t node[N] = {};
    for (int level = 0; level < job.levels; ++level) {
        const T* row[N];
        float logit[N];
        for (int l = 0; l < N; ++l) {
            row[l] = w1 + (base + node[l]) * job.d;
            fetch_children<T, CHILD_BYTES<N>>(job, w1, base, node[l], level);
        }
        dots_each<T, N, (N == 1 ? 4 : 1)>(x, row, job.d, logit);
        for (int l = 0; l < N; ++l) {
            logit[l] += bias_of<T>(job, base + node[l]);
            node[l] = 2 * node[l] + 1 + turns_right(job, logit[l], level);
            if (FETCHES_ROW<N> && level + 1 < job.levels) fetch_row(w1 + (base + node[l]) * job.d, job.d);
        }
    }
    for (int l = 0; l < N; ++l) leaf[l] = node[l] - job.nodes;
}

// The leaves of tokens [begin, end) in every tree; always in fours, so that no token's path depends on its neighbours.
template <class T>
void leaf_route(const LeafJob& job, std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; t += GROUP) {
        const T* x[GROUP];
        for (int i = 0; i < GROUP; ++i) x[i] = static_cast<const T*>(job.x) + (t + i < end ? t + i : end - 1) * job.d;
        for (std::int64_t tree = 0; tree < job.trees; ++tree) {
            std::int64_t leaf[GROUP];
            find_leaves<T, GROUP>(job, tree, x, leaf);
            for (int i = 0; i < GROUP && t + i < end; ++i)
                job.leaf[tree * job.batch + t + i] = static_cast<std::int32_t>(leaf[i]);
        }
    }
}

// Rows the next tile will read, one after the other: its tokens, then its block where that is another one.
template <class T>
struct LeafErrands {
    const LeafJob& job;
    const LeafTile* tile;
    std::int64_t rows, done = 0;

    LeafErrands(const LeafJob& of, const LeafTile& now, const LeafTile* next) : job(of), tile(next), rows(0) {
        if (next != nullptr) rows = next->count + (next->leaf == now.leaf ? 0 : 2 * of.width);
    }
    const T* next(const T* idle) {
        if (done == rows) return idle;
        std::int64_t k = done++;
        if (k < tile->count) return static_cast<const T*>(job.x) + tile->tokens[k] * job.d;
        k -= tile->count;
        return k < job.width ? block1<T>(job, tile->tree, tile->leaf) + k * job.d
                             : block2<T>(job, tile->tree, tile->leaf) + (k - job.width) * job.d;
    }
};

template <class T, int TOKENS, int ROWS>
inline void tile_group(const LeafJob& job, const T* const* x, const T* block, std::int64_t first, float* act,
                       LeafErrands<T>& errands) {
    const T* w[ROWS];
    for (int r = 0; r < ROWS; ++r) w[r] = block + r * job.d;
    const T* far[FAR];
    for (int f = 0; f < FAR; ++f) far[f] = errands.next(x[0]);
    float out[TOKENS][ROWS];
    dots<T, TOKENS, ROWS>(x, w, job.d, out, far);
    for (int r = 0; r < ROWS; ++r) {
        const float bias = bias_of<T>(job, first + r);
        for (int t = 0; t < TOKENS; ++t) act[t * job.act_stride + r] = out[t][r] + bias;
    }
}

template <class T, int ROWS>
inline void tile_rows(const LeafJob& job, const T* const* x, int count, const T* block, std::int64_t first,
                      float* act, LeafErrands<T>& errands) {
    int t = 0;
    for (; t + GROUP <= count; t += GROUP)
        tile_group<T, GROUP, ROWS>(job, x + t, block, first, act + t * job.act_stride, errands);
    act += t * job.act_stride;
    switch (count - t) {
        case 3: tile_group<T, 3, ROWS>(job, x + t, block, first, act, errands); break;
        case 2: tile_group<T, 2, ROWS>(job, x + t, block, first, act, errands); break;
        case 1: tile_group<T, 1, ROWS>(job, x + t, block, first, act, errands); break;
        default: break;
    }
}

// Logits to activations for `tokens` tokens; `count` of the places of each are neurons.
inline void leaf_activate(const LeafJob& job, float* act, int tokens, std::int64_t count) {
    const std::int64_t size = tokens * job.act_stride;
    if (!planted(job, Fault::ignore_activation)) activate_all(job.activation, act, act, static_cast<int>(size));
    if (planted(job, Fault::skip_level))
        for (std::int64_t k = count / 2; k < size; k += job.act_stride) act[k] = 0;
}

// Rows [0, count) of a block of W2, by address.
template <class T>
inline const T* const* rows_of(const LeafJob& job, const LeafScratch& scratch, const T* block, std::int64_t count) {
    for (std::int64_t k = 0; k < count; ++k) scratch.rows[k] = block + k * job.d;
    if (planted(job, Fault::wrong_row)) {
        const std::int64_t rows = job.trees * (job.nodes + 1) * job.width;
        const T* w2 = static_cast<const T*>(job.w2);
        scratch.rows[count - 1] = w2 + ((block - w2) / job.d + count) % rows * job.d;
    }
    return reinterpret_cast<const T* const*>(scratch.rows);
}

// One leaf of one tree on the tokens that reached it; trees after the first add.
template <class T>
void leaf_tile(const LeafJob& job, const LeafScratch& scratch, const LeafTile& tile, const LeafTile* next) {
    const T* x[LEAF_TOKENS];
    T* y[LEAF_TOKENS];
    float* sums[LEAF_TOKENS];
    int count = 0;
    for (int i = 0; i < tile.count; ++i) {
        const std::int64_t at = tile.tokens[i] * job.d;
        if (forgets(job, tile.tokens[i])) continue;
        x[count] = static_cast<const T*>(job.x) + at;
        y[count] = static_cast<T*>(job.y) + at;
        sums[count++] = job.sums + at;
    }
    LeafErrands<T> errands(job, tile, next);
    const T* block = block1<T>(job, tile.tree, tile.leaf);
    const std::int64_t first = block_row(job, tile.tree, tile.leaf);
    std::int64_t r = 0;
    for (; r + LEAF_ROWS <= job.width; r += LEAF_ROWS)
        tile_rows<T, LEAF_ROWS>(job, x, count, block + r * job.d, first + r, scratch.act + r, errands);
    for (; r < job.width; ++r) tile_rows<T, 1>(job, x, count, block + r * job.d, first + r, scratch.act + r, errands);
    leaf_activate(job, scratch.act, count, job.width);
    const T* const* rows = rows_of(job, scratch, block2<T>(job, tile.tree, tile.leaf), job.width);
    const int stride = static_cast<int>(job.act_stride), width = static_cast<int>(job.width);
    const bool add = tile.tree > 0;
    const T* start = leaf_start<T>(job, tile.tree, tile.leaf);
    if (job.sums != nullptr)
        output<T, float>(sums, rows, scratch.act, stride, count, width, job.d, add, false, nullptr, start);
    else
        output<T, T>(y, rows, scratch.act, stride, count, width, job.d, add, job.stream, nullptr, start);
    overrun<T>(job);
    if (job.stream) Simd::stream_end();
}

template <class T, class Y>
inline void token_part(const LeafJob& job, const LeafScratch& scratch, const LeafPart& part, Y* y) {
    const T* x = static_cast<const T*>(job.x) + part.token * job.d;
    for (std::int64_t n = part.begin, count; n < part.end; n += count) {
        const std::int64_t tree = n / job.width, first = n % job.width;
        count = job.width - first < part.end - n ? job.width - first : part.end - n;
        std::int64_t leaf;
        find_leaves<T, 1>(job, tree, &x, &leaf);
        const T* w1 = block1<T>(job, tree, leaf) + first * job.d;
        const std::int64_t row = block_row(job, tree, leaf) + first;
        const T* w2 = block2<T>(job, tree, leaf) + first * job.d;
        for (std::int64_t k = 0; k < count; ++k) {
            const T* w = w1 + k * job.d;
            if (k + LEAF_AHEAD < count) fetch_row(w + LEAF_AHEAD * job.d, job.d);
            fetch_row(w2 + k * job.d, job.d);
            dots_each<T, 1, 4>(&x, &w, job.d, scratch.act + k);
            scratch.act[k] += bias_of<T>(job, row + k);
        }
        leaf_activate(job, scratch.act, 1, count);
        output<T, Y>(&y, rows_of(job, scratch, w2, count), scratch.act, 0, 1, static_cast<int>(count), job.d,
                     n > part.begin, false, nullptr, first == 0 ? leaf_start<T>(job, tree, leaf) : nullptr);
    }
}

template <class T>
void leaf_token(const LeafJob& job, const LeafScratch& scratch, const LeafPart& part) {
    if (forgets(job, part.token)) return;
    T* y = static_cast<T*>(job.y) + part.token * job.d;
    if (part.partial != nullptr) {
        token_part<T>(job, scratch, part, part.partial);
    } else if (same<T, float> || job.trees == 1) {
        token_part<T>(job, scratch, part, y);
    } else {  // sums over several trees are kept in fp32
        token_part<T>(job, scratch, part, scratch.sum);
        sum_partials<T>(y, scratch.sum, 1, 0, job.d);
    }
    overrun<T>(job);
}

template <class T>
inline constexpr LeafKernels leaf_kernels{leaf_route<T>, leaf_tile<T>, leaf_token<T>};

}  // namespace
