// What does every instruction-set file compile? All of it in unnamed namespaces: the same source is compiled once
// for each instruction set, and the linker must never merge the copies.
#pragma once
#include "gelu.hpp"
#include "dot.hpp"
#include "tree.hpp"
#include "walk.hpp"
#include "errands.hpp"
#include "descent.hpp"
#include "stragglers.hpp"
#include "bucket.hpp"
#include "forest.hpp"
#include "gemv.hpp"
#include "gemm.hpp"
#include "masked.hpp"
#include "leaf.hpp"
#include "probes.hpp"

namespace {

template <class T>
constexpr fffbench::Kernels kernels() {
    return {walk<T>, top<T>, bottom<T>, forest<T>, gemv<T>, sum_partials<T>, mask_trees<T>, fma_burst<T>,
            &leaf_kernels<T>};
}

constexpr fffbench::Isa make_isa(const char* name) {
    return {name, kernels<float>(), kernels<bf16>(), read_floats, copy_floats, gelu_floats, gemm, GEMM_PANEL};
}

}  // namespace
