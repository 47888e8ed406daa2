// GELU over an array of floats, in place, by our own threads.
#pragma once
#include <cstdint>
#include <string>

namespace fffbench {

void gelu_in_place(std::uintptr_t address, std::int64_t count, int threads, const std::string& isa);

}  // namespace fffbench
