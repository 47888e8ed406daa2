// The kernels compiled for avx2 (flags: CMakeLists.txt).
#include "simd_avx2.hpp"
#include "isa.hpp"

namespace fffbench {
extern const Isa isa_avx2;
const Isa isa_avx2 = make_isa("avx2");
}  // namespace fffbench
