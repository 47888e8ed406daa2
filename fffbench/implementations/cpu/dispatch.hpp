// Which instruction sets can this processor run?
#pragma once
#include <string>
#include <vector>

#include "types.hpp"

namespace fffbench {

std::vector<const Isa*> supported_isas();           // best first; the portable one is always there
const Isa& isa_named(const std::string& name);      // "auto" is the best; std::invalid_argument lists the names
const Kernels& kernels_for(const Isa& isa, Dtype dtype);
Dtype dtype_named(const std::string& name);

}  // namespace fffbench
