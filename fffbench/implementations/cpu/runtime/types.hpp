// What do all ops share, and what is an instruction set? Plain data only: the files compiled with special flags
// include this and nothing of the standard library that has code in it.
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

// What is applied to a logit; the numbers are those of fffbench/operators/activations.py.
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

struct Isa {
    const char* name;
    int place;  // of its kernels in the tables of every op: see op.hpp
};

// The functions of one op, compiled for one instruction set.
template <class Kernels>
struct Compiled {
    Kernels fp32, bf16;
};

}  // namespace fffbench
