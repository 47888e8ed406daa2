"""How does one process measure one cell? Prepare, check, then time; no speed without its check."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fffbench.devices.clock import Effort
from fffbench.implementations.registry import Layer, implementation
from fffbench.measure import check, fresh, inputs, seal
from fffbench.measure.idle import await_idle
from fffbench.measure.outcome import Outcome, failed
from fffbench.plan.workload import Cell, Workload
from fffbench.problems import Data
from fffbench.problems.judging import Reference

if TYPE_CHECKING:
    import torch


def data_tokens(cell: Cell) -> int:
    """Rows of x that the cell's process draws."""
    return inputs.pool_batches(cell) * cell.workload.batch


def checked_tokens(cell: Cell) -> int:
    """Tokens, from the start of the pool, whose outputs the check looks at."""
    return inputs.checked_batches(cell.workload, inputs.pool_batches(cell)) * cell.workload.batch


def build_reference(workload: Workload, family: str, data: Data, tokens: int) -> Reference:
    """The float64 reference of the first ``tokens`` inputs of ``data``, rounded to the dtype, on the host."""
    return check.make_reference(workload, family, *inputs.rounded(workload, data, tokens))


def _pool(cell: Cell, data: Data | None) -> inputs.Pool:
    """What the cell computes on: from ``data``, or drawn on the device."""
    if data is not None:
        return inputs.make_pool(cell, data)
    return inputs.pool_of(cell, *inputs.draw(cell.workload, data_tokens(cell)))


def _expected(cell: Cell, family: str, pool: inputs.Pool) -> Reference:
    """The reference, computed here and now on the device, where ``pool`` lies."""
    import torch

    x = torch.cat(pool.x[: inputs.checked_batches(cell.workload, len(pool.x))])
    made = check.make_reference(cell.workload, family, x, pool.weights.tensors)
    cell.workload.place.release_memory()  # float64 weights were here: give the layer their room
    return made


def measure_cell(cell: Cell, process: int, data: Data | None, effort: Effort) -> Outcome:
    """Measure ``cell`` in this process and report; without ``data``, on what is drawn on its device.

    For accelerators, on which the judge has no room of its own: here the check runs in the implementation's process.
    The inputs that are timed and checked are drawn after it was prepared and bound, from the system's entropy; outputs
    are unwritten before the timing, and checked as the timed calls left them.
    """
    start = time.perf_counter()
    workload, names = cell.workload, seal.snapshot()
    chosen = implementation(cell.implementation)
    workload.place.configure(workload.dtype, workload.threads)
    pool = _pool(cell, data)
    expected = _expected(cell, chosen.family, pool)  # before anything of the implementation has run
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
        failure = fresh.fault(cell, chosen.family, pool, calls, data, renew)
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
            *inputs.note(workload),
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
    now = (*pool.x[:count], *pool.weights.tensors.values())
    if not all(torch.equal(a, b) for a, b in zip((*kept, *weights), now, strict=True)):
        harm = "the inputs or the weights were overwritten"
    return outputs, harm


def check_calls(
    cell: Cell, pool: inputs.Pool, calls: Sequence[Callable[[], Any]], reference: Reference
) -> check.Verdict:
    """Run the timed functions once over the checked batches, as the timing will, and compare their outputs."""
    import torch

    weights = [tensor.clone() for tensor in pool.weights.tensors.values()]
    outputs, harm = run_checked(cell, pool, calls, weights)
    if harm is not None and not outputs:
        return check.Verdict(math.inf, 0.0, len(reference.index), 0, 0, harm, harm=True)
    verdict = check.compare(reference, torch.cat(outputs))
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
        resident = (*pool.weights.tensors.values(), *layer.resident)
        evict = device.evictor(resident, pool.x, pool.y, seal.Tools().evict)
    return device.time_calls(calls, cell.protocol, effort, evict, renew)
