// How does an op reach Python? Its host file ends with FFFBENCH_OP(name) { ... }, which binds what it has to the module.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <cstdint>
#include <stdexcept>
#include <string>

#include "runtime/dispatch.hpp"
#include "runtime/interpreter.hpp"

#define FFFBENCH_OP(name)                                            \
    static void bind_##name(nanobind::module_& m);                   \
    static const fffbench::Op op_##name{#name, bind_##name};         \
    static void bind_##name([[maybe_unused]] nanobind::module_& m)

// A last argument `fault` that only the module with planted mistakes has: of the signature, of the names, of the call.
#ifdef FFFBENCH_PLANT_FAULTS
#define FFFBENCH_FAULT_PARAMETER , const std::string& fault
#define FFFBENCH_FAULT_NAME , "fault"_a = "none"
#define FFFBENCH_FAULT fffbench::fault_named(fault)
#else
#define FFFBENCH_FAULT_PARAMETER
#define FFFBENCH_FAULT_NAME
#define FFFBENCH_FAULT fffbench::Fault::none
#endif

namespace fffbench {

namespace nb = nanobind;
using namespace nb::literals;

using Address = std::uintptr_t;
using Unlocked = nb::call_guard<WithoutInterpreter>;

Fault fault_named(const std::string& name);  // std::invalid_argument lists the names

// One op in the list that the module goes through when it is imported.
struct Op {
    Op(const char* called, void (*binds)(nb::module_&)) : name(called), bind(binds), next(first) { first = this; }
    const char* name;
    void (*bind)(nb::module_&);
    const Op* next;
    inline static const Op* first = nullptr;
};

// Every call from Python goes through these two; regress plants its slow-downs here.
template <class Call>
void run(Call& call) {
    call.run();
}
template <class Call, class... Tensors>
void run_on(Call& call, Tensors... tensors) {
    call.run_on(tensors...);
}

// The class of a planned call: what every op's has.
template <class Call>
nb::class_<Call> call_class(nb::module_& m, const char* name, const char* doc) {
    return nb::class_<Call>(m, name, nb::dynamic_attr(), doc)
        .def("run", run<Call>, Unlocked(), "Compute y from x, at the addresses given to the constructor.")
        .def_prop_ro("workspace_bytes", &Call::workspace_bytes)
        .def_prop_ro("isa", &Call::isa);
}

}  // namespace fffbench
