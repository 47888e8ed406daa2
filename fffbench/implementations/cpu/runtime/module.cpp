// What does Python see of the C++ kernels? Addresses and counts; shapes and types are checked on the Python side.
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "runtime/op.hpp"

#ifdef FFFBENCH_PLANT_FAULTS
namespace {
constexpr const char* FAULTS[] = {"none",         "skip_level",  "wrong_row",      "ignore_activation",
                                  "stale_memory", "flip_branch", "write_past_end"};
}

fffbench::Fault fffbench::fault_named(const std::string& name) {
    std::string names;
    for (int i = 0; i < static_cast<int>(std::size(FAULTS)); ++i) {
        if (name == FAULTS[i]) return static_cast<Fault>(i);
        names += std::string(i == 0 ? "" : ", ") + FAULTS[i];
    }
    throw std::invalid_argument("fault '" + name + "' is unknown; allowed: " + names);
}
#endif

namespace {

std::vector<std::string> isa_names() {
    std::vector<std::string> names;
    for (const fffbench::Isa* isa : fffbench::supported_isas()) names.emplace_back(isa->name);
    return names;
}

}  // namespace

NB_MODULE(FFFBENCH_MODULE, m) {
    m.doc() = "The C++ kernels of fffbench: addresses in, nothing checked but counts. Use fffbench.fff instead.";
    nanobind::set_leak_warnings(false);  // a daemon thread's frames hold a call when the interpreter ends
    fffbench::WithoutInterpreter::wait_at_exit(m);
    m.def("isas", isa_names, "Instruction sets that run here, best first.");
    std::vector<const fffbench::Op*> ops;
    for (const fffbench::Op* op = fffbench::Op::first; op != nullptr; op = op->next) ops.push_back(op);
    std::sort(ops.begin(), ops.end(), [](auto* a, auto* b) { return std::strcmp(a->name, b->name) < 0; });
    for (const fffbench::Op* op : ops) op->bind(m);
}
