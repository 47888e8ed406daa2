// Throughput strategy: how do many tokens share the loads of the weight rows they have in common?
//
// Tokens at a node are taken four at a time against the node's row and, speculatively, both children's: 12
// multiply-adds for 7 loads, two levels a pass over x. Then they are partitioned in place and each part goes on
// depth-first, so that a subtree's weights and tokens stay in the second-level cache. Tokens that arrive at a leaf
// together share the whole path: their output is summed in registers over all levels and written once.
#pragma once

namespace {
using fffbench::CHUNK;
using fffbench::GROUP;
using fffbench::LIST_STRIDE;

// How many tokens ahead of its use a row of x is fetched once more, into the second-level cache if it is not there.
constexpr int SOON = 2 * GROUP;

// Where the tokens of a node go on: four lists, one for each turn of the two levels (or two for one level).
struct Ways {
    std::int32_t* list;  // way w at list + w * LIST_STRIDE
    int size[4];
};

// Logits of TOKENS tokens for one level (ROWS = 1) or two (ROWS = 3), `out[t][row]`.
// MORE: the list goes on for SOON + GROUP tokens. FETCHED: rows from far.
template <class T, int TOKENS, int ROWS, int FETCHED, bool MORE = false>
inline void group_logits(const Descent<T>& c, const T* const* w, const std::int32_t* tokens, bool last,
                         float (*out)[4]) {
    const T* x[TOKENS];
    for (int t = 0; t < TOKENS; ++t) x[t] = c.x(tokens[t]);
    constexpr int AHEAD = FETCHED + (MORE ? GROUP : 0);
    const T* far[AHEAD];
    UNROLL for (int f = 0; f < FETCHED; ++f) far[f] = next_errand(c, x[0]);
    if constexpr (MORE) UNROLL for (int f = 0; f < GROUP; ++f) far[FETCHED + f] = c.x(tokens[SOON + f]);
    if (last)  // translate the addresses of the output rows before they are written
        UNROLL for (int t = 0; t < TOKENS; ++t) {
            const T* y = static_cast<const T*>(c.job.y) + static_cast<std::int64_t>(tokens[t]) * c.job.d;
            __builtin_prefetch(y, 0, 2);  // not into L1, whose few miss buffers would be held until DRAM answers
            __builtin_prefetch(y + c.job.d - 1, 0, 2);
        }
    dots<T, TOKENS, ROWS, AHEAD>(x, w, c.job.d, out, far);
}

// After a pass: stores the logits of the turns that `count` tokens take; the tokens go to the lists of these turns. Not
// group by group, because the long chain of adding up, comparing and appending then fills the core's reorder buffer and
// keeps the next group's multiply-adds out. At batch 16384 that costs bf16 3 % of the call, fp32 within 1 %.
template <int ROWS>
inline void turn(const Job& job, const float (*out)[4], const float* bias, const std::int32_t* tokens, int count,
                 int level, Ways& ways) {
    const bool leads_on = level + 2 < job.levels;  // at the last level the turn leads nowhere
    std::uint64_t sizes = 0;  // four of 16 bits: in a register, for lists in memory would wait for their last store
    static_assert(CHUNK < 1 << 16);
    for (int i = 0; i < count; ++i) {
        const std::int64_t token = tokens[i];
        float* logits = job.logits + token * job.logit_stride + level;
        const float first = out[i][0] + bias[0];
        unsigned way = turns_right(job, first, level);
        logits[0] = first;
        if constexpr (ROWS == 3) {
            const float second = out[i][1 + way] + bias[1 + way];
            logits[1] = second;
            way = 2 * way + (leads_on & turns_right(job, second, level + 1));
        }
        ways.list[way * LIST_STRIDE + ((sizes >> (16 * way)) & 0xffff)] = static_cast<std::int32_t>(token);
        sizes += std::uint64_t{1} << (16 * way);
    }
    for (int w = 0; w < 4; ++w) ways.size[w] = static_cast<int>((sizes >> (16 * w)) & 0xffff);
}

// One pass over the tokens at a node. Not inlined, so that the recursion does not hold 8 KiB of logits at every level.
template <class T, int ROWS, int FETCHED>
[[gnu::noinline]] void node_logits(const Descent<T>& c, std::int64_t node, int level, const std::int32_t* tokens,
                                   int count, Ways& ways) {
    const T* w[ROWS];
    w[0] = c.w1(node);
    for (int r = 1; r < ROWS; ++r) w[r] = c.w1(2 * node + r);
    alignas(64) float out[CHUNK][4];  // of each token, one for each row; the fourth is of no use
    const bool last = level + 2 >= c.job.levels && c.leaves == nullptr;
    int i = 0;
    for (; i + SOON + GROUP <= count; i += GROUP)
        group_logits<T, GROUP, ROWS, FETCHED, true>(c, w, tokens + i, last, out + i);
    for (; i + GROUP <= count; i += GROUP) group_logits<T, GROUP, ROWS, FETCHED>(c, w, tokens + i, last, out + i);
    switch (count - i) {
        case 3: group_logits<T, 3, ROWS, FETCHED>(c, w, tokens + i, last, out + i); break;
        case 2: group_logits<T, 2, ROWS, FETCHED>(c, w, tokens + i, last, out + i); break;
        case 1: group_logits<T, 1, ROWS, FETCHED>(c, w, tokens + i, last, out + i); break;
        default: break;
    }
    float bias[ROWS];
    for (int r = 0; r < ROWS; ++r) bias[r] = bias_of<T>(c.job, c.base + (r == 0 ? node : 2 * node + r));
    turn<ROWS>(c.job, out, bias, tokens, count, level, ways);
}

template <class T, int ROWS>
inline void pass(const Descent<T>& c, std::int64_t node, int level, const std::int32_t* tokens, int count, Ways& ways) {
    if (c.job.sparing)
        node_logits<T, ROWS, FAR_SPARING>(c, node, level, tokens, count, ways);
    else
        node_logits<T, ROWS, FAR>(c, node, level, tokens, count, ways);
}

template <class T>
void descend(const Descent<T>& c, Stragglers<T>& stragglers, std::int64_t node, int level, const std::int32_t* tokens,
             int count, int depth = 0) {
    if (level == c.stop) {
        const auto subtree = static_cast<std::int32_t>(node + 1 - (std::int64_t{1} << level));
        for (int i = 0; i < count; ++i) c.job.subtree[tokens[i]] = subtree;
        c.counts[subtree] = count;
        return;
    }
    if (count <= FEW && c.stop == c.job.levels) {
        leave_behind(c, stragglers, node, level, tokens, count);
        return;
    }
    const bool pair = c.stop - level >= 2;
    const int next = level + (pair ? 2 : 1);
    Ways ways{c.scratch.lists + 4 * LIST_STRIDE * depth, {0, 0, 0, 0}};
    if (count >= CROWD && c.stop == c.job.levels) plan_ahead(c, node, pair, next);
    if (pair)
        pass<T, 3>(c, node, level, tokens, count, ways);
    else
        pass<T, 1>(c, node, level, tokens, count, ways);
    if (next == c.job.levels && !pair) {  // the turn at the last level leads nowhere
        leaf_output(c, node, tokens, count);
        return;
    }
    for (int w = 0; w < 4; ++w) {
        if (ways.size[w] == 0) continue;
        const std::int32_t* part = ways.list + w * LIST_STRIDE;
        if (next == c.job.levels)
            leaf_output(c, 2 * node + 1 + w / 2, part, ways.size[w]);
        else
            descend(c, stragglers, pair ? 4 * node + 3 + w : 2 * node + 1 + w, next, part, ways.size[w], depth + 1);
    }
}

// First phase: the subtree after job.top_levels levels, for tokens [begin, end).
template <class T>
void top(const Job& job, const Scratch& scratch, std::int64_t begin, std::int64_t end, std::int32_t* counts) {
    for (int s = 0; s < 1 << job.top_levels; ++s) counts[s] = 0;
    const Descent<T> c{job, scratch, 0, job.top_levels, nullptr, begin, false, counts};
    const int count = static_cast<int>(end - begin);
    for (int i = 0; i < count; ++i) scratch.tokens[i] = static_cast<std::int32_t>(begin + i);
    Stragglers<T> none;
    descend(c, none, 0, 0, scratch.tokens, count);
}

// Second phase: from `node` to the leaves and the output, for tokens that are all there.
template <class T>
void bottom(const Job& job, const Scratch& scratch, std::int32_t node, const std::int32_t* tokens, int count) {
    const Descent<T> c{job, scratch, 0, job.levels, job.sums, 0, job.add};
    Stragglers<T> stragglers;
    descend(c, stragglers, node, job.top_levels, tokens, count);
    flush_all(c, stragglers);
    overrun<T>(job);
    if (job.stream) Simd::stream_end();
}

}  // namespace
