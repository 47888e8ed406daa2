// What does a call of the dense layer on many tokens consist of? Plain data, as in types.hpp.
#pragma once
#include "runtime/types.hpp"

namespace fffbench {

constexpr int GEMM_TOKENS = 64;    // most tokens in one work item: x and y of 64 are 2 x 192 KiB at d = 768
constexpr int GEMM_MAX_LEVELS = 7;  // of trees in the dense form: a tree of 127 neurons still fits a block
constexpr int GEMM_NEURONS = 192;  // whose activations are kept at a time, 48 KiB; a multiple of every panel

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

// Logits of all nodes of all trees, [tokens][stride], of which those on a token's path are kept.
struct MaskJob {
    void* logits;
    std::int64_t stride, trees;
    int levels;
    Fault fault = Fault::none;
};

struct GemmKernels {
    // fp32 whatever the dtype; tokens [begin, end) of the dense layer; scratch: GEMM_TOKENS * (columns + GEMM_NEURONS) floats
    void (*gemm)(const GemmJob&, std::int64_t begin, std::int64_t end, float* scratch);
    int gemm_panel;
    void (*mask_trees)(const MaskJob&, std::int64_t begin, std::int64_t end);
};

}  // namespace fffbench
