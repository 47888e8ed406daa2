"""How does one process measure one cell? Prepare, check, then time; no speed without its check."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fffbench.devices.clock import Effort
from fffbench.implementations.registry import Layer, implementation
from fffbench.measure import check, device, fresh, inputs, seal
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
    workload.place.release_memory()  # float64 weights were here: give the layer their room
    return made


def measure_cell(
    cell: Cell, process: int, data: routing.Data | None, reference: Path | None, effort: Effort
) -> Outcome:
    """Measure ``cell`` in this process and report; without ``data`` or ``reference``, made on its device.

    For accelerators, on which the judge has no room of its own: here the check runs in the implementation's process.
    The inputs that are timed and checked are drawn after it was prepared and bound, from the system's entropy; outputs
    are unwritten before the timing, and checked as the timed calls left them.
    """
    start = time.perf_counter()
    workload, names = cell.workload, seal.snapshot()
    chosen = implementation(cell.implementation)
    workload.place.configure(workload.dtype, workload.threads)
    pool = _pool(cell, data)
    expected = _expected(cell, pool, reference)  # before anything of the implementation has run
    before = time.perf_counter()
    layer = chosen.prepare(pool.weights, workload)
    prepare_seconds = time.perf_counter() - before
    calls = calls_of(cell, layer, pool)
    verdict = check.expecting(check_calls(cell, pool, calls, expected), chosen.wrong)
    if verdict.failure is not None:
        return failed(cell, process, f"wrong result: {verdict.failure}", time.perf_counter() - start)
    notes = await_idle()
    fresh.refill(cell, pool, data)
    inputs.unwrite(pool, range(len(pool.y)))

    def renew() -> None:
        fresh.refill(cell, pool, data)
        inputs.unwrite(pool, range(len(pool.y)))

    samples, said = _time(cell, layer, pool, calls, effort, renew)
    failure = None
    if not chosen.wrong and workload.batch:
        failure = fresh.fault(cell, pool, calls, renew, conditional=is_conditional(cell))
    if failure is None and chosen.foreign and (name := seal.replaced(names)) is not None:
        failure = f"it replaced {name}"
    if failure is not None:
        return failed(cell, process, failure, time.perf_counter() - start)
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
            *notes,
            *said,
        ),
        wall=time.perf_counter() - start,
    )


def calls_of(cell: Cell, layer: Layer, pool: inputs.Pool) -> list[Callable[[], object]]:
    """The timed functions, one for each batch of the pool."""
    if cell.protocol.call == "torch":
        return [_forward_call(layer, x) for x in pool.x]
    return [layer.bind(x, y) for x, y in zip(pool.x, pool.y, strict=True)]


def _forward_call(layer: Layer, x: torch.Tensor) -> Callable[[], object]:
    forward = layer.forward
    return lambda: forward(x)


def run_checked(
    cell: Cell, pool: inputs.Pool, calls: Sequence[Callable[[], Any]], weights: Sequence[torch.Tensor]
) -> tuple[list[torch.Tensor], str | None]:
    """The outputs of the checked batches, run once as the timing will; and what else was touched, or None.

    ``weights`` are copies of the pool's. One batch runs alone first, with every other output unwritten too, so that
    a write beside its own is seen however far away it lands.
    """
    import torch

    count, by_torch = min(len(calls), inputs.checked_batches(cell.workload, len(pool.x))), cell.protocol.call == "torch"
    kept = [tensor.clone() for tensor in pool.x[:count]]
    harm = None
    if count > 1:
        inputs.unwrite(pool, ())
        calls[0]()
        cell.workload.place.synchronize()
        if inputs.written_elsewhere(pool, () if by_torch else (0,)):
            harm = "rows beside the output were overwritten"
    inputs.unwrite(pool, range(count))
    outputs = []
    for i in range(count):
        result = calls[i]()
        if by_torch and type(result) is not torch.Tensor:
            return [], f"forward returned {type(result).__name__}, not a plain torch.Tensor"
        outputs.append(result if by_torch else pool.y[i].clone())
    cell.workload.place.synchronize()
    if inputs.written_elsewhere(pool, range(count)):
        harm = "the rows before or after the output were overwritten"
    now = (*pool.x[:count], pool.weights.w1, pool.weights.w2)
    if not all(torch.equal(a, b) for a, b in zip((*kept, *weights), now, strict=True)):
        harm = "the inputs or the weights were overwritten"
    return outputs, harm


def check_calls(
    cell: Cell, pool: inputs.Pool, calls: Sequence[Callable[[], Any]], reference: check.Reference | device.Reference
) -> check.Verdict:
    """Run the timed functions once over the checked batches, as the timing will, and compare their outputs."""
    import torch

    weights = [pool.weights.w1.clone(), pool.weights.w2.clone()]
    outputs, harm = run_checked(cell, pool, calls, weights)
    if harm is not None and not outputs:
        return check.Verdict(np.inf, 0.0, len(reference.index), 0, 0, harm, harm=True)
    if isinstance(reference, device.Reference):
        verdict = device.compare(reference, torch.cat(outputs))
    else:
        whole = torch.cat(outputs).double().cpu().numpy() if outputs else np.empty((0, cell.workload.shape.d))
        verdict = check.compare(reference, whole)
    if harm is None:
        return verdict
    return replace(verdict, failure=harm, harm=True)


def _time(
    cell: Cell,
    layer: Layer,
    pool: inputs.Pool,
    calls: list[Callable[[], object]],
    effort: Effort,
    renew: Callable[[], object],
) -> tuple[list[float], list[str]]:
    """Samples of the device's clock, and its notes; ``renew`` as ``Device.time_calls`` has it."""
    device, evict = cell.workload.place, None
    if implementation(cell.implementation).unsynchronised:
        return device.time_launches(calls, effort)
    if cell.protocol.cache == "cold":
        resident = (pool.weights.w1, pool.weights.w2, *layer.resident)
        evict = device.evictor(resident, pool.x, pool.y, seal.Tools().evict)
    return device.time_calls(calls, cell.protocol, effort, evict, renew)
