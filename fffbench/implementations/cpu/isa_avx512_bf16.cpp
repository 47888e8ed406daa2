// The kernels compiled for avx512_bf16 (flags: CMakeLists.txt).
#include "simd_avx512.hpp"
#include "isa.hpp"

namespace fffbench {
extern const Isa isa_avx512_bf16;
const Isa isa_avx512_bf16 = make_isa("avx512_bf16");
}  // namespace fffbench
