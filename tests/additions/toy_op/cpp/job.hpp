// What does a call of the toy consist of? One tree, one token after the other.
#pragma once
#include "runtime/types.hpp"

namespace fffbench {

struct ToyJob {
    const void *x, *w1, *w2;
    void* y;
    std::int64_t d;
    int levels;
};

struct ToyKernels {
    void (*tokens)(const ToyJob&, std::int64_t begin, std::int64_t end);
};

}  // namespace fffbench
