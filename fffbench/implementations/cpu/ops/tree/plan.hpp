// How is a call of a given shape to be computed: by which strategy, in which pieces, by how many workers?
#pragma once
#include <string>

#include "ops/tree/job.hpp"

namespace fffbench {

enum class Strategy { walk, bucket };

struct Plan {
    Strategy strategy;
    bool sparing;        // bucket: few fetches from far, as Intel's servers want them in fp32
    int workers;         // threads that get work; a small job wakes fewer than it may
    int top_levels;      // levels of the first of two phases; 0: one phase over blocks of tokens
    std::int64_t block;  // tokens in a work item of the first (or only) phase
    std::int64_t item;   // most tokens in a work item of the second phase, or of the walk
    std::int64_t tokens; // two phases: most tokens that go through a tree before the next one
    std::int64_t parts;  // how many ways the trees of a token (walk) or a block of tokens (bucket) are split
    bool stream;         // y is too large to stay in a cache, and its rows are whole lines
};

// Tokens [begin, begin + count) of the order, all at `node` after the first phase.
struct BucketItem {
    std::int32_t node;
    std::int64_t begin;
    int count;
};

Plan make_plan(std::int64_t batch, std::int64_t d, std::int64_t trees, int levels, int threads, Dtype dtype,
               const std::string& strategy);
const char* strategy_name(Strategy strategy, bool sparing = false);

}  // namespace fffbench
