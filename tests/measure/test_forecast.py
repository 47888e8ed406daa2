"""The forecast knows what a GPU's cell takes besides its calls, and a round of long calls is short."""

import pytest

from fffbench.devices import cuda
from fffbench.implementations import dense_cuda_naive
from fffbench.measure import forecast
from fffbench.measure.session import Plan
from fffbench.plan.workload import Cell, Protocol, Shape, Workload
from fffbench.runs import planning as bench

H200 = {"fma_fp32": {"0": 5.0e13}, "dram_read": {"0": 4.3e12}}


def cost(name, device="cuda"):
    cell = Cell(name, Workload(Shape.tree(768, 1, 12), 16384, device=device), Protocol("hot", "kernel"))
    return bench.costs_of(Plan((cell,), 6, 0.1), H200)[cell]


def test_a_layer_that_torch_compiles_costs_its_compilation_on_a_gpu():
    assert cost("dense_compiled") == pytest.approx(cost("dense_linear") + cuda.DEVICE.compile_seconds)


def test_a_layer_far_below_its_family_is_forecast_by_the_share_it_names():
    call = 4 * 768 * 4095 * 16384 / 5.0e13 / dense_cuda_naive.ROOFLINE_SHARE
    assert cost("dense_cuda_naive") == pytest.approx(
        forecast.JOB_SECONDS + cuda.DEVICE.cell_seconds + (1 + forecast.CALLS_BESIDES) * call
    )


@pytest.mark.parametrize(("call", "calls"), [(1e-5, 20), (0.05, 5), (0.2, 1), (9.0, 1), (0.0, 20)])
def test_a_round_holds_as_many_calls_as_its_time(call, calls):
    assert cuda._calls_within(0.25, call, 20) == calls
