// What can this machine do at most? Measured rates, and the way to empty the caches.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

#include "types.hpp"

namespace fffbench {

double fma_rate(int threads, const std::string& isa, Dtype dtype, double seconds);  // floating-point operations/s
double read_rate(std::size_t bytes, int threads, double seconds);                   // bytes/s
double copy_rate(std::size_t bytes, int threads, double seconds);                   // bytes/s, read and written
bool evict(std::uintptr_t address, std::size_t bytes);                              // false: no such instruction

// Back the whole huge pages inside the range by huge pages, now; false where the system does not.
bool use_huge_pages(std::uintptr_t address, std::size_t bytes);

}  // namespace fffbench
