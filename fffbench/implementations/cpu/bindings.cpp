// What does Python see of the C++ kernels? Addresses and counts; shapes and types are checked on the Python side.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "call.hpp"
#include "ceilings.hpp"
#include "elementwise.hpp"
#include "gemm_call.hpp"
#include "interpreter.hpp"
#include "leaf_call.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using namespace fffbench;

namespace fffbench {
void bind_blas_loops(nb::module_& m);  // blas_loops.cpp
}

namespace {

#ifdef FFFBENCH_PLANT_FAULTS
constexpr const char* FAULTS[] = {"none",         "skip_level",  "wrong_row",      "ignore_activation",
                                  "stale_memory", "flip_branch", "write_past_end"};

Fault fault_named(const std::string& name) {
    std::string names;
    for (int i = 0; i < static_cast<int>(std::size(FAULTS)); ++i) {
        if (name == FAULTS[i]) return static_cast<Fault>(i);
        names += std::string(i == 0 ? "" : ", ") + FAULTS[i];
    }
    throw std::invalid_argument("fault '" + name + "' is unknown; allowed: " + names);
}
#endif

FffCall* make_fff(FffCall* at, Address x, Address w1, Address w2, Address y, std::int64_t batch, std::int64_t d,
                  std::int64_t trees, int levels, int threads, const std::string& strategy, const std::string& isa,
                  const std::string& dtype, Fault fault) {
    const FffShape shape{batch, d, trees, levels, threads, dtype_named(dtype)};
    return new (at) FffCall(x, w1, w2, y, shape, strategy, isa, fault);
}

LeafCall* make_leaf(LeafCall* at, Address x, Address w1, Address w2, Address y, std::int64_t batch, std::int64_t d,
                    std::int64_t trees, int levels, std::int64_t leaf_width, int threads, const std::string& strategy,
                    const std::string& isa, const std::string& dtype, Fault fault) {
    const LeafShape shape{batch, d, trees, levels, leaf_width, threads, dtype_named(dtype)};
    return new (at) LeafCall(x, w1, w2, y, shape, strategy, isa, fault);
}

template <class Call>
void run_on(Call& call, Address x, Address w1, Address w2, Address y) {
    call.run_on(x, w1, w2, y);
}

template <class Call>
void run_with(Call& call, Address x, Address w1, Address w2, Address y, Address b1, Address b2, int activation) {
    if (activation < 0 || activation > static_cast<int>(Activation::silu))
        throw std::invalid_argument("activation must be from 0 to 3");
    call.run_on(x, w1, w2, y, {b1, b2, static_cast<Activation>(activation)});
}

std::vector<std::string> isa_names() {
    std::vector<std::string> names;
    for (const Isa* isa : supported_isas()) names.emplace_back(isa->name);
    return names;
}

}  // namespace

NB_MODULE(FFFBENCH_MODULE, m) {
    using Release = nb::call_guard<WithoutInterpreter>;
    m.doc() = "The C++ kernels of fffbench: addresses in, nothing checked but counts. Use fffbench.fff instead.";
    nb::set_leak_warnings(false);  // a daemon thread's frames hold a call when the interpreter ends
    WithoutInterpreter::wait_at_exit(m);
    m.def("isas", isa_names, "Instruction sets that run here, best first.");
    bind_blas_loops(m);

    nb::class_<FffCall>(m, "FffCall", nb::dynamic_attr(), "A tree FFF of one shape, planned, with its workspace.")
#ifdef FFFBENCH_PLANT_FAULTS
        .def("__init__",
             [](FffCall* at, Address x, Address w1, Address w2, Address y, std::int64_t batch, std::int64_t d,
                std::int64_t trees, int levels, int threads, const std::string& strategy, const std::string& isa,
                const std::string& dtype, const std::string& fault) {
                 make_fff(at, x, w1, w2, y, batch, d, trees, levels, threads, strategy, isa, dtype, fault_named(fault));
             },
             "x"_a, "w1"_a, "w2"_a, "y"_a, "batch"_a, "d"_a, "trees"_a, "levels"_a, "threads"_a = 1,
             "strategy"_a = "auto", "isa"_a = "auto", "dtype"_a = "fp32", "fault"_a = "none")
#else
        .def("__init__",
             [](FffCall* at, Address x, Address w1, Address w2, Address y, std::int64_t batch, std::int64_t d,
                std::int64_t trees, int levels, int threads, const std::string& strategy, const std::string& isa,
                const std::string& dtype) {
                 make_fff(at, x, w1, w2, y, batch, d, trees, levels, threads, strategy, isa, dtype, Fault::none);
             },
             "x"_a, "w1"_a, "w2"_a, "y"_a, "batch"_a, "d"_a, "trees"_a, "levels"_a, "threads"_a = 1,
             "strategy"_a = "auto", "isa"_a = "auto", "dtype"_a = "fp32")
#endif
        .def("run", &FffCall::run, Release(), "Compute y from x, at the addresses given to the constructor.")
        .def("run_on", run_on<FffCall>, Release(), "x"_a, "w1"_a, "w2"_a, "y"_a, "The same with other tensors.")
        .def("run_with", run_with<FffCall>, Release(), "x"_a, "w1"_a, "w2"_a, "y"_a, "b1"_a, "b2"_a, "activation"_a,
             "The same with biases (0: none) and an activation, one of fffbench.activations.")
        .def_prop_ro("workspace_bytes", &FffCall::workspace_bytes)
        .def_prop_ro("strategy", &FffCall::strategy)
        .def_prop_ro("isa", &FffCall::isa)
        .def_prop_ro("workers", &FffCall::threads, "Threads that get work; a small call wakes fewer than it may.");

    nb::class_<LeafCall>(m, "LeafCall", nb::dynamic_attr(), "A leaf FFF of one shape, planned, with its workspace.")
#ifdef FFFBENCH_PLANT_FAULTS
        .def("__init__",
             [](LeafCall* at, Address x, Address w1, Address w2, Address y, std::int64_t batch, std::int64_t d,
                std::int64_t trees, int levels, std::int64_t leaf_width, int threads, const std::string& strategy,
                const std::string& isa, const std::string& dtype, const std::string& fault) {
                 make_leaf(at, x, w1, w2, y, batch, d, trees, levels, leaf_width, threads, strategy, isa, dtype,
                           fault_named(fault));
             },
             "x"_a, "w1"_a, "w2"_a, "y"_a, "batch"_a, "d"_a, "trees"_a, "levels"_a, "leaf_width"_a, "threads"_a = 1,
             "strategy"_a = "auto", "isa"_a = "auto", "dtype"_a = "fp32", "fault"_a = "none")
#else
        .def("__init__",
             [](LeafCall* at, Address x, Address w1, Address w2, Address y, std::int64_t batch, std::int64_t d,
                std::int64_t trees, int levels, std::int64_t leaf_width, int threads, const std::string& strategy,
                const std::string& isa, const std::string& dtype) {
                 make_leaf(at, x, w1, w2, y, batch, d, trees, levels, leaf_width, threads, strategy, isa, dtype,
                           Fault::none);
             },
             "x"_a, "w1"_a, "w2"_a, "y"_a, "batch"_a, "d"_a, "trees"_a, "levels"_a, "leaf_width"_a, "threads"_a = 1,
             "strategy"_a = "auto", "isa"_a = "auto", "dtype"_a = "fp32")
#endif
        .def("run", &LeafCall::run, Release(), "Compute y from x, at the addresses given to the constructor.")
        .def("run_on", run_on<LeafCall>, Release(), "x"_a, "w1"_a, "w2"_a, "y"_a, "The same with other tensors.")
        .def("run_with", run_with<LeafCall>, Release(), "x"_a, "w1"_a, "w2"_a, "y"_a, "b1"_a, "b2"_a, "activation"_a,
             "The same with biases (0: none) and an activation, one of fffbench.activations.")
        .def_prop_ro("workspace_bytes", &LeafCall::workspace_bytes)
        .def_prop_ro("strategy", &LeafCall::strategy)
        .def_prop_ro("isa", &LeafCall::isa)
        .def_prop_ro("workers", &LeafCall::threads, "Threads that get work; a small call wakes fewer than it may.");

    nb::class_<GemvCall>(m, "GemvCall", nb::dynamic_attr(), "A dense layer on at most 16 tokens, with its workspace.")
        .def("__init__",
             [](GemvCall* at, Address x, Address w1, Address w2, Address y, std::int64_t batch, std::int64_t d,
                std::int64_t n, int threads, const std::string& isa, const std::string& dtype) {
                 new (at) GemvCall(x, w1, w2, y, batch, d, n, threads, isa, dtype_named(dtype));
             },
             "x"_a, "w1"_a, "w2"_a, "y"_a, "batch"_a, "d"_a, "n"_a, "threads"_a = 1, "isa"_a = "auto",
             "dtype"_a = "fp32")
        .def("run", &GemvCall::run, Release())
        .def("run_on", &GemvCall::run_on, Release(), "x"_a, "w1"_a, "w2"_a, "y"_a)
        .def_prop_ro("workspace_bytes", &GemvCall::workspace_bytes)
        .def_prop_ro("isa", &GemvCall::isa);

    nb::class_<GemmCall>(m, "GemmCall", nb::dynamic_attr(), "A dense layer on many tokens, fp32, with its workspace.")
#ifdef FFFBENCH_PLANT_FAULTS
        .def("__init__",
             [](GemmCall* at, Address x, Address weights, Address y, std::int64_t batch, std::int64_t d, std::int64_t n,
                int threads, const std::string& isa, int levels, const std::string& fault) {
                 new (at) GemmCall(x, weights, y, batch, d, n, threads, isa, levels, fault_named(fault));
             },
             "x"_a, "weights"_a, "y"_a, "batch"_a, "d"_a, "n"_a, "threads"_a = 1, "isa"_a = "auto", "levels"_a = 0,
             "fault"_a = "none")
#else
        .def(nb::init<Address, Address, Address, std::int64_t, std::int64_t, std::int64_t, int, const std::string&, int>(),
             "x"_a, "weights"_a, "y"_a, "batch"_a, "d"_a, "n"_a, "threads"_a = 1, "isa"_a = "auto", "levels"_a = 0)
#endif
        .def("run", &GemmCall::run, Release())
        .def("run_on", &GemmCall::run_on, Release(), "x"_a, "weights"_a, "y"_a)
        .def_prop_ro("workspace_bytes", &GemmCall::workspace_bytes)
        .def_prop_ro("panel", &GemmCall::panel, "Neurons or outputs side by side in the packed weights.")
        .def_prop_ro("rows", &GemmCall::rows, "Neurons in the packed weights, padding included.")
        .def_prop_ro("isa", &GemmCall::isa);
    m.attr("GEMM_NEURONS") = GEMM_NEURONS;
    m.attr("GEMM_MAX_LEVELS") = GEMM_MAX_LEVELS;
    m.attr("GEMV_MAX_BATCH") = GEMV_MAX_BATCH;

    m.def("path",
          [](Address x, Address w1, std::int64_t batch, std::int64_t d, std::int64_t trees, int levels, int threads,
             const std::string& isa, const std::string& dtype, Address out, Address b1) {
              visited_path(x, w1, b1, {batch, d, trees, levels, threads, dtype_named(dtype)}, isa, out);
          },
          Release(), "x"_a, "w1"_a, "batch"_a, "d"_a, "trees"_a, "levels"_a, "threads"_a, "isa"_a, "dtype"_a, "out"_a,
          "b1"_a = 0,
          "Rows of W1 visited, int32 (batch, trees * levels), written to `out`.");
    m.def("mask_trees",
#ifdef FFFBENCH_PLANT_FAULTS
          [](Address logits, std::int64_t tokens, std::int64_t stride, std::int64_t trees, int levels, int threads,
             const std::string& dtype, const std::string& fault) {
              mask_trees(logits, tokens, stride, trees, levels, threads, dtype_named(dtype), fault_named(fault));
          },
          Release(), "logits"_a, "tokens"_a, "stride"_a, "trees"_a, "levels"_a, "threads"_a = 1, "dtype"_a = "fp32",
          "fault"_a = "none",
#else
          [](Address logits, std::int64_t tokens, std::int64_t stride, std::int64_t trees, int levels, int threads,
             const std::string& dtype) { mask_trees(logits, tokens, stride, trees, levels, threads, dtype_named(dtype)); },
          Release(), "logits"_a, "tokens"_a, "stride"_a, "trees"_a, "levels"_a, "threads"_a = 1, "dtype"_a = "fp32",
#endif
          "In place: activations of the logits on each token's path, 0 elsewhere.");
    m.def("gelu", gelu_in_place, Release(), "ptr"_a, "count"_a, "threads"_a = 1, "isa"_a = "auto",
          "Exact GELU over `count` floats, in place.");
    m.def("evict", evict, Release(), "ptr"_a, "nbytes"_a,
          "Flush every cache line of the range; False where the processor cannot.");
    m.def("use_huge_pages", use_huge_pages, Release(), "ptr"_a, "nbytes"_a,
          "Back the range by huge pages where the system can, now; contents and address stay. False where it cannot.");
    m.def("fma_rate",
          [](int threads, const std::string& isa, const std::string& dtype, double seconds) {
              return fma_rate(threads, isa, dtype_named(dtype), seconds);
          },
          Release(), "threads"_a, "isa"_a = "auto", "dtype"_a = "fp32", "seconds"_a = 0.5, "flop/s from registers.");
    m.def("read_rate", read_rate, Release(), "nbytes"_a, "threads"_a, "seconds"_a = 0.5, "bytes/s summed up.");
    m.def("copy_rate", copy_rate, Release(), "nbytes"_a, "threads"_a, "seconds"_a = 0.5,
          "bytes/s read and written with streaming stores; nbytes is both together.");
}
