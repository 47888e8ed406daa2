// The kernels compiled for portable (flags: CMakeLists.txt).
#include "simd_portable.hpp"
#include "isa.hpp"

namespace fffbench {
extern const Isa isa_portable;
const Isa isa_portable = make_isa("portable");
}  // namespace fffbench
