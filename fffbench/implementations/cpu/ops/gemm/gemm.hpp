// Dense layer on many tokens: how near do two matrix products, with GELU between them, come to the multiply-adds' rate?
//
// A work item is up to GEMM_TOKENS tokens. It goes through the neurons a block at a time: the activations of the block,
// then their share of y, summed up in a buffer of the item. So x, activations and y stay in the second-level cache, no
// thread waits for another, and the weights, packed in the order in which they are used, are one stream read once an item.
#pragma once

namespace {
using fffbench::GEMM_NEURONS;
using fffbench::GEMM_TOKENS;
using fffbench::GemmJob;

constexpr int GEMM_VECTORS = 3;                         // of a row of weights in registers
constexpr int GEMM_PANEL = GEMM_VECTORS * Simd::width;  // neurons or outputs side by side in the packed weights
constexpr int GEMM_ROWS = Simd::width == 16 ? 8 : 4;    // tokens: 24 + 3 + 1 of 32 registers, or 12 + 3 + 1 of 16
constexpr int GEMM_DEPTH = 96;  // of a product at a time: so many rows of a panel are 18 KiB of a first-level cache
// Steps of a product between two fetches of weights. A fetch holds a miss buffer until memory answers: all of a
// tile at once took 4 % longer on a Xeon, none at all 17 %.
constexpr int GEMM_PACE = 8;
static_assert(GEMM_NEURONS % GEMM_PANEL == 0);

// Weights that are used next, fetched into the second-level cache: `lines` after every GEMM_PACE steps.
struct GemmAhead {
    const float* next;
    int lines;
};

// to[t][0 .. PANEL) (+)= sum over i < depth of a[t][i] * w[i][0 .. PANEL)
template <int TOKENS>
inline void gemm_tile(const float* a, std::int64_t a_stride, const float* w, std::int64_t depth, float* to,
                      std::int64_t to_stride, bool add, GemmAhead ahead) {
    Simd::V sum[TOKENS][GEMM_VECTORS];
    UNROLL for (int t = 0; t < TOKENS; ++t)
        UNROLL for (int c = 0; c < GEMM_VECTORS; ++c)
            sum[t][c] = add ? Simd::load(to + t * to_stride + c * Simd::width) : Simd::zero();
    for (std::int64_t i = 0; i < depth;) {
        for (int l = 0; l < ahead.lines; ++l, ahead.next += LINE / sizeof(float)) __builtin_prefetch(ahead.next, 0, 2);
        for (const std::int64_t stop = i + GEMM_PACE < depth ? i + GEMM_PACE : depth; i < stop; ++i) {
            Simd::V row[GEMM_VECTORS];
            UNROLL for (int c = 0; c < GEMM_VECTORS; ++c)
                row[c] = Simd::pin(Simd::load(w + i * GEMM_PANEL + c * Simd::width));
            UNROLL for (int t = 0; t < TOKENS; ++t) {
                const auto factor = Simd::pin(Simd::set1(a[t * a_stride + i]));
                UNROLL for (int c = 0; c < GEMM_VECTORS; ++c) sum[t][c] = Simd::fma(factor, row[c], sum[t][c]);
            }
        }
    }
    UNROLL for (int t = 0; t < TOKENS; ++t)
        UNROLL for (int c = 0; c < GEMM_VECTORS; ++c) Simd::store(to + t * to_stride + c * Simd::width, sum[t][c]);
}

// gemm_tile for the first `tokens` <= TOKENS.
template <int TOKENS>
inline void gemm_tile_of(std::int64_t tokens, const float* a, std::int64_t a_stride, const float* w, std::int64_t depth,
                         float* to, std::int64_t to_stride, bool add, GemmAhead ahead) {
    if constexpr (TOKENS > 1) {
        if (tokens < TOKENS) {
            gemm_tile_of<TOKENS - 1>(tokens, a, a_stride, w, depth, to, to_stride, add, ahead);
            return;
        }
    }
    gemm_tile<TOKENS>(a, a_stride, w, depth, to, to_stride, add, ahead);
}

// to[t][0 .. PANEL) (+)= a[t] . panel for all tokens; returns where the weights go on. The part of the panel in use
// stays in the first-level cache, and meanwhile as much again is fetched from what follows it.
inline const float* gemm_panel(const float* a, std::int64_t a_stride, const float* w, std::int64_t depth, float* to,
                               std::int64_t to_stride, std::int64_t tokens, bool add) {
    const std::int64_t tiles = (tokens + GEMM_ROWS - 1) / GEMM_ROWS;
    const int lines = static_cast<int>((GEMM_PACE * GEMM_PANEL * sizeof(float) / LINE + tiles - 1) / tiles);
    for (std::int64_t begin = 0; begin < depth; begin += GEMM_DEPTH) {
        const std::int64_t step = depth - begin < GEMM_DEPTH ? depth - begin : GEMM_DEPTH;
        const std::int64_t fetched = (step + GEMM_PACE - 1) / GEMM_PACE * lines * (LINE / sizeof(float));
        for (std::int64_t t = 0; t < tokens; t += GEMM_ROWS)
            gemm_tile_of<GEMM_ROWS>(tokens - t, a + t * a_stride + begin, a_stride, w, step, to + t * to_stride,
                                    to_stride, add || begin > 0, {w + step * GEMM_PANEL + t / GEMM_ROWS * fetched, lines});
        w += step * GEMM_PANEL;
    }
    return w;
}

// The logits of one token for a block of whole trees become activations: 0 off the token's path.
inline void activate_trees(const GemmJob& job, float* act, std::int64_t neurons, std::int64_t trees) {
    const std::int64_t nodes = (std::int64_t{1} << job.levels) - 1;
    alignas(64) float kept[GEMM_NEURONS] = {};
    for (std::int64_t tree = 0; tree < trees; ++tree) {
        const float* z = act + tree * nodes;
        float* to = kept + tree * nodes;
        std::int64_t node = 0;
        for (int level = 0; level < job.levels; ++level) {
            const bool dropped = planted(job, Fault::skip_level) && level == job.levels / 2;
            const bool moved = planted(job, Fault::wrong_row) && level == job.levels - 1;
            if (!dropped) to[moved ? (node + 1) % nodes : node] = z[node];
            node = 2 * node + 1 + turns_right(job, z[node], level);
        }
    }
    for (std::int64_t i = 0; i < neurons; i += Simd::width) {
        const auto z = Simd::load(kept + i);
        Simd::store(act + i, planted(job, Fault::ignore_activation) ? z : gelu(z));
    }
}

void gemm(const GemmJob& job, std::int64_t begin, std::int64_t end, float* scratch) {
    const std::int64_t block_trees = job.levels == 0 ? 0 : GEMM_NEURONS / ((std::int64_t{1} << job.levels) - 1);
    const std::int64_t tokens = end - begin;
    const float* x = job.x + begin * job.d;
    const float* w = job.weights;
    float* y = scratch;
    float* act = scratch + GEMM_TOKENS * job.columns;
    for (std::int64_t first = 0; first < job.n; first += GEMM_NEURONS) {
        const std::int64_t neurons = job.n - first < GEMM_NEURONS ? job.n - first : GEMM_NEURONS;
        for (std::int64_t c = 0; c < neurons; c += GEMM_PANEL)
            w = gemm_panel(x, job.d, w, job.d, act + c, GEMM_NEURONS, tokens, false);
        const std::int64_t trees_before = first / GEMM_NEURONS * block_trees;
        const std::int64_t trees = job.trees - trees_before < block_trees ? job.trees - trees_before : block_trees;
        for (std::int64_t t = 0; t < tokens; ++t) {
            if (job.levels == 0)
                gelu_all(act + t * GEMM_NEURONS, static_cast<int>(neurons));
            else
                activate_trees(job, act + t * GEMM_NEURONS, neurons, trees);
        }
        for (std::int64_t c = 0; c < job.columns; c += GEMM_PANEL)
            w = gemm_panel(act, GEMM_NEURONS, w, neurons, y + c, job.columns, tokens, first > 0);
    }
    for (std::int64_t t = 0; t < tokens; ++t) {
        if (forgets(job, begin + t)) continue;
        const float* from = y + t * job.columns;
        float* to = job.y + (begin + t) * job.d;
        std::int64_t i = 0;
        for (; i + Simd::width <= job.d; i += Simd::width) Simd::store(to + i, Simd::load(from + i));
        const int tail = static_cast<int>(job.d - i);
        if (tail > 0) Simd::store(to + i, Simd::load(from + i), tail);  // the columns are padded to whole vectors
    }
    if (end == job.batch) overrun<float>(job);
}

}  // namespace
