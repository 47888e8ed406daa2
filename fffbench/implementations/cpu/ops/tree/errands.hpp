// Throughput strategy: what is fetched into the second-level cache while multiply-adds keep the core busy?
//
// Fetches must be spread evenly, over the output too: where DRAM does not keep up, hardware drops some of them without
// a trace, and the core waits for the line when it needs it (docs/notebook/kernels.md has the shares).
//
// A job that is `sparing` fetches one far row a pass, every time: in the first phase the next block's tokens, in the
// second the weights of the passes below, and nothing in the output. Where a core does two multiply-adds a cycle, a step
// of a pass is too short for more: each fetch holds one of the 16 first-level miss buffers until DRAM answers, and the
// loads of x, which the second-level cache would answer, wait for them.
#pragma once

namespace {
using fffbench::Errands;

template <class T>
struct Descent;

// From this many tokens at a node on, all its descendants of the next pass will be wanted.
constexpr int CROWD = 16;

// Every fourth request gets nothing: FAR = 2 then means 1.5 rows a pass, and 128 tokens that take 96 passes through the
// first phase need 1.33. Unpaced, two rows a pass ask DRAM for 39 GB/s of its 26 and then for nothing.
constexpr unsigned REST = 4;

inline void send_for(Errands& e, const void* row) {
    if (e.tail - e.head < Errands::RING) e.rows[e.tail++ % Errands::RING] = row;
}

// The next row worth fetching; `idle` where there is none.
template <class T>
inline const T* next_errand(const Descent<T>& c, const T* idle) {
    Errands& e = c.scratch.errands;
    if (!c.job.sparing && ++e.asked % REST == 0) return idle;
    if (e.head != e.tail) return static_cast<const T*>(e.rows[e.head++ % Errands::RING]);
    if (e.done < e.count) {
        const auto at = e.done++;
        const std::int64_t token = e.tokens == nullptr ? e.first + at : e.tokens[at];
        __builtin_prefetch(c.job.logits + token * c.job.logit_stride, 1, 2);
        return c.x(token);
    }
    if (e.node < 0) return idle;
    const std::int64_t node = e.node;
    e.node = -1;
    send_for(e, c.w1(2 * node + 1)), send_for(e, c.w1(2 * node + 2));
    return c.w1(node);
}

// Before a pass over many tokens: queue what the passes below it and the output will read.
template <class T>
inline void plan_ahead(const Descent<T>& c, std::int64_t node, bool pair, int next) {
    if (next == c.stop) return;  // the pass above has seen to it
    Errands& e = c.scratch.errands;
    const bool children = c.stop - next >= 2;  // will the next pass take two levels?
    const auto send_family = [&](auto row, std::int64_t parent, bool whole) {
        send_for(e, row(parent));
        if (whole) send_for(e, row(2 * parent + 1)), send_for(e, row(2 * parent + 2));
    };
    const auto w1 = [&](std::int64_t at) { return c.w1(at); };
    const auto w2 = [&](std::int64_t at) { return c.w2(at); };
    const std::int64_t first = pair ? 4 * node + 3 : 2 * node + 1, count = pair ? 4 : 2;
    e.head = e.tail;
    if (c.leaves == nullptr) send_family(w2, node, pair);
    for (std::int64_t child = first; child < first + count; ++child) send_family(w1, child, children);
    if (c.stop - next > 2 || c.leaves != nullptr) return;
    // the last pass is too short to fetch what the output reads right after it
    for (std::int64_t child = first; child < first + count; ++child) send_family(w2, child, children);
}

}  // namespace
