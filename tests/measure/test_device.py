"""The judge on the device says what the judge on the host says; here the device is the CPU, through torch."""

from dataclasses import replace

import numpy as np
import pytest

from fffbench.devices import cuda
from fffbench.devices.clock import Effort
from fffbench.devices.cpu import Cpu
from fffbench.measure import cellrun, check, device, inputs
from fffbench.plan import routing
from fffbench.plan.workload import Cell, Protocol, Shape, Workload

torch = pytest.importorskip("torch")

SHAPES = [
    (Shape.tree(64, 2, 5), True),
    (Shape.tree(77, 1, 7), False),
    (Shape.leaf(48, 2, 3, 5), True),
    (Shape.leaf(48, 2, 3, 5), False),
    (Shape.dense(33, 100), False),
]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "tf32": torch.float32}


def on_device(work, tokens=None):
    data = routing.make(work, work.batch if tokens is None else tokens)
    return [torch.from_numpy(array).to(DTYPES[work.dtype]) for array in (data.x, data.w1, data.w2)]


def both(work, tensors, *, conditional):
    host = check.make_reference(work, *(t.double().numpy() for t in tensors), conditional=conditional)
    return host, device.make_reference(work, *tensors, conditional=conditional)


@pytest.mark.parametrize("chunk", [2**29, 8 * 64 * 7], ids=["whole", "in chunks"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "conditional"), SHAPES, ids=lambda value: getattr(value, "id", str(value)))
def test_its_reference_is_the_hosts(shape, conditional, dtype, chunk, monkeypatch):
    monkeypatch.setattr(device, "CHUNK_BYTES", chunk)
    work = Workload(shape, 30, dtype)
    host, here = both(work, on_device(work, 60), conditional=conditional)
    found = here.on_host()
    assert (found.index == host.index).all()
    for name in ("y", "scale", "std"):
        np.testing.assert_allclose(getattr(found, name), getattr(host, name), rtol=1e-10, atol=1e-12)
    assert found.distinct_rows == host.distinct_rows
    assert found.alternatives.keys() == host.alternatives.keys()
    for token, outputs in found.alternatives.items():
        np.testing.assert_allclose(outputs, host.alternatives[token], rtol=1e-10, atol=1e-12)


def test_near_ties_are_found_and_may_turn_either_way():
    shape = Shape.tree(64, 1, 4)
    work = Workload(shape, 5, "fp32")
    x, w1, w2 = on_device(work)
    w1[0] -= x[0] * (x[0] @ w1[0] - 1e-9) / (x[0] @ x[0])
    host, here = both(work, (x, w1, w2), conditional=True)
    assert set(here.alternatives) == set(host.alternatives) == {0}
    y = here.y.clone()
    y[0] = torch.from_numpy(here.alternatives[0][0])
    verdict = device.compare(here, y)
    assert verdict.failure is None
    assert verdict.diverged == 1


@pytest.mark.parametrize(("shape", "conditional"), SHAPES, ids=lambda value: getattr(value, "id", str(value)))
def test_a_right_output_passes_with_the_hosts_figures(shape, conditional):
    work = Workload(shape, 20, "fp32")
    host, here = both(work, on_device(work), conditional=conditional)
    y = here.y.float()
    verdict, expected = device.compare(here, y), check.compare(host, y.double().numpy())
    assert verdict.failure is None
    assert verdict.error == pytest.approx(expected.error, rel=1e-6)
    assert replace(verdict, error=0) == replace(expected, error=0, tolerance=pytest.approx(expected.tolerance))


def whole_token(y):
    y[3] *= 1.01


def one_element(y):
    y[-1, 5] += 0.01


def unwritten(y):
    y[0, 0] = float("nan")


@pytest.mark.parametrize("fault", [whole_token, one_element, unwritten])
def test_a_planted_fault_is_seen_and_named_as_on_the_host(fault):
    work = Workload(Shape.tree(64, 1, 6), 40, "fp32")
    host, here = both(work, on_device(work), conditional=True)
    y = here.y.float()
    fault(y)
    verdict = device.compare(here, y)
    assert verdict.failure == check.compare(host, y.double().numpy()).failure
    assert verdict.failure is not None


def test_an_empty_batch_is_right():
    work = Workload(Shape.tree(16, 1, 2), 0, "bf16")
    for conditional in (True, False):
        _, here = both(work, on_device(work, 0), conditional=conditional)
        assert device.compare(here, torch.empty((0, 16))).failure is None


def test_a_dense_layer_out_of_reach_is_checked_on_a_random_sample_that_is_counted(monkeypatch):
    monkeypatch.setattr(Cpu, "reference_operations", 4 * 100 * 33 * 7)
    work = Workload(Shape.dense(33, 100), 50, "bf16")
    here = device.make_reference(work, *on_device(work), conditional=False)
    assert device.compare(here, torch.zeros((50, 33))).tokens == 7
    assert len(set(here.index.tolist())) == 7


def test_large_layers_on_a_gpu_are_drawn_there_and_no_others():
    large, small = Shape.tree(768, 1, 15), Shape.tree(768, 1, 14)
    assert device.draws(Workload(large, 1, device="cuda"))
    assert not device.draws(Workload(small, 1, device="cuda"))
    assert not device.draws(Workload(large, 1, device="cpu"))
    assert not device.draws(Workload(large, 1, routing="zipf", device="cuda"))  # its law is written into the weights
    assert device.note(Workload(large, 1, device="cuda", seed=3))[0].endswith("seed 3")
    assert device.note(Workload(small, 1, device="cuda")) == ()


def test_drawn_data_has_the_law_of_the_hosts_and_depends_on_seed_and_shape_only():
    work = Workload(Shape.leaf(256, 1, 4, 8), 16, "bf16")
    x, weights = device.draw(work, 64)
    again = device.draw(replace(work, batch=64), 64)
    assert torch.equal(x, again[0])
    assert torch.equal(weights.w1, again[1].w1)
    assert not torch.equal(weights.w1, device.draw(replace(work, seed=1), 64)[1].w1)
    host = routing.make(work, 64)
    for drawn, array in ((x, host.x), (weights.w1, host.w1), (weights.w2, host.w2)):
        assert drawn.shape == array.shape
        assert drawn.dtype == torch.bfloat16
        assert float(drawn.float().std()) == pytest.approx(float(array.std()), rel=0.02)


@pytest.mark.parametrize("name", ["fff_cpu", "dense_linear"])
def test_a_cell_without_drawn_data_or_reference_makes_both_on_its_device_and_says_so(name, monkeypatch):
    monkeypatch.setattr(device, "draws", lambda workload: True)
    cell = Cell(name, Workload(Shape.tree(64, 1, 6), 40), Protocol("hot", "kernel"))
    outcome = cellrun.measure_cell(cell, 0, None, None, Effort(0.01))
    assert outcome.failure is None
    assert outcome.tokens == 40
    assert 0 < outcome.error <= outcome.tolerance
    assert "drawn on the device" in outcome.notes[0]
    assert min(outcome.samples) > 0


@pytest.mark.parametrize(
    ("levels", "batch", "call", "used"),
    [
        (20, 1024, "graph", cuda.GRAPH_CALLS),
        (20, 1024, "kernel", 512),
        (20, 1, "kernel", cuda.MOST_CALLS),
        (20, 1, "graph", inputs.CHECKED_TOKENS),  # more than the graph holds: the check runs them
        (5, 1024, "graph", 1),
    ],
)
def test_a_gpu_has_buffers_for_the_calls_it_makes_and_no_more(levels, batch, call, used):
    cell = Cell("dense_padded", Workload(Shape.tree(768, 1, levels), batch, device="cuda"), Protocol("cold", call))
    assert inputs.used_batches(cell) == used
    assert inputs.checked_batches(cell.workload, used) == inputs.checked_batches(
        cell.workload, inputs.pool_batches(cell)
    )
    on_cpu = replace(cell, workload=replace(cell.workload, device="cpu"))
    assert inputs.used_batches(on_cpu) == inputs.pool_batches(on_cpu)
