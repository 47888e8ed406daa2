// What must an instruction set provide for GELU over an array? Plain data, as in types.hpp.
#pragma once
#include "runtime/types.hpp"

namespace fffbench {

struct GeluKernels {
    void (*gelu)(float* values, std::size_t count);  // in place
};

}  // namespace fffbench
