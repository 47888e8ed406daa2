// What must an instruction set provide to measure the machine's ceilings? Plain data, as in types.hpp.
#pragma once
#include "runtime/types.hpp"

namespace fffbench {

struct CeilingKernels {
    double (*fma_burst)(std::int64_t rounds);  // floating-point operations done
    float (*read)(const float* from, std::size_t count);            // sum, so that nothing is optimised away
    void (*copy)(float* to, const float* from, std::size_t count);  // streaming stores where there are any
};

}  // namespace fffbench
