// Which ops does every instruction set compile as one unit? Those that were measured so.
//
// GCC inlines within a budget for the unit: alone, the tree's kernels are other machine code (node_logits<float, 3, 2>:
// 1708 instructions instead of 1833 with AVX-512), and every stored result would be of kernels that are no longer there.
// In this order all 96 functions are, instruction for instruction, what they were in one folder. A new op has a
// kernel.cpp of its own, which cannot change theirs.
#include "runtime/kernel.hpp"

#include "ops/tree/kernel.hpp"
#include "ops/gemv/kernel.hpp"
#include "ops/gemm/kernel.hpp"
#include "ops/leaf/kernel.hpp"
#include "ops/gelu/kernel.hpp"
#include "ops/ceilings/kernel.hpp"
