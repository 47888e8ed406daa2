// What does every instruction set compile of the dense layer on few tokens?
#pragma once
#include "ops/gemv/job.hpp"
#include "ops/tree/job.hpp"
#include "ops/tree/tree.hpp"
#include "ops/gemv/gemv.hpp"

FFFBENCH_KERNELS(gemv, GemvKernels, gemv<T>, sum_partials<T>)
