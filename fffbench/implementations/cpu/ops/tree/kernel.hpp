// What does every instruction set compile of the tree FFF?
#pragma once
#include "ops/tree/job.hpp"
#include "ops/tree/tree.hpp"
#include "ops/tree/walk.hpp"
#include "ops/tree/errands.hpp"
#include "ops/tree/descent.hpp"
#include "ops/tree/stragglers.hpp"
#include "ops/tree/bucket.hpp"
#include "ops/tree/forest.hpp"

FFFBENCH_KERNELS(tree, TreeKernels, walk<T>, top<T>, bottom<T>, forest<T>, sum_partials<T>)
