"""The judge against its oracle in numpy, and what is drawn on an accelerator; here the device is the CPU."""

from dataclasses import replace

import numpy as np
import pytest
from error_model import oracle

from fffbench.devices import cuda
from fffbench.devices.clock import Effort
from fffbench.devices.cpu import Cpu
from fffbench.implementations import fff_cpu
from fffbench.measure import cellrun, check, inputs
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


def tensors_of(work, tokens=None):
    return inputs.rounded(work, work.draw(work.batch if tokens is None else tokens), tokens or work.batch)


@pytest.mark.parametrize("chunk", [2**29, 8 * 64 * 7], ids=["whole", "in chunks"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "conditional"), SHAPES, ids=lambda value: getattr(value, "id", str(value)))
def test_the_reference_is_that_of_the_oracle_in_numpy(shape, conditional, dtype, chunk, monkeypatch):
    monkeypatch.setattr(Cpu, "chunk_bytes", chunk)
    work = Workload(shape, 30, dtype)
    x, weights = tensors_of(work, 60)
    found = check.make_reference(work, "fff" if conditional else "dense", x, weights)
    wide = (tensor.double().numpy() for tensor in (x, weights["w1"], weights["w2"]))
    y, std, scale, near, neurons, routers = oracle(work, *wide, conditional=conditional)
    assert found.index.tolist() == list(range(60))
    for name, expected in (("y", y), ("std", std), ("scale", scale)):
        np.testing.assert_allclose(getattr(found, name), expected, rtol=1e-10, atol=1e-12)
    assert list(found.alternatives) == near
    halves = [
        len(set(np.concatenate(rows[:30]))) + len(set(np.concatenate(rows[30:]))) for rows in (neurons, routers) if rows
    ]
    assert found.distinct_rows == sum(half / 2 * factor for half, factor in zip(halves, (1, 0.5), strict=False))


def test_large_layers_on_a_gpu_are_drawn_there_and_no_others():
    large, small = Shape.tree(768, 1, 15), Shape.tree(768, 1, 14)
    assert inputs.draws(Workload(large, 1, device="cuda"))
    assert not inputs.draws(Workload(small, 1, device="cuda"))
    assert not inputs.draws(Workload(large, 1, device="cpu"))
    assert not inputs.draws(Workload(large, 1, routing="zipf", device="cuda"))  # its law is written into the weights
    assert inputs.note(Workload(large, 1, device="cuda", seed=3))[0].endswith("seed 3")
    assert inputs.note(Workload(small, 1, device="cuda")) == ()


def test_drawn_data_has_the_law_of_the_hosts_and_depends_on_seed_and_shape_only():
    work = Workload(Shape.leaf(256, 1, 4, 8), 16, "bf16")
    x, weights = inputs.draw(work, 64)
    again = inputs.draw(replace(work, batch=64), 64)
    assert torch.equal(x, again[0])
    assert torch.equal(weights.w1, again[1].w1)
    assert not torch.equal(weights.w1, inputs.draw(replace(work, seed=1), 64)[1].w1)
    host = work.draw(64)
    for drawn, array in ((x, host.x), (weights.w1, host.w1), (weights.w2, host.w2)):
        assert drawn.shape == array.shape
        assert drawn.dtype == torch.bfloat16
        assert float(drawn.float().std()) == pytest.approx(float(array.std()), rel=0.02)


@pytest.mark.parametrize("name", ["fff_cpu", "dense_linear"])
def test_a_cell_without_drawn_data_or_reference_makes_both_on_its_device_and_says_so(name, monkeypatch):
    monkeypatch.setattr(inputs, "draws", lambda workload: True)
    cell = Cell(name, Workload(Shape.tree(64, 1, 6), 40), Protocol("hot", "kernel"))
    outcome = cellrun.measure_cell(cell, 0, None, Effort(0.01))
    assert outcome.failure is None
    assert outcome.tokens == 40
    assert 0 < outcome.error <= outcome.tolerance
    assert "drawn on the device" in outcome.notes[0]
    assert min(outcome.samples) > 0


def test_a_kernel_that_computes_only_where_its_output_is_unwritten_is_refused_on_its_device(monkeypatch):
    honest = fff_cpu.prepare

    def prepare(weights, workload):
        layer = honest(weights, workload)

        def bind(x, y):
            run = layer.bind(x, y)
            return lambda: run() if y[0, 0].isnan() else None

        return replace(layer, bind=bind)

    monkeypatch.setattr(fff_cpu, "prepare", prepare)
    cell = Cell("fff_cpu", Workload(Shape.tree(64, 1, 6), 40), Protocol("hot", "kernel"))
    outcome = cellrun.measure_cell(cell, 0, None, Effort(0.01))
    assert "wrong result of a timed call" in outcome.failure


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
