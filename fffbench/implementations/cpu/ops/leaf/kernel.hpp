// What does every instruction set compile of the leaf FFF? Its tokens go down by the rules of the tree.
#pragma once
#include "ops/tree/job.hpp"
#include "ops/tree/tree.hpp"
#include "ops/tree/walk.hpp"
#include "ops/leaf/leaf.hpp"

FFFBENCH_KERNELS(leaf, LeafIsa, sum_partials<T>, &leaf_kernels<T>)
