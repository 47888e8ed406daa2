"""Is every kernel of ours guarded by being there, and does what a kernel declares reach regress and asv?"""

from dataclasses import replace
from types import ModuleType

import numpy as np
import plugins
import pytest
from suite.test_asv_list import loaded

from fffbench import _cpu
from fffbench.errors import UserError
from fffbench.implementations import registry
from fffbench.implementations.registry import implementation, implementations
from fffbench.regress import suite, worker
from fffbench.regress.suite import case_of, suite_of, suites

SOMEBODYS = """
"Somebody's kernel."
from fffbench.implementations import fff_cpu
FAMILY, DEVICES, DTYPES = "fff", ("cpu",), ("fp32",)
GUARDED = ("d96-n62-t2x5-b3-fp32-uniform-cpu-1th-s0",)
unsupported, prepare = fff_cpu.unsupported, fff_cpu.prepare
"""


def unguarded(items):
    """Kernels of ours without a guarded workload: of family ``fff``, or called as a C++ op."""
    ours = [item for item in items if not item.foreign and (item.family == "fff" or hasattr(item.module, "call"))]
    return [item.name for item in ours if not item.guarded]


def test_every_kernel_of_ours_is_guarded():
    assert unguarded(implementations().values()) == []
    assert {case.implementation for one in suites() for case in one.cases} >= {"fff_cpu", "dense_gemm", "dense_gemv"}


@pytest.mark.parametrize("name", ["fff_cpu", "dense_gemm", "fff_triton"])
def test_a_kernel_that_declares_nothing_is_found(name):
    assert unguarded([replace(implementation(name), guarded=())]) == [name]


def test_the_leaf_form_is_compared_on_every_device_that_has_it():
    for one in suites():
        assert any("leaves of 32" in case.name for case in one.cases), one.device


def test_names_are_of_one_case_each_and_those_of_stored_results_stay():
    names = [case.name for case in suite_of("cpu").cases]
    assert len(set(names)) == len(names)
    assert {"fff_cpu fp32 batch 128", "fff_cpu fp32 batch 128, 16 trees of 8 levels", "dense_gemv fp32 batch 1"} <= {
        *names
    }


@pytest.mark.parametrize(
    ("text", "why"),
    [("768x12", "not a cell id"), ("d768-n4095-t1x12-b1-fp16-uniform-cpu-1th-s0", "device or dtype")],
)
def test_a_workload_that_is_none_is_refused_when_it_is_declared(text, why):
    module = ModuleType("mine", "Mine.")
    module.FAMILY, module.DEVICES, module.DTYPES, module.GUARDED = "fff", ("cpu",), ("fp32",), (text,)
    module.unsupported = module.prepare = lambda *_: None
    with pytest.raises(UserError, match=why):
        registry.from_module("mine", module)


@pytest.mark.parametrize("case", suite_of("cpu").cases, ids=lambda case: case.name)
def test_a_worker_without_torch_can_call_every_case(case, tmp_path, monkeypatch):
    monkeypatch.setattr(suite, "LEVELS", 2)  # few rows in the files: the rest is those again
    monkeypatch.setattr(suite, "N", 3)
    rows = case.workload.batch
    folder = suite.write_data(tmp_path, rows)
    buffers = worker.Buffers(str(folder))
    request = {**case.request, "pool": 1}
    (call,) = worker.bind(request, _cpu, buffers)
    call()
    assert call.args[0] == buffers.address(f"x.{case.workload.dtype}")[0]
    dtype = np.uint16 if case.workload.dtype == "bf16" else np.uint32
    address, size = buffers._held[f"y.{case.workload.dtype}"]
    import ctypes

    bits = np.frombuffer((ctypes.c_char * size).from_address(address), dtype)
    assert (bits != 0).mean() > 0.9


def test_what_has_no_cpp_op_is_named_and_not_timed(tmp_path):
    item = implementation("fff_cpu")
    layer = case_of(replace(item, module=None), item.guards[0])
    assert layer.kind == "layer"
    monkey = {**layer.request, "pool": 1}
    folder = suite.write_data(tmp_path, 1)
    with pytest.raises(ValueError, match="fffbench duel"):
        worker.bind(monkey, _cpu, worker.Buffers(str(folder)))


def test_somebody_elses_kernel_is_in_the_plan_of_regress_and_in_the_list_of_asv(tmp_path, monkeypatch):
    (tmp_path / "theirs.py").write_text(SOMEBODYS)
    plugins.install(tmp_path, {"fff_theirs": "theirs"}, monkeypatch)
    suites.cache_clear()
    try:
        assert "fff_theirs fp32 batch 3, d 96, 2 trees of 5 levels" in [case.name for case in suite_of("cpu").cases]
        listed = loaded().Guarded.params[0]
        assert listed[-1] == "fff_theirs d96-n62-t2x5-b3-fp32-uniform-cpu-1th-s0"
    finally:
        monkeypatch.undo()
        plugins.forget()
        suites.cache_clear()
    assert loaded().Guarded.params[0] == listed[:-1]  # whose places asv counts
