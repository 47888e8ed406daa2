// What does a call of the tree FFF consist of, and what must an instruction set provide for it? Plain data, as in
// types.hpp.
#pragma once
#include "runtime/types.hpp"

namespace fffbench {

constexpr int LANES = 4;           // tokens that the walk strategy takes down together
constexpr int CHUNK = 512;         // most tokens in one work item of the bucket strategy
constexpr int LIST_STRIDE = CHUNK + 48;         // 35 cache lines: lists must not all fall into the same sets
constexpr int LISTS = 4 * (MAX_LEVELS / 2 + 1);  // four ways from every pass over two levels
constexpr int FLAT_LEVELS = 4;      // most levels of trees whose output is computed by columns: see forest.hpp
constexpr int FLAT_BLOCK = 256;     // most tokens in their work items: 768 KiB of x at d = 768, beside which y goes past
constexpr int FLAT_PATHS = 48;      // levels of all trees that go down before their output is computed, unless it is one tree

// One call of the tree FFF. Row r of W1 and W2 starts at r * d; tree t owns rows t * nodes and up.
struct Job {
    const void* x = nullptr;
    const void* w1 = nullptr;
    const void* w2 = nullptr;
    void* y = nullptr;
    std::int64_t batch = 0, d = 0, trees = 0, nodes = 0;  // nodes of one tree
    int levels = 0;
    int logit_stride = 0;             // floats between the logits of two tokens
    int top_levels = 0;               // levels of the first phase of the bucket strategy
    bool stream = false;              // write y past the caches
    bool sparing = false;             // fetch little from far: see errands.hpp
    std::int32_t* path = nullptr;     // when set: store the visited rows, compute no output
    float* logits = nullptr;          // [batch][logit_stride], bucket strategy
    bool add = false;                 // two phases: to what earlier trees left
    float* sums = nullptr;            // two phases: [batch][d] fp32, written in place of y, which cannot hold them (bf16)
    std::int32_t* subtree = nullptr;  // [batch] the subtree each token reaches in the first phase, from the left
    std::int32_t* order = nullptr;    // [batch] tokens sorted by subtree
    const void* b1 = nullptr;         // where set: a number for each row of W1, added to its logit before the turn
    const void* b2 = nullptr;         // where set: what a token's sum starts from, [d]; leaf form: [trees * leaves][d]
    Activation activation = Activation::gelu;
    Fault fault = Fault::none;
};

// Rows that will be wanted soon, fetched into the second-level cache bit by bit while multiply-adds keep the core
// busy: first the weight rows of the passes that follow, then the tokens and the first rows of the next work item.
struct Errands {
    static constexpr unsigned RING = 64;
    const void* rows[RING] = {};
    unsigned head = 0, tail = 0;
    unsigned asked = 0;                    // how often a row was asked for
    const std::int32_t* tokens = nullptr;  // of the next work item; null: `first` and up
    std::int64_t first = 0, count = 0, done = 0;
    std::int64_t node = -1;                // where the next work item begins; -1: nothing to fetch there
};

// What one worker needs beside the job.
struct Scratch {
    mutable Errands errands;
    float* row = nullptr;           // [block][d] fp32 sums where y itself cannot hold them (bf16, several trees)
    std::int32_t* tokens = nullptr; // [CHUNK] the work item's tokens
    std::int32_t* lists = nullptr;  // [LISTS][LIST_STRIDE] where tokens go on from each pass of the descent
    float* act = nullptr;           // [block][flat_stride(levels)] logits of a group of trees, then activations
    std::int32_t* rows = nullptr;   // of the same shape: the rows of W2 that they belong to
    std::int32_t* leaves = nullptr; // [block] where each token arrived in the tree
};

// Tokens and trees of one work item of the walk strategy; `partial` (fp32, d values a token) replaces y.
struct WalkItem {
    std::int64_t token_begin, token_end, tree_begin, tree_end;
    float* partial;
};

// Tokens and trees of one work item of the bucket strategy over several trees. `sums` (fp32, d values a token) takes the
// output in place of y; null: y itself, or scratch where y cannot hold sums.
struct ForestItem {
    std::int64_t token_begin, token_end, tree_begin, tree_end;
    float* sums;
};

// Trees in a group of the flat forest, and floats between the activations of two of its tokens.
constexpr int flat_trees(int levels) { return FLAT_PATHS / levels > 0 ? FLAT_PATHS / levels : 1; }
constexpr int flat_stride(int levels) { return (flat_trees(levels) * levels + LOGIT_PAD - 1) / LOGIT_PAD * LOGIT_PAD; }

// The functions of one instruction set for one dtype.
struct TreeKernels {
    void (*walk)(const Job&, const Scratch&, const WalkItem&);
    // counts: [2**top_levels] tokens of [begin, end) that reach each subtree, to be filled
    void (*top)(const Job&, const Scratch&, std::int64_t begin, std::int64_t end, std::int32_t* counts);
    void (*bottom)(const Job&, const Scratch&, std::int32_t node, const std::int32_t* tokens, int count);
    void (*forest)(const Job&, const Scratch&, const ForestItem&);
    void (*sum_partials)(void* y, const float* partials, std::int64_t parts, std::int64_t stride, std::int64_t count);
};

}  // namespace fffbench
