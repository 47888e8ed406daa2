"""How does one process measure one cell? Prepare, check, then time; no speed without its check."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fffbench.implementations.registry import Layer, implementation
from fffbench.measure import check, device, fingerprint, inputs, occupancy
from fffbench.measure.clock import Effort, time_calls
from fffbench.measure.eviction import evictor
from fffbench.measure.idle import await_idle
from fffbench.measure.outcome import Outcome, failed
from fffbench.plan import routing
from fffbench.plan.workload import Cell, Workload

if TYPE_CHECKING:
    import torch


def is_conditional(cell: Cell) -> bool:
    """Whether the cell's output is the tree's (anything but the dense family, on a shape with trees)."""
    return cell.workload.shape.is_tree and implementation(cell.implementation).family != "dense"


def data_tokens(cell: Cell) -> int:
    """Rows of x that the cell's process draws."""
    return inputs.pool_batches(cell) * cell.workload.batch


def checked_tokens(cell: Cell) -> int:
    """Tokens, from the start of the pool, whose outputs the check looks at."""
    return inputs.checked_batches(cell.workload, inputs.pool_batches(cell)) * cell.workload.batch


def build_reference(workload: Workload, data: routing.Data, tokens: int, *, conditional: bool) -> check.Reference:
    """The float64 reference of the first ``tokens`` inputs of ``data``, rounded to the workload's dtype."""
    dtype = inputs.torch_dtype(workload.dtype)

    def rounded(array: routing.Array) -> check.Array:
        import torch

        return np.asarray(torch.from_numpy(array).to(dtype).double().numpy())

    x, w1, w2 = rounded(data.x[:tokens]), rounded(data.w1), rounded(data.w2)
    return check.make_reference(workload, x, w1, w2, conditional=conditional)


def set_threads(threads: int) -> None:
    """Give torch and every BLAS in the process exactly ``threads`` threads."""
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(threads)
    threadpool_limits(threads)


def _pool(cell: Cell, data: routing.Data | None) -> inputs.Pool:
    """What the cell computes on: from ``data``, or drawn on the device."""
    if data is not None:
        return inputs.make_pool(cell, data)
    return inputs.pool_of(cell, *device.draw(cell.workload, data_tokens(cell)))


def _expected(cell: Cell, pool: inputs.Pool, reference: Path | None) -> check.Reference | device.Reference:
    """The reference at ``reference``; without one, computed here and now on the device, where ``pool`` lies."""
    if reference is not None:
        return check.load(reference)
    import torch

    workload = cell.workload
    x = torch.cat(pool.x[: inputs.checked_batches(workload, len(pool.x))])
    made = device.make_reference(workload, x, pool.weights.w1, pool.weights.w2, conditional=is_conditional(cell))
    if workload.device == "cuda":
        torch.cuda.empty_cache()  # float64 weights were here: give the layer their room
    return made


def measure_cell(
    cell: Cell, process: int, data: routing.Data | None, reference: Path | None, effort: Effort
) -> Outcome:
    """Measure ``cell`` in this process and report; without ``data`` or ``reference``, made on its device."""
    start = time.perf_counter()
    workload = cell.workload
    chosen = implementation(cell.implementation)
    set_threads(workload.threads)
    if workload.device == "cuda":
        from fffbench.measure import gpu

        gpu.configure(workload)
    pool = _pool(cell, data)
    expected = _expected(cell, pool, reference)  # before anything of the implementation has run
    before = time.perf_counter()
    layer = chosen.prepare(pool.weights, workload)
    prepare_seconds = time.perf_counter() - before
    calls = _calls(cell, layer, pool)
    verdict = check.expecting(check_calls(cell, pool, calls, expected), chosen.wrong)
    if verdict.failure is not None:
        return failed(cell, process, f"wrong result: {verdict.failure}", time.perf_counter() - start)
    stirring = await_idle()
    clocks = occupancy.read()
    samples, notes = _time(cell, layer, pool, calls, effort)
    active = 0.0
    if workload.device == "cpu":
        call_seconds = statistics.median(samples)
        seen = occupancy.of_cell(calls, call_seconds, clocks, occupancy.read())
        active = seen.active
        refused = occupancy.does_not_hold(chosen.family, workload.threads, seen, call_seconds)
        if refused is not None:
            return failed(cell, process, refused, time.perf_counter() - start)
    return Outcome(
        cell=cell.id,
        process=process,
        samples=tuple(samples),
        error=verdict.error,
        tolerance=verdict.tolerance,
        tokens=verdict.tokens,
        diverged=verdict.diverged,
        diverged_cap=verdict.diverged_cap,
        distinct_rows=expected.distinct_rows,
        prepare_seconds=prepare_seconds,
        extra_bytes=sum(tensor.numel() * tensor.element_size() for tensor in layer.resident),
        notes=(
            *device.note(workload),
            *((f"wrong on purpose: {chosen.wrong}",) if chosen.wrong else ()),
            *layer.notes,
            *stirring,
            *notes,
        ),
        wall=time.perf_counter() - start,
        threads_ran=round(active, 2),
    )


def _calls(cell: Cell, layer: Layer, pool: inputs.Pool) -> list[Callable[[], object]]:
    """The timed functions, one for each batch of the pool."""
    if cell.protocol.call == "torch":
        return [_forward_call(layer, x) for x in pool.x]
    return [layer.bind(x, y) for x, y in zip(pool.x, pool.y, strict=True)]


def _forward_call(layer: Layer, x: torch.Tensor) -> Callable[[], object]:
    forward = layer.forward
    return lambda: forward(x)


def check_calls(
    cell: Cell, pool: inputs.Pool, calls: Sequence[Callable[[], Any]], reference: check.Reference | device.Reference
) -> check.Verdict:
    """Run the timed functions once over the checked batches, as the timing will, and compare their outputs."""
    import torch

    count = inputs.checked_batches(cell.workload, len(pool.x))
    kept = [tensor.clone() for tensor in (*pool.x[:count], pool.weights.w1, pool.weights.w2)]
    outputs = []
    for i in range(count):
        result = calls[i]()
        outputs.append(result if cell.protocol.call == "torch" else pool.y[i])
    if cell.workload.device == "cuda":
        torch.cuda.synchronize()
    if isinstance(reference, device.Reference):
        verdict = device.compare(reference, torch.cat(outputs))
    else:
        whole = torch.cat(outputs).double().cpu().numpy() if outputs else np.empty((0, cell.workload.shape.d))
        verdict = check.compare(reference, whole)
    harm = None
    if not all(inputs.guards_intact(y) for y in pool.y[:count]):
        harm = "the rows before or after the output were overwritten"
    now = (*pool.x[:count], pool.weights.w1, pool.weights.w2)
    if not all(torch.equal(a, b) for a, b in zip(kept, now, strict=True)):
        harm = "the inputs or the weights were overwritten"
    if harm is None:
        return verdict
    return replace(verdict, failure=harm, harm=True)


def _time(
    cell: Cell, layer: Layer, pool: inputs.Pool, calls: list[Callable[[], object]], effort: Effort
) -> tuple[list[float], list[str]]:
    """Samples of the cell's clock, and what the clock has to say about them."""
    if cell.workload.device == "cuda":
        from fffbench.measure import gpu

        if implementation(cell.implementation).unsynchronised:
            return gpu.time_launches(calls, effort)
        return gpu.time_calls(calls, cell.protocol, effort)
    evict = None
    if cell.protocol.cache == "cold":
        resident = (pool.weights.w1, pool.weights.w2, *layer.resident)
        evict = evictor(resident, pool.x, pool.y, fingerprint.last_level_cache())
    return time_calls(calls, effort, evict), []
