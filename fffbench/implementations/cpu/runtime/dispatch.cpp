// Which instruction sets can this processor run, and which one is meant?
#include "runtime/dispatch.hpp"

#include <stdexcept>

namespace fffbench {

namespace {

constexpr Isa isa_portable{"portable", 0};
#ifdef FFFBENCH_X86
constexpr Isa isa_avx2{"avx2", 1}, isa_avx512{"avx512", 2}, isa_avx512_bf16{"avx512_bf16", 3};
#endif

}  // namespace

std::vector<const Isa*> supported_isas() {
    std::vector<const Isa*> found;
#ifdef FFFBENCH_X86
    __builtin_cpu_init();  // the builtins also ask whether the system saves the wide registers
    const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    if (avx512 && __builtin_cpu_supports("avx512bf16")) found.push_back(&isa_avx512_bf16);
    if (avx512) found.push_back(&isa_avx512);
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) found.push_back(&isa_avx2);
#endif
    found.push_back(&isa_portable);
    return found;
}

const Isa& isa_named(const std::string& name) {
    const auto found = supported_isas();
    if (name == "auto") return *found.front();
    std::string names = "auto";
    for (const Isa* isa : found) {
        if (name == isa->name) return *isa;
        names += std::string(", ") + isa->name;
    }
    throw std::invalid_argument("isa '" + name + "' is not available here; allowed: " + names);
}

Dtype dtype_named(const std::string& name) {
    if (name == "fp32") return Dtype::fp32;
    if (name == "bf16") return Dtype::bf16;
    throw std::invalid_argument("dtype '" + name + "' is unknown; allowed: fp32, bf16");
}

}  // namespace fffbench
