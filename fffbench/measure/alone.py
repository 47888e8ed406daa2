"""One cell alone in one process, for a profiler: prepared, checked and warmed up, then called and called.

What a profiler should see is the calls and nothing else. Around them CUDA's profiler interface is switched on and off
(``ncu --profile-from-start off``, ``nsys profile --capture-range=cudaProfilerApi``), and where ``perf`` was started
with a control FIFO its events are enabled and disabled. Weights stay as they are and inputs rotate over the pool, as in
the protocol ``warm``: an eviction between calls would be in the profile.
"""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from fffbench.devices import device
from fffbench.errors import UserError
from fffbench.implementations.registry import implementation
from fffbench.measure import cellrun, check, inputs, measuring
from fffbench.plan.workload import Cell, parse_cell
from fffbench.problems.judging import Reference
from fffbench.units import seconds as in_words

CONTROL, ACKNOWLEDGED = "FFFBENCH_PERF_CONTROL", "FFFBENCH_PERF_ACK"  # paths of FIFOs
EXIT_WRONG = 1
# Between two looks at the clock: a pool of one-token batches has thousands, each of which ncu replays 40 times.
CALLS_A_ROUND = 16


def calls_of(cell: Cell) -> list[Callable[[], Any]]:
    """The calls of ``cell``, one for each batch of its pool, once their outputs were found right."""
    chosen, work = implementation(cell.implementation), cell.workload
    if (reason := chosen.unsupported(work)) is not None:
        raise UserError(f"{cell.id}: {reason}")
    device(work.device).configure(work.dtype, work.threads)
    data = work.draw(cellrun.data_tokens(cell))
    pool = inputs.make_pool(cell, data)
    reference = expected(cell, chosen.family, pool)
    layer = measuring.checked_layer(chosen.prepare(pool.weights, work))
    if cell.protocol.call == "torch":
        calls: list[Callable[[], Any]] = [partial(layer.forward, x) for x in pool.x]
    else:
        calls = [layer.bind(x, y) for x, y in zip(pool.x, pool.y, strict=True)]
    failure = cellrun.check_calls(cell, pool, calls, reference).failure
    if failure is not None and not chosen.wrong:
        raise UserError(f"{cell.id} is wrong, and not profiled: {failure}")
    return calls


def expected(cell: Cell, family: str, pool: inputs.Pool) -> Reference:
    """The float64 reference of the checked batches, where the pool lies: a GPU's share of work takes a host minutes."""
    import torch

    x = torch.cat(pool.x[: inputs.checked_batches(cell.workload, len(pool.x))])
    made = check.make_reference(cell.workload, family, x, pool.weights.tensors)
    cell.workload.place.release_memory()
    return made


def repeat(cell: Cell, calls: list[Callable[[], Any]], least: float) -> tuple[int, float]:
    """Call for ``least`` seconds at least, rotating over the pool; how many calls, and in how many seconds."""
    synchronize = device(cell.workload.device).synchronize
    for call in calls:
        call()
    synchronize()
    count, turns = 0, itertools.cycle(calls)
    with _profiled():
        began = time.perf_counter()  # not before: to start CUDA's profiler takes a while
        while not count or time.perf_counter() - began < least:
            for call in itertools.islice(turns, CALLS_A_ROUND):
                call()
            count += CALLS_A_ROUND
            synchronize()
        spent = time.perf_counter() - began
    return count, spent


@contextmanager
def _profiled() -> Iterator[None]:
    """Switch on whatever profiler there is."""
    cuda = _cuda_profiler()
    if cuda is not None:
        cuda.cudart().cudaProfilerStart()
    _tell_perf("enable")
    try:
        yield
    finally:
        _tell_perf("disable")
        if cuda is not None:
            cuda.cudart().cudaProfilerStop()


def _cuda_profiler() -> Any:
    import torch

    used = torch.cuda.is_available() and torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return torch.cuda if used else None


def _tell_perf(what: str) -> None:
    """Send ``what`` to ``perf``, if it listens, and wait until it has been done."""
    control, acknowledged = (os.environ.get(name) for name in (CONTROL, ACKNOWLEDGED))
    if not control or not acknowledged:
        return
    with Path(control).open("w", encoding="ascii") as file:
        file.write(f"{what}\n")
    with Path(acknowledged).open(encoding="ascii") as file:
        file.read(1)


def main(arguments: list[str]) -> int:
    """Run the cell named first for the seconds named second."""
    try:
        cell = parse_cell(arguments[0])
        count, spent = repeat(cell, calls_of(cell), float(arguments[1]))
    except UserError as error:
        sys.stderr.write(f"fffbench: {error}\n")
        return EXIT_WRONG
    eagerly = ", each launched by itself, not in a graph" if cell.protocol.call == "graph" else ""
    sys.stderr.write(f"{count} calls of {cell.id} in {in_words(spent)}, {in_words(spent / count)} each{eagerly}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
