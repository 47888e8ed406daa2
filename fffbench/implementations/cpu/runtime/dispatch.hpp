// Which instruction sets can this processor run?
#pragma once
#include <string>
#include <vector>

#include "runtime/types.hpp"

namespace fffbench {

std::vector<const Isa*> supported_isas();           // best first; the portable one is always there
const Isa& isa_named(const std::string& name);      // "auto" is the best; std::invalid_argument lists the names
Dtype dtype_named(const std::string& name);

template <class Kernels>
const Kernels& of_dtype(const Compiled<Kernels>& compiled, Dtype dtype) {
    return dtype == Dtype::bf16 ? compiled.bf16 : compiled.fp32;
}

}  // namespace fffbench

// The functions of an op, filled by FFFBENCH_KERNELS of kernel.hpp: op_kernels(isa, dtype). In namespace fffbench.
#ifdef FFFBENCH_X86
#define FFFBENCH_TABLES(op, Kernels)                                                                              \
    extern const Compiled<Kernels> op##_portable, op##_avx2, op##_avx512, op##_avx512_bf16;                       \
    static const Kernels& op##_kernels(const Isa& isa, Dtype dtype) {                                             \
        static const Compiled<Kernels>* const tables[] = {&op##_portable, &op##_avx2, &op##_avx512,               \
                                                          &op##_avx512_bf16};                                     \
        return of_dtype(*tables[isa.place], dtype);                                                               \
    }
#else
#define FFFBENCH_TABLES(op, Kernels)                                                                              \
    extern const Compiled<Kernels> op##_portable;                                                                 \
    static const Kernels& op##_kernels(const Isa&, Dtype dtype) { return of_dtype(op##_portable, dtype); }
#endif
