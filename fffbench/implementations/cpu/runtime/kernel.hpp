// What does a kernel.cpp begin with, and how do its functions reach the host side? It is compiled once for each
// instruction set (flags: CMakeLists.txt), all of it in unnamed namespaces: the linker must never merge the copies.
//
// FFFBENCH_KERNELS(op, Kernels, f<T>, g<T>, ...) fills the table that FFFBENCH_TABLES(op, Kernels) of dispatch.hpp reads.
#pragma once
#include FFFBENCH_SIMD
#include "runtime/gelu.hpp"
#include "runtime/dot.hpp"

namespace {
using fffbench::GROUP;
using fffbench::LOGIT_PAD;
}  // namespace

#define FFFBENCH_JOINED(a, b) a##_##b
#define FFFBENCH_JOIN(a, b) FFFBENCH_JOINED(a, b)
#define FFFBENCH_KERNELS(op, Kernels, ...)                                                                            \
    namespace {                                                                                                       \
    template <class T>                                                                                                \
    constexpr fffbench::Kernels op##_compiled() {                                                                         \
        return {__VA_ARGS__};                                                                                         \
    }                                                                                                                 \
    }                                                                                                                 \
    namespace fffbench {                                                                                              \
    extern const Compiled<Kernels> FFFBENCH_JOIN(op, FFFBENCH_ISA);                                                   \
    const Compiled<Kernels> FFFBENCH_JOIN(op, FFFBENCH_ISA) = {op##_compiled<float>(), op##_compiled<bf16>()};        \
    }
