"""Every registered implementation, on every edge of the shapes, against the float64 reference."""

import pytest

from fffbench.implementations.registry import implementation, implementations
from fffbench.measure.conformance import conform, workloads

CPU = [
    (name, dtype)
    for name, item in implementations().items()
    if "cpu" in item.devices
    for dtype in item.dtypes
    if dtype != "tf32"
]


@pytest.mark.parametrize(("name", "dtype"), CPU, ids=[f"{name}-{dtype}" for name, dtype in CPU])
def test_it_computes_its_function_on_every_edge_shape(name, dtype):
    results = {workload.id: conform(name, workload) for workload in workloads(implementation(name), dtype, "cpu")}
    wrong = {at: verdict.failure for at, verdict in results.items() if not isinstance(verdict, str) and verdict.failure}
    assert not wrong
    if all(isinstance(verdict, str) for verdict in results.values()):
        pytest.skip(next(iter(results.values())))


@pytest.mark.parametrize("name", implementations())
def test_its_first_docstring_line_says_what_it_is(name):
    assert implementation(name).summary.endswith((".", ":")) or len(implementation(name).summary) > 20


@pytest.mark.parametrize("name", implementations())
def test_what_it_cannot_run_it_says_in_a_sentence_without_raising(name):
    item = implementation(name)
    for dtype in ("fp32", "tf32", "bf16", "fp16"):
        for device in ("cpu", "cuda"):
            for workload in list(workloads(item, dtype, device))[:20]:
                reason = item.unsupported(workload)
                assert reason is None or (len(reason) > 10 and "\n" not in reason)
