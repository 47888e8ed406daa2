// Which BLAS calls does the published CPU benchmark make, mistakes included? Its sequence of calls, written anew from
// the description in the ledger, for the rungs of the fidelity ladder that compute the wrong thing on purpose.
// Nothing here serves a layer that anyone should use: see blas_loops.cpp for the same levels computed rightly.
#include <nanobind/nanobind.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <type_traits>

#include "runtime/op.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using Address = std::uintptr_t;
using Count = std::int64_t;

constexpr int ROW_MAJOR = 101, NO_TRANS = 111, TRANS = 112;  // CBLAS_LAYOUT and CBLAS_TRANSPOSE
constexpr float ROOT = 1.41421356f;

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
// MKL's vector functions in their 32-bit spelling, which every interface has
using Unary = void (*)(std::int32_t, const float*, float*);
using Binary = void (*)(std::int32_t, const float*, const float*, float*);

template <class F>
F as(Address address) {
    return reinterpret_cast<F>(address);
}
const float* floats(Address address) { return reinterpret_cast<const float*>(address); }
float* writable(Address address) { return reinterpret_cast<float*>(address); }

float gelu(float z) { return z * std::erfc(-z / ROOT) / 2; }  // two divisions, as published

constexpr std::size_t LINE = 64;  // bytes: the alignment asked of mkl_malloc, as published

// One array of a call, allocated inside it and left as it comes, as published: not a container that clears.
template <class T>
class Scratch {
public:
    explicit Scratch(Count count)
        : at_(static_cast<T*>(
              std::aligned_alloc(LINE, (static_cast<std::size_t>(count) * sizeof(T) + LINE - 1) / LINE * LINE))) {
        static_assert(std::is_trivial_v<T>);
        if (at_ == nullptr) throw std::bad_alloc();
    }
    Scratch(Count count, T value) : Scratch(count) {
        for (Count i = 0; i < count; ++i) at_[i] = value;
    }
    ~Scratch() { std::free(at_); }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    T& operator[](Count i) { return at_[i]; }
    T* data() { return at_; }

private:
    T* at_;
};

// Level 1, dense: the output is taken to be zero and is never set to it, so calls add up.
template <class Int>
void dense1(Address dot_at, Address axpy_at, Address x_at, Address w1_at, Address w2_at, Address y_at, Count batch,
            Count d, Count n) {
    const auto dot = as<typename Blas<Int>::Dot>(dot_at);
    const auto axpy = as<typename Blas<Int>::Axpy>(axpy_at);
    const auto width = static_cast<Int>(d);
    for (Count token = 0; token < batch; ++token)
        for (Count k = 0; k < n; ++k) {
            const float z = dot(width, floats(x_at) + token * d, 1, floats(w1_at) + k * d, 1);
            axpy(width, gelu(z), floats(w2_at) + k * d, 1, writable(y_at) + token * d, 1);
        }
}

// Level 1, tree: level by level over all tokens, their nodes in a list allocated inside the call. Where `w2_at` is 0
// rows of the output are added where rows of W2 are meant, onto an output that is taken to be zero, as published.
template <class Int>
void tree1(Address dot_at, Address axpy_at, Address x_at, Address w1_at, Address w2_at, Address y_at, Count batch,
           Count d, int levels) {
    const auto dot = as<typename Blas<Int>::Dot>(dot_at);
    const auto axpy = as<typename Blas<Int>::Axpy>(axpy_at);
    const auto width = static_cast<Int>(d);
    float* y = writable(y_at);
    if (w2_at != 0)
        for (Count i = 0; i < batch * d; ++i) y[i] = 0;
    const float* rows = w2_at != 0 ? floats(w2_at) : y;
    Scratch<Count> nodes(batch, 0);
    for (int level = 0; level < levels; ++level)
        for (Count token = 0; token < batch; ++token) {
            const float z = gelu(dot(width, floats(x_at) + token * d, 1, floats(w1_at) + nodes[token] * d, 1));
            axpy(width, z, rows + nodes[token] * d, 1, y + token * d, 1);
            nodes[token] = 2 * nodes[token] + 1 + (z > 0 ? 1 : 0);
        }
}

// Level 2, one of the dense layer's products: a gemv for each token, from and to rows `in_step` and `out_step` floats
// apart; 0 is the published mistake, every token at the same row. Batched, as published, in groups of one.
template <class Int>
void gemv_rows(Address gemv_at, Address gemv_batch_at, bool transposed, Address matrix, Address in, Count in_step,
               Address out, Count out_step, Count batch, Count rows, Count columns, bool added) {
    const auto gemv = as<typename Blas<Int>::Gemv>(gemv_at);
    const auto gemv_batch = as<typename Blas<Int>::GemvBatch>(gemv_batch_at);
    const int how = transposed ? TRANS : NO_TRANS;
    const float beta = added ? 1.0f : 0.0f;
    if (gemv_batch == nullptr) {
        for (Count i = 0; i < batch; ++i)
            gemv(ROW_MAJOR, how, static_cast<Int>(rows), static_cast<Int>(columns), 1.0f, floats(matrix),
                 static_cast<Int>(columns), floats(in) + i * in_step, 1, beta, writable(out) + i * out_step, 1);
        return;
    }
    Scratch<int> hows(batch, how);
    Scratch<Int> heights(batch, static_cast<Int>(rows)), widths(batch, static_cast<Int>(columns)), ones(batch, 1);
    Scratch<float> units(batch, 1.0f), betas(batch, beta);
    Scratch<const float*> matrices(batch, floats(matrix)), inputs(batch);
    Scratch<float*> outputs(batch);
    for (Count i = 0; i < batch; ++i) {
        inputs[i] = floats(in) + i * in_step;
        outputs[i] = writable(out) + i * out_step;
    }
    gemv_batch(ROW_MAJOR, hows.data(), heights.data(), widths.data(), units.data(), matrices.data(), widths.data(),
               inputs.data(), ones.data(), betas.data(), outputs.data(), ones.data(), static_cast<Int>(batch),
               ones.data());
}

// Level 2, tree: batches in groups of one, all lists allocated inside the call. `step` is the distance of tokens' rows
// (0: every token reads and writes the same row); `activated` false scales every row of W2 by one, as published, and
// leaves the activations unused. As published the output is taken to be zero; with a step it is set to it.
template <class Int>
void tree2(Address gemv_at, Address axpy_at, Address gemv_batch_at, Address axpy_batch_at, Address cdf_at,
           Address mul_at, Address x_at, Address w1_at, Address w2_at, Address y_at, Count batch, Count d, int levels,
           Count step, bool activated) {
    const auto gemv = as<typename Blas<Int>::Gemv>(gemv_at);
    const auto axpy = as<typename Blas<Int>::Axpy>(axpy_at);
    const auto gemv_batch = as<typename Blas<Int>::GemvBatch>(gemv_batch_at);
    const auto axpy_batch = as<typename Blas<Int>::AxpyBatch>(axpy_batch_at);
    const auto cdf = as<Unary>(cdf_at);
    const auto mul = as<Binary>(mul_at);
    const auto width = static_cast<Int>(d);
    Scratch<int> plain(batch, NO_TRANS);
    Scratch<Int> widths(batch, width), ones(batch, 1);
    Scratch<float> units(batch, 1.0f), zeros(batch, 0.0f), values(batch), shares(batch);
    Scratch<const float*> into(batch, floats(w1_at)), out_of(batch);  // each token's rows of W1 and W2
    Scratch<const float*> inputs(batch);                              // a token's input is the matrix of one row
    Scratch<float*> logits(batch), outputs(batch);
    Scratch<Count> nodes(batch, 0);
    if (step != 0)
        for (Count i = 0; i < batch * d; ++i) writable(y_at)[i] = 0;
    for (Count i = 0; i < batch; ++i) {
        inputs[i] = floats(x_at) + i * step;
        outputs[i] = writable(y_at) + i * step;
        logits[i] = values.data() + i;
    }
    for (int level = 0; level < levels; ++level) {
        if (gemv_batch != nullptr)
            gemv_batch(ROW_MAJOR, plain.data(), ones.data(), widths.data(), units.data(), inputs.data(),
                       widths.data(), into.data(), ones.data(), zeros.data(), logits.data(), ones.data(),
                       static_cast<Int>(batch), ones.data());
        else
            for (Count i = 0; i < batch; ++i)
                gemv(ROW_MAJOR, NO_TRANS, 1, width, 1.0f, inputs[i], width, into[i], 1, 0.0f, logits[i], 1);
        for (Count i = 0; i < batch; ++i) {
            out_of[i] = floats(w2_at) + nodes[i] * d;
            nodes[i] = 2 * nodes[i] + 1 + (values[i] > 0 ? 1 : 0);
            into[i] = floats(w1_at) + nodes[i] * d;
        }
        if (cdf != nullptr && mul != nullptr) {
            cdf(static_cast<std::int32_t>(batch), values.data(), shares.data());
            mul(static_cast<std::int32_t>(batch), values.data(), shares.data(), values.data());
        } else {
            for (Count i = 0; i < batch; ++i) values[i] = gelu(values[i]);
        }
        const float* factors = activated ? values.data() : units.data();
        if (axpy_batch != nullptr)
            axpy_batch(widths.data(), factors, out_of.data(), ones.data(), outputs.data(), ones.data(),
                       static_cast<Int>(batch), ones.data());
        else
            for (Count i = 0; i < batch; ++i) axpy(width, factors[i], out_of[i], 1, outputs[i], 1);
    }
}

}  // namespace

FFFBENCH_OP(published_loops) {
    using Release = nb::call_guard<nb::gil_scoped_release>;
    m.def("published_dense1",
          [](bool wide, Address dot, Address axpy, Address x, Address w1, Address w2, Address y, Count batch, Count d,
             Count n) { (wide ? dense1<std::int64_t> : dense1<std::int32_t>)(dot, axpy, x, w1, w2, y, batch, d, n); },
          Release(), "wide"_a, "dot"_a, "axpy"_a, "x"_a, "w1"_a, "w2"_a, "y"_a, "batch"_a, "d"_a, "n"_a,
          "Dense layer by dot products and axpys onto an output that nobody clears.");
    m.def("published_tree1",
          [](bool wide, Address dot, Address axpy, Address x, Address w1, Address w2, Address y, Count batch, Count d,
             int levels) {
              (wide ? tree1<std::int64_t> : tree1<std::int32_t>)(dot, axpy, x, w1, w2, y, batch, d, levels);
          },
          Release(), "wide"_a, "dot"_a, "axpy"_a, "x"_a, "w1"_a, "w2"_a, "y"_a, "batch"_a, "d"_a, "levels"_a,
          "Tree by dot products and axpys; where w2 is 0 it takes rows of y for rows of W2, so the batch must be at "
          "least the nodes.");
    m.def("published_gemv_rows",
          [](bool wide, Address gemv, Address gemv_batch, bool transposed, Address matrix, Address in, Count in_step,
             Address out, Count out_step, Count batch, Count rows, Count columns, bool added) {
              (wide ? gemv_rows<std::int64_t> : gemv_rows<std::int32_t>)(
                  gemv, gemv_batch, transposed, matrix, in, in_step, out, out_step, batch, rows, columns, added);
          },
          Release(), "wide"_a, "gemv"_a, "gemv_batch"_a, "transposed"_a, "matrix"_a, "source"_a, "source_step"_a,
          "target"_a, "target_step"_a, "batch"_a, "rows"_a, "columns"_a, "added"_a,
          "One gemv for each token in groups of one; a step of 0 sends every token to the same row.");
    m.def("published_tree2",
          [](bool wide, Address gemv, Address axpy, Address gemv_batch, Address axpy_batch, Address cdf, Address mul,
             Address x, Address w1, Address w2, Address y, Count batch, Count d, int levels, Count step,
             bool activated) {
              (wide ? tree2<std::int64_t> : tree2<std::int32_t>)(gemv, axpy, gemv_batch, axpy_batch, cdf, mul, x, w1,
                                                                 w2, y, batch, d, levels, step, activated);
          },
          Release(), "wide"_a, "gemv"_a, "axpy"_a, "gemv_batch"_a, "axpy_batch"_a, "cdf"_a, "mul"_a, "x"_a, "w1"_a,
          "w2"_a, "y"_a, "batch"_a, "d"_a, "levels"_a, "step"_a, "activated"_a,
          "Tree level by level, lists allocated inside; batch functions and vector functions may be 0.");
}
