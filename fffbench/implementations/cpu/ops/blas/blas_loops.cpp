// What do the published CPU routines do between the calls of a BLAS? The same loops over somebody else's functions:
// CBLAS addresses come in as integers, so that no BLAS is needed at build time and no Python runs between the calls.
// One thread runs the loop; a BLAS with threads of its own uses them inside a call, as published.
#include <nanobind/nanobind.h>

#include <cmath>
#include <cstdint>

#include "runtime/op.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using Address = std::uintptr_t;
using Count = std::int64_t;

constexpr int ROW_MAJOR = 101, NO_TRANS = 111, TRANS = 112;  // CBLAS_LAYOUT and CBLAS_TRANSPOSE
constexpr float HALF_ROOT = 0.70710678f;

// The functions with the BLAS's own width of integers.
template <class Int>
struct Blas {
    using Dot = float (*)(Int, const float*, Int, const float*, Int);
    using Axpy = void (*)(Int, float, const float*, Int, float*, Int);
    using Gemv = void (*)(int, int, Int, Int, float, const float*, Int, const float*, Int, float, float*, Int);
    using GemvBatch = void (*)(int, const int*, const Int*, const Int*, const float*, const float**, const Int*,
                               const float**, const Int*, const float*, float**, const Int*, Int, const Int*);
    using AxpyBatch = void (*)(const Int*, const float*, const float**, const Int*, float**, const Int*, Int,
                               const Int*);
};

template <class F>
F as(Address address) {
    return reinterpret_cast<F>(address);
}
const float* floats(Address address) { return reinterpret_cast<const float*>(address); }
float* writable(Address address) { return reinterpret_cast<float*>(address); }

// z * Phi(z); erfc keeps the left tail
float gelu(float z) { return 0.5f * z * std::erfc(-z * HALF_ROOT); }

void clear(float* y, Count count) {
    for (Count i = 0; i < count; ++i) y[i] = 0;
}

// Level 1, dense: a dot product and an axpy for each neuron of each token.
template <class Int>
void dense1(Address dot_at, Address axpy_at, Address x_at, Address w1_at, Address w2_at, Address y_at, Count batch,
            Count d, Count n) {
    const auto dot = as<typename Blas<Int>::Dot>(dot_at);
    const auto axpy = as<typename Blas<Int>::Axpy>(axpy_at);
    const auto width = static_cast<Int>(d);
    for (Count token = 0; token < batch; ++token) {
        const float* x = floats(x_at) + token * d;
        float* y = writable(y_at) + token * d;
        clear(y, d);
        for (Count k = 0; k < n; ++k) {
            const float z = dot(width, x, 1, floats(w1_at) + k * d, 1);
            axpy(width, gelu(z), floats(w2_at) + k * d, 1, y, 1);
        }
    }
}

// Level 2, dense, one of the two products: out = matrix @ in (or its transpose) for each token; matrix (rows, columns).
template <class Int>
void gemv_each(Address gemv_at, bool transposed, Address matrix, Address in, Address out, Count batch, Count rows,
               Count columns) {
    const auto gemv = as<typename Blas<Int>::Gemv>(gemv_at);
    const Count reads = transposed ? rows : columns, writes = transposed ? columns : rows;
    for (Count token = 0; token < batch; ++token)
        gemv(ROW_MAJOR, transposed ? TRANS : NO_TRANS, static_cast<Int>(rows), static_cast<Int>(columns), 1.0f,
             floats(matrix), static_cast<Int>(columns), floats(in) + token * reads, 1, 0.0f,
             writable(out) + token * writes, 1);
}

// Level 1, tree: a dot product and an axpy for each visited node of each token.
template <class Int>
void tree1(Address dot_at, Address axpy_at, Address x_at, Address w1_at, Address w2_at, Address y_at, Count batch,
           Count d, Count trees, int levels) {
    const auto dot = as<typename Blas<Int>::Dot>(dot_at);
    const auto axpy = as<typename Blas<Int>::Axpy>(axpy_at);
    const auto width = static_cast<Int>(d);
    const Count nodes = (Count{1} << levels) - 1;
    for (Count token = 0; token < batch; ++token) {
        const float* x = floats(x_at) + token * d;
        float* y = writable(y_at) + token * d;
        clear(y, d);
        for (Count tree = 0; tree < trees; ++tree) {
            Count node = 0;
            for (int level = 0; level < levels; ++level) {
                const Count row = (tree * nodes + node) * d;
                const float z = dot(width, x, 1, floats(w1_at) + row, 1);
                axpy(width, gelu(z), floats(w2_at) + row, 1, y, 1);
                node = 2 * node + 1 + (z > 0 ? 1 : 0);
            }
        }
    }
}

// The arrays that batched calls want, one entry a token, carved out of a workspace of `WORDS` * 8 bytes a token.
template <class Int>
struct Lists {
    const float** matrices;
    const float** inputs;
    float** outputs;
    Count* nodes;
    Int* widths;
    Int* ones;
    float* values;

    Lists(Address workspace, Count batch)
        : matrices(reinterpret_cast<const float**>(workspace)),
          inputs(matrices + batch),
          outputs(const_cast<float**>(inputs + batch)),
          nodes(reinterpret_cast<Count*>(outputs + batch)),
          widths(reinterpret_cast<Int*>(nodes + batch)),
          ones(widths + batch),
          values(reinterpret_cast<float*>(ones + batch)) {}
};
constexpr int WORDS = 7;

// Level 2, tree: at each level one batch of gemvs (a row of W1 times a token), the activations, one batch of axpys.
// Without the two batch functions a batch is a loop over gemv and axpy. As published, but for its mistakes, and with
// one group of gemvs; the axpys are a group a token because a group has one factor.
template <class Int>
void tree2(Address gemv_at, Address axpy_at, Address gemv_batch_at, Address axpy_batch_at, Address workspace,
           Address x_at, Address w1_at, Address w2_at, Address y_at, Count batch, Count d, Count trees, int levels) {
    if (batch == 0) return;
    const auto gemv = as<typename Blas<Int>::Gemv>(gemv_at);
    const auto axpy = as<typename Blas<Int>::Axpy>(axpy_at);
    const auto gemv_batch = as<typename Blas<Int>::GemvBatch>(gemv_batch_at);
    const auto axpy_batch = as<typename Blas<Int>::AxpyBatch>(axpy_batch_at);
    const bool batched = gemv_batch != nullptr && axpy_batch != nullptr;
    const auto width = static_cast<Int>(d), tokens = static_cast<Int>(batch);
    const Int one = 1;
    const float unit = 1.0f, zero = 0.0f;
    const int plain = NO_TRANS;
    const Count tree_nodes = (Count{1} << levels) - 1;
    const Lists<Int> lists(workspace, batch);
    const float* x = floats(x_at);
    float* y = writable(y_at);
    clear(y, batch * d);
    for (Count i = 0; i < batch; ++i) {
        lists.widths[i] = width;
        lists.ones[i] = 1;
    }
    for (Count tree = 0; tree < trees; ++tree) {
        const float* w1 = floats(w1_at) + tree * tree_nodes * d;
        const float* w2 = floats(w2_at) + tree * tree_nodes * d;
        for (Count i = 0; i < batch; ++i) lists.nodes[i] = 0;
        for (int level = 0; level < levels; ++level) {
            for (Count i = 0; i < batch; ++i) {
                lists.matrices[i] = w1 + lists.nodes[i] * d;
                lists.inputs[i] = x + i * d;
                lists.outputs[i] = lists.values + i;
            }
            if (batched)
                gemv_batch(ROW_MAJOR, &plain, &one, &width, &unit, lists.matrices, &width, lists.inputs, &one, &zero,
                           lists.outputs, &one, 1, &tokens);
            else
                for (Count i = 0; i < batch; ++i)
                    gemv(ROW_MAJOR, NO_TRANS, 1, width, 1.0f, lists.matrices[i], width, lists.inputs[i], 1, 0.0f,
                         lists.outputs[i], 1);
            for (Count i = 0; i < batch; ++i) {
                const float z = lists.values[i];
                lists.matrices[i] = w2 + lists.nodes[i] * d;
                lists.outputs[i] = y + i * d;
                lists.nodes[i] = 2 * lists.nodes[i] + 1 + (z > 0 ? 1 : 0);
                lists.values[i] = gelu(z);
            }
            if (batched)
                axpy_batch(lists.widths, lists.values, lists.matrices, lists.ones, lists.outputs, lists.ones, tokens,
                           lists.ones);
            else
                for (Count i = 0; i < batch; ++i)
                    axpy(width, lists.values[i], lists.matrices[i], 1, lists.outputs[i], 1);
        }
    }
}

}  // namespace

FFFBENCH_OP(blas_loops) {
    using Release = nb::call_guard<nb::gil_scoped_release>;
    m.def("blas_dense1",
          [](bool wide, Address dot, Address axpy, Address x, Address w1, Address w2, Address y, Count batch, Count d,
             Count n) { (wide ? dense1<std::int64_t> : dense1<std::int32_t>)(dot, axpy, x, w1, w2, y, batch, d, n); },
          Release(), "wide"_a, "dot"_a, "axpy"_a, "x"_a, "w1"_a, "w2"_a, "y"_a, "batch"_a, "d"_a, "n"_a,
          "Dense layer by dot products and axpys; `wide`: the BLAS counts in 64 bits.");
    m.def("blas_gemv_each",
          [](bool wide, Address gemv, bool transposed, Address matrix, Address in, Address out, Count batch, Count rows,
             Count columns) {
              (wide ? gemv_each<std::int64_t> : gemv_each<std::int32_t>)(gemv, transposed, matrix, in, out, batch, rows,
                                                                         columns);
          },
          Release(), "wide"_a, "gemv"_a, "transposed"_a, "matrix"_a, "source"_a, "target"_a, "batch"_a, "rows"_a,
          "columns"_a, "One gemv with the same matrix for each token.");
    m.def("blas_tree1",
          [](bool wide, Address dot, Address axpy, Address x, Address w1, Address w2, Address y, Count batch, Count d,
             Count trees, int levels) {
              (wide ? tree1<std::int64_t> : tree1<std::int32_t>)(dot, axpy, x, w1, w2, y, batch, d, trees, levels);
          },
          Release(), "wide"_a, "dot"_a, "axpy"_a, "x"_a, "w1"_a, "w2"_a, "y"_a, "batch"_a, "d"_a, "trees"_a, "levels"_a,
          "Tree FFF by dot products and axpys.");
    m.def("blas_tree2",
          [](bool wide, Address gemv, Address axpy, Address gemv_batch, Address axpy_batch, Address workspace,
             Address x, Address w1, Address w2, Address y, Count batch, Count d, Count trees, int levels) {
              (wide ? tree2<std::int64_t> : tree2<std::int32_t>)(gemv, axpy, gemv_batch, axpy_batch, workspace, x, w1,
                                                                 w2, y, batch, d, trees, levels);
          },
          Release(), "wide"_a, "gemv"_a, "axpy"_a, "gemv_batch"_a, "axpy_batch"_a, "workspace"_a, "x"_a, "w1"_a, "w2"_a,
          "y"_a, "batch"_a, "d"_a, "trees"_a, "levels"_a,
          "Tree FFF level by level; the batch functions may be 0; workspace: BLAS_WORDS * 8 bytes a token.");
    m.attr("BLAS_WORDS") = WORDS;
}
