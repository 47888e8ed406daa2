// What does a call of the leaf FFF consist of, and what must an instruction set provide for it? Plain data, as in
// types.hpp.
//
// W1 holds the routers of all trees, breadth first, then the neurons; W2 the neurons only. Leaf j of tree t owns
// neurons (t * 2**levels + j) * width and up.
#pragma once
#include "ops/tree/job.hpp"

namespace fffbench {

// Most tokens of one leaf that are computed together: 64 rows of x are 192 KiB at d = 768 in fp32, and a block of 32
// neurons as much again, so that both stay in a second-level cache of 512 KiB.
constexpr int LEAF_TOKENS = 64;

// `nodes` and `levels` of the job count routers.
struct LeafJob : Job {
    std::int64_t width = 0;        // neurons of a leaf block
    std::int64_t act_stride = 0;   // floats between the activations of two tokens
    std::int32_t* leaf = nullptr;  // [trees][batch] the leaf each token reaches, bucket strategy
    float* sums = nullptr;         // [batch][d] where y itself cannot hold them (bf16, several trees), bucket strategy
};

// What one worker needs beside the job.
struct LeafScratch {
    float* act = nullptr;         // [LEAF_TOKENS][act_stride]
    const void** rows = nullptr;  // [width] rows of W2
    float* sum = nullptr;         // [d] where y cannot hold it, walk strategy
};

// Tokens that arrive at the same leaf of a tree.
struct LeafTile {
    std::int64_t tree, leaf;
    const std::int32_t* tokens;
    int count;
};

// Neurons [begin, end) of the trees * width that one token evaluates; `partial` (fp32, d values) replaces y.
struct LeafPart {
    std::int64_t token, begin, end;
    float* partial;
};

struct LeafKernels {
    void (*route)(const LeafJob&, std::int64_t begin, std::int64_t end);
    void (*tile)(const LeafJob&, const LeafScratch&, const LeafTile&, const LeafTile* next);
    void (*token)(const LeafJob&, const LeafScratch&, const LeafPart&);
};

// The functions of one instruction set for one dtype.
struct LeafIsa {
    void (*sum_partials)(void* y, const float* partials, std::int64_t parts, std::int64_t stride, std::int64_t count);
    const LeafKernels* leaf;
};

}  // namespace fffbench
