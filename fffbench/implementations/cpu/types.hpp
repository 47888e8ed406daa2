// What does one call consist of, and what must an instruction set provide? Plain data only: the files
// compiled with special flags include this and nothing of the standard library that has code in it.
#pragma once
#include <cstddef>
#include <cstdint>

namespace fffbench {

struct bf16 {
    std::uint16_t bits;
};

enum class Dtype : int { fp32, bf16 };

constexpr int MAX_LEVELS = 24;     // as in fffbench/plan/workload.py
constexpr int MAX_THREADS = 1024;  // a bound on nonsense, not on machines
constexpr int LOGIT_PAD = 16;      // logits of a token fill whole 512-bit vectors: levels rounded up to this
constexpr int GROUP = 4;           // tokens that share one pass over a weight row
constexpr int LANES = 4;           // tokens that the walk strategy takes down together
constexpr int CHUNK = 512;         // most tokens in one work item of the bucket strategy
constexpr int LIST_STRIDE = CHUNK + 48;         // 35 cache lines: lists must not all fall into the same sets
constexpr int LISTS = 4 * (MAX_LEVELS / 2 + 1);  // four ways from every pass over two levels
constexpr int FLAT_LEVELS = 4;      // most levels of trees whose output is computed by columns: see forest.hpp
constexpr int FLAT_BLOCK = 256;     // most tokens in their work items: 768 KiB of x at d = 768, beside which y goes past
constexpr int FLAT_PATHS = 48;      // levels of all trees that go down before their output is computed, unless it is one tree
constexpr int GEMV_MAX_BATCH = 16; // x and the partial y of 16 tokens are 2 x 48 KiB at d = 768: they stay in L2
constexpr int GEMM_TOKENS = 64;    // most tokens in one work item: x and y of 64 are 2 x 192 KiB at d = 768
constexpr int GEMM_MAX_LEVELS = 7;  // of trees in the dense form: a tree of 127 neurons still fits a block
constexpr int GEMM_NEURONS = 192;  // whose activations are kept at a time, 48 KiB; a multiple of every panel

// What is applied to a logit; the numbers are those of fffbench/activations.py.
enum class Activation : int { gelu, gelu_tanh, relu, silu };

// Planted mistakes, for testing the tests; the shipped kernels are compiled without them.
enum class Fault : int {
    none,
    skip_level,
    wrong_row,
    ignore_activation,
    stale_memory,
    flip_branch,
    write_past_end,
};

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

// One call of the dense layer on few tokens.
struct GemvJob {
    const void* x;
    const void* w1;
    const void* w2;
    void* y;
    std::int64_t batch, d, n;
};

// One call of the dense layer on many tokens. `weights`, fp32, in the order in which they are used: for every block of
// GEMM_NEURONS neurons (the last may have fewer), its rows of W1, then its rows of W2, both as panels of `gemm_panel`
// neurons or outputs side by side: [neurons / panel][d][panel], then [columns / panel][neurons][panel].
struct GemmJob {
    const float* x;
    const float* weights;
    float* y;
    std::int64_t d, n, columns;  // n: neurons, columns: outputs, both a multiple of the panel; what is padded is 0
    // Trees of `levels` levels in the dense form: every logit is computed, those off a token's path are left out. A block
    // of GEMM_NEURONS neurons holds whole trees and zeros after them. 0 levels: a dense layer.
    std::int64_t batch, trees;
    int levels;
    Fault fault = Fault::none;
};

// Trees in a group of the flat forest, and floats between the activations of two of its tokens.
constexpr int flat_trees(int levels) { return FLAT_PATHS / levels > 0 ? FLAT_PATHS / levels : 1; }
constexpr int flat_stride(int levels) { return (flat_trees(levels) * levels + LOGIT_PAD - 1) / LOGIT_PAD * LOGIT_PAD; }

// Logits of all nodes of all trees, [tokens][stride], of which those on a token's path are kept.
struct MaskJob {
    void* logits;
    std::int64_t stride, trees;
    int levels;
    Fault fault = Fault::none;
};

struct LeafKernels;  // leaf_job.hpp

// The functions of one instruction set for one dtype.
struct Kernels {
    void (*walk)(const Job&, const Scratch&, const WalkItem&);
    // counts: [2**top_levels] tokens of [begin, end) that reach each subtree, to be filled
    void (*top)(const Job&, const Scratch&, std::int64_t begin, std::int64_t end, std::int32_t* counts);
    void (*bottom)(const Job&, const Scratch&, std::int32_t node, const std::int32_t* tokens, int count);
    void (*forest)(const Job&, const Scratch&, const ForestItem&);
    void (*gemv)(const GemvJob&, std::int64_t row_begin, std::int64_t row_end, float* partial);
    void (*sum_partials)(void* y, const float* partials, std::int64_t parts, std::int64_t stride, std::int64_t count);
    void (*mask_trees)(const MaskJob&, std::int64_t begin, std::int64_t end);
    double (*fma_burst)(std::int64_t rounds);  // floating-point operations done
    const LeafKernels* leaf;
};

struct Isa {
    const char* name;
    Kernels fp32, bf16;
    float (*read)(const float* from, std::size_t count);                  // sum, so that nothing is optimised away
    void (*copy)(float* to, const float* from, std::size_t count);        // streaming stores where there are any
    void (*gelu)(float* values, std::size_t count);                       // in place
    // tokens [begin, end) of the dense layer; scratch: GEMM_TOKENS * (columns + GEMM_NEURONS) floats
    void (*gemm)(const GemmJob&, std::int64_t begin, std::int64_t end, float* scratch);
    int gemm_panel;
};

}  // namespace fffbench
