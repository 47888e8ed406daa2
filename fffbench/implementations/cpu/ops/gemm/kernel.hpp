// What does every instruction set compile of the dense layer on many tokens, and of trees in its form?
#pragma once
#include "ops/gemm/job.hpp"
#include "ops/tree/job.hpp"
#include "ops/tree/tree.hpp"
#include "ops/gemm/gemm.hpp"
#include "ops/gemm/masked.hpp"

FFFBENCH_KERNELS(gemm, GemmKernels, gemm, GEMM_PANEL, mask_trees<T>)
