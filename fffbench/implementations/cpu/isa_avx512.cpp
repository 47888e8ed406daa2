// The kernels compiled for avx512 (flags: CMakeLists.txt).
#include "simd_avx512.hpp"
#include "isa.hpp"

namespace fffbench {
extern const Isa isa_avx512;
const Isa isa_avx512 = make_isa("avx512");
}  // namespace fffbench
