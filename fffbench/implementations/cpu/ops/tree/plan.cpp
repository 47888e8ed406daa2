// How is a call of a given shape to be computed? The thresholds come from docs/notebook/kernels.md.
#include "ops/tree/plan.hpp"

#include <unistd.h>

#include <algorithm>
#include <stdexcept>

namespace fffbench {
namespace {

constexpr std::int64_t L2_DEFAULT = 1 << 20;  // bytes, where the system does not say
constexpr std::int64_t L3_DEFAULT = 16 << 20;

// A worker is given at least this much to read (weights and x): below it, waking a thread costs more than it saves.
constexpr std::int64_t WALK_BYTES_PER_WORKER = 512 * 1024;

// Work items of the walk a worker should have, while they are no smaller than the lanes that go down together: whoever
// wakes late then leaves the rest to others.
constexpr std::int64_t WALK_ITEMS_PER_WORKER = 4;

// y beyond this is written past the caches: it would push out the weights, and no reader finds it there anyway.
constexpr std::int64_t STREAM_BYTES = 4 << 20;

// Tokens from which the bucket strategy wins over the walk, for one worker: below it too few tokens meet at a node.
// With one tree of 12 levels they are level from 64 to 128, cold and hot; shallow trees bring tokens together sooner.
constexpr std::int64_t BUCKET_TOKENS = 96;
constexpr std::int64_t BUCKET_TOKENS_SHALLOW = 16;

// Work items a worker should have of each phase: their sizes differ and none can be shared. On 16 cores at batch 16384,
// the largest items first, blocks of 128 tokens and items of 256 (instead of 256 and 512) took 1.5 ms instead of 2.2;
// items of 128 with the old blocks 1.6. Both at 128, as here, were not timed apart from the results.
constexpr std::int64_t ITEMS_PER_WORKER = 8;
constexpr std::int64_t SMALLEST_ITEM = 64;  // fewer tokens do not pay for a subtree's weights

// A block of tokens fills three eighths of a second-level cache of 1 MiB, and no more of a larger one: 128 tokens at
// d = 768. With 256 in the 2 MiB of a Xeon (480 MiB L3), what was fetched for the next block is lost before its turn
// comes: the first phase takes 6.4 ms instead of 5.3.
constexpr std::int64_t BLOCK_BYTES = 384 * 1024;

// Several trees of so many levels go through the two phases one after the other: 32 trees of 7 levels, 2048 tokens, one
// thread of Zen 4, 21 ms instead of 31; 128 of 5 level, and 64 of 6.
constexpr int DEEP_LEVELS = 7;
// Tokens that do so before the next tree: enough that a leaf has company for its tokens, few enough that x and y stay in
// half of the last-level cache. On Zen 4 7 levels take 21 ms with 1024 and 25 with 2048; 10 levels 12.7 and 9.8.
constexpr std::int64_t SHARED_BY = 8;
constexpr std::int64_t TOKENS_PER_WORKER = 1024;

// Intel's servers do two 512-bit multiply-adds a cycle, Zen 4 one. Intel's few desktop processors with AVX-512 do one and
// are taken for servers here: none was measured.
bool two_multiply_adds_a_cycle() {
#ifdef FFFBENCH_X86
    __builtin_cpu_init();
    return __builtin_cpu_is("intel") && __builtin_cpu_supports("avx512f");
#else
    return false;
#endif
}

// Several trees can be split over the workers, so that all tokens meet at a node.
std::int64_t bucket_tokens(int levels, std::int64_t trees, int threads) {
    const std::int64_t leaves = std::int64_t{1} << (levels - 1);
    const std::int64_t alone = std::clamp(leaves / 16, BUCKET_TOKENS_SHALLOW, BUCKET_TOKENS);
    return alone * std::max<std::int64_t>(1, threads / trees);
}

std::int64_t cache_bytes(int name, std::int64_t unknown) {
    const long bytes = name < 0 ? 0 : sysconf(name);
    return bytes > 0 ? bytes : unknown;
}

std::int64_t l2_bytes() {
#ifdef _SC_LEVEL2_CACHE_SIZE
    static const std::int64_t bytes = cache_bytes(_SC_LEVEL2_CACHE_SIZE, L2_DEFAULT);
    return bytes;
#else
    return L2_DEFAULT;
#endif
}

std::int64_t l3_bytes() {
#ifdef _SC_LEVEL3_CACHE_SIZE
    static const std::int64_t bytes = cache_bytes(_SC_LEVEL3_CACHE_SIZE, L3_DEFAULT);
    return bytes;
#else
    return L3_DEFAULT;
#endif
}

// Most levels whose W1 rows fill no more than a quarter of the second-level cache, an even number.
int top_levels_that_fit(std::int64_t row_bytes) {
    int levels = 2;
    while (((std::int64_t{1} << (levels + 2)) - 1) * row_bytes <= l2_bytes() / 4) levels += 2;
    return levels;
}

// Several shallow trees: tokens in a work item, and ways in which the trees are split. As many tokens as an item may have,
// although their x and y then lie in the last-level cache: what counts is that groups of four at a leaf are complete.
// 128 trees of 5 levels, 2048 tokens, one thread of Zen 4, ms: items of 48 tokens 111, 64 94, 96 77, 128 71, 256 65, 512 60.
void split_forest(Plan& plan, std::int64_t batch, std::int64_t trees, int levels) {
    const auto divide_up = [](std::int64_t a, std::int64_t b) { return (a + b - 1) / b; };
    // with all trees split over the workers, tokens must be split as often as trees do not suffice
    const std::int64_t pieces = divide_up(plan.workers, trees);
    plan.block = std::clamp<std::int64_t>(divide_up(batch, pieces), 1, levels <= FLAT_LEVELS ? FLAT_BLOCK : CHUNK);
    const std::int64_t blocks = std::max<std::int64_t>(1, divide_up(batch, plan.block));
    if (blocks < plan.workers) plan.parts = std::min(trees, divide_up(plan.workers, blocks));
    plan.block = std::max<std::int64_t>(1, divide_up(batch, blocks));  // all of one size
}

}  // namespace

const char* strategy_name(Strategy strategy, bool sparing) {
    if (strategy == Strategy::walk) return "walk";
    return sparing ? "bucket_sparing" : "bucket";
}

Plan make_plan(std::int64_t batch, std::int64_t d, std::int64_t trees, int levels, int threads, Dtype dtype,
               const std::string& strategy) {
    const std::int64_t element = dtype == Dtype::bf16 ? 2 : 4;
    const std::int64_t row_bytes = d * element;
    Plan plan{};
    if (strategy == "walk")
        plan.strategy = Strategy::walk;
    else if (strategy == "bucket" || strategy == "bucket_sparing")
        plan.strategy = Strategy::bucket;
    else if (strategy == "auto")
        plan.strategy = batch >= bucket_tokens(levels, trees, threads) ? Strategy::bucket : Strategy::walk;
    else
        throw std::invalid_argument("strategy '" + strategy +
                                    "' is unknown; allowed: auto, walk, bucket, bucket_sparing");
    plan.sparing = strategy == "auto" ? two_multiply_adds_a_cycle() && dtype == Dtype::fp32
                                      : strategy == "bucket_sparing";

    const std::int64_t bytes = batch * trees * levels * 2 * row_bytes;
    const auto worth = std::max<std::int64_t>(1, bytes / WALK_BYTES_PER_WORKER);
    plan.workers = static_cast<int>(std::min<std::int64_t>(threads, worth));
    plan.stream = trees == 1 && batch * row_bytes >= STREAM_BYTES && row_bytes % 64 == 0;
    if (plan.strategy == Strategy::walk) {
        plan.parts = batch < plan.workers ? std::min<std::int64_t>(trees, plan.workers) : 1;
        const std::int64_t pieces = plan.workers == 1 ? 1 : plan.workers * WALK_ITEMS_PER_WORKER;
        const std::int64_t even = (batch + plan.workers - 1) / plan.workers;
        plan.item = std::max<std::int64_t>({batch / pieces / LANES * LANES, std::min<std::int64_t>(even, LANES), 1});
        return plan;
    }
    const std::int64_t fits =
        std::clamp<std::int64_t>(std::min(l2_bytes() * 3 / 8, BLOCK_BYTES) / row_bytes / 16 * 16, 16, CHUNK);
    const std::int64_t share = (batch + plan.workers - 1) / plan.workers;
    const std::int64_t even = plan.workers == 1 ? CHUNK : std::max(share / ITEMS_PER_WORKER / 16 * 16, SMALLEST_ITEM);
    // what is left for the second phase shares a subtree's weights: at least three levels of several trees
    const int fit = top_levels_that_fit(row_bytes), top = trees == 1 ? fit : std::min(fit, (levels - 3) / 2 * 2);
    plan.parts = 1;
    plan.item = std::min<std::int64_t>(even, CHUNK);
    plan.block = std::clamp<std::int64_t>(share, 1, fits);
    plan.tokens = batch;
    const bool deep = trees == 1 ? levels > top + 1 : levels >= DEEP_LEVELS;
    if (deep && share > fits) {
        plan.top_levels = top;
        plan.block = std::min(plan.block, even);
        if (trees > 1) {
            const std::int64_t leaves = std::int64_t{1} << (levels - 1);
            const std::int64_t useful = std::max(SHARED_BY * leaves, TOKENS_PER_WORKER * plan.workers);
            plan.tokens = std::clamp(std::min(useful, l3_bytes() / 2 / (2 * row_bytes)), fits * plan.workers, batch);
        }
        return plan;
    }
    if (trees > 1) split_forest(plan, batch, trees, levels);
    return plan;
}

}  // namespace fffbench
