"""Where do fresh processes come from without paying for ``import torch`` each time?

Run as ``python -m fffbench.measure.worker``: a process that has imported
torch but started no thread, and forks a child for every job it reads. A new
one is started for each round, so the samples of a cell come from processes
with different address-space layouts. Jobs come as JSON lines on standard
input; events leave as JSON lines on the descriptor that was standard output,
which is closed to everyone else (libraries print to standard error).
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import sys
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from fffbench import contain
from fffbench.devices import DEVICES
from fffbench.devices.clock import Effort
from fffbench.implementations.registry import adopt, implementation
from fffbench.measure.channel import Channel, GoneError
from fffbench.measure.failures import retry_after
from fffbench.measure.outcome import NEXT_RUN, failed
from fffbench.parent import end_with_parent
from fffbench.plan.workload import Cell, Workload, parse_cell
from fffbench.problems import Data

DATA_BYTES = 4 * 2**30  # drawn weights and inputs that the parent keeps for its children; about a sixth of 24 GiB

# Set before the interpreter starts. Freed memory stays with the process, so that a call that allocates its output
# reuses mapped pages after the warm-up, and torch's large tensors lie on huge pages; both sides alike.
ENVIRONMENT = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**62),
    "THP_MEM_ALLOC_ENABLE": "1",
    "PYTHONHASHSEED": "0",
}


class DataCache:
    """The drawn data of recent jobs, oldest dropped first; children inherit it through fork."""

    def __init__(self) -> None:
        """Start empty."""
        self._kept: OrderedDict[tuple[object, ...], Data] = OrderedDict()

    def get(self, workload: Workload, tokens: int) -> Data:
        """The data of ``workload``, drawn now or kept."""
        key = (workload.shape, workload.routing, workload.seed, tokens)
        if key not in self._kept:
            self._kept[key] = workload.draw(tokens)
            while len(self._kept) > 1 and sum(data.nbytes for data in self._kept.values()) > DATA_BYTES:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]


def main() -> None:
    """Serve jobs until standard input closes."""
    end_with_parent(os.getppid())
    contain.adopt_orphans()
    events = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    from fffbench import blaslib

    blaslib.load_openmp()  # before torch
    import torch  # noqa: F401  (the point of this process: children start with it imported)

    from fffbench.measure import cellrun, inputs

    data = DataCache()
    gc.collect()
    gc.freeze()
    _emit(events, {"event": "ready"})
    worker = os.getpid()
    for line in sys.stdin:
        job = json.loads(line)
        adopt(job.get("plugins", ()))
        if job["task"] in ("cells", "reference"):
            for cell in map(parse_cell, job["cells"]):
                if not inputs.draws(cell.workload):
                    data.get(cell.workload, cellrun.data_tokens(cell))
        child = os.fork()
        if child == 0:
            end_with_parent(worker)
            _child(events, job, data)
        _emit(events, {"event": "started", "pid": child})
        _, status = os.waitpid(child, 0)
        contain.end_descendants()  # what somebody else's code has started to outlive it
        _emit(events, {"event": "ended", "code": os.waitstatus_to_exitcode(status)})


def _child(events: TextIO, job: dict[str, Any], data: DataCache) -> None:
    """Do one job and leave without the interpreter's shutdown, which belongs to the parent."""
    code = 1
    try:
        contain.adopt_orphans()
        gc.disable()
        _do(events, job, data)
        code = 0
    except MemoryError:
        _emit(events, {"event": "failure", "reason": "out of memory", "retry": NEXT_RUN})
    except Exception as error:  # noqa: BLE001  (whatever fails here is that cell's result)
        _emit(events, {"event": "failure", "reason": _reason(error), "retry": _retry(error, job.get("scratch"))})
        with contextlib.suppress(OSError):
            traceback.print_exc(file=sys.stderr)
    finally:
        with contextlib.suppress(OSError):
            sys.stderr.flush()
        os._exit(code)


def _do(events: TextIO, job: dict[str, Any], data: DataCache) -> None:
    if job["task"] == "ceilings":
        found: dict[str, dict[str, float]] = {}
        for name, threads in job["threads"].items():
            for what, rates in DEVICES[name].ceilings(threads).items():
                found.setdefault(what, {}).update(rates)
        _emit(events, {"event": "ceilings", "values": found})
        return
    cells = [parse_cell(cell) for cell in job["cells"]]
    if job["task"] == "reference":
        from fffbench.measure import cellrun, check

        [cell], [path] = cells, job["references"]
        drawn = data.get(cell.workload, cellrun.data_tokens(cell))
        family, tokens = implementation(cell.implementation).family, cellrun.checked_tokens(cell)
        check.save(cellrun.build_reference(cell.workload, family, drawn, tokens), Path(path))
    elif job["task"] == "conform":
        _conforming(events, cells)
    elif not all(cell.workload.place.host_memory for cell in cells):
        _on_device(events, job, cells, data)
    else:
        _judged(events, job, cells, data)


def _late(job: dict[str, Any]) -> bool:
    return job.get("until") is not None and time.monotonic() > job["until"]


def _judged(events: TextIO, job: dict[str, Any], cells: list[Cell], data: DataCache) -> None:
    """Every cell in a process of its own, judged by this one."""
    import torch
    from threadpoolctl import threadpool_limits

    from fffbench.measure import cellrun, judge, measuring

    for cell, reference in zip(cells, job["references"], strict=True):
        if _late(job):
            return
        _emit(events, {"event": "cell", "cell": cell.id})
        drawn = data.get(cell.workload, cellrun.data_tokens(cell))

        def case_of(pid: int, cell: Cell = cell, drawn: Data = drawn, path: str = reference) -> judge.Case:
            torch.set_num_threads(1)  # here, after the fork: this process is idle while the other one is timed
            threadpool_limits(1)
            chosen = implementation(cell.implementation)
            return judge.Case(cell, job["process"], chosen, drawn, Path(path), pid)

        def serve(channel: Channel, cell: Cell = cell, drawn: Data = drawn) -> None:
            _contained(events, channel, job, lambda: measuring.serve(channel, cell, drawn, Effort(job["seconds"])))

        _emit(events, {"event": "outcome", "outcome": judge.drive(case_of, serve).to_json()})


def _on_device(events: TextIO, job: dict[str, Any], cells: list[Cell], data: DataCache) -> None:
    """All cells in one process, which checks its own outputs; the channel to the scheduler stays in this one."""
    from fffbench.measure import judge

    def serve(channel: Channel) -> None:
        _contained(events, channel, job, lambda: _measure_here(channel, job, cells, data))

    for event in judge.relayed(serve):
        _emit(events, event)


def _conforming(events: TextIO, cells: list[Cell]) -> None:
    """The verdict on every cell's workload, in one process that checks itself."""
    from fffbench.measure import conformance, judge

    def serve(channel: Channel) -> None:
        def work() -> None:
            for cell in cells:
                channel.send({"event": "cell", "cell": cell.id})
                channel.send({"event": "verdict", **conformance.answer(cell)})

        _contained(events, channel, {}, work)

    for event in judge.relayed(serve):
        _emit(events, event)


def _measure_here(channel: Channel, job: dict[str, Any], cells: list[Cell], data: DataCache) -> None:
    from fffbench.measure import cellrun, inputs

    for cell in cells:
        if _late(job):
            return
        channel.send({"event": "cell", "cell": cell.id})
        drawn = None if inputs.draws(cell.workload) else data.get(cell.workload, cellrun.data_tokens(cell))
        try:
            outcome = cellrun.measure_cell(cell, job["process"], drawn, Effort(job["seconds"]))
        except Exception as error:  # noqa: BLE001  (whatever a kernel raises is that cell's result)
            with contextlib.suppress(OSError):
                traceback.print_exc(file=sys.stderr)
            outcome = failed(cell, job["process"], _reason(error), retry=_retry(error, job.get("scratch")))
        channel.send({"event": "outcome", "outcome": outcome.to_json()})
        gc.collect()  # a graph and its buffers may refer to one another
        cell.workload.place.release_memory()


def _contained(events: TextIO, channel: Channel, job: dict[str, Any], work: Callable[[], None]) -> None:
    """Do ``work`` in a process that may import somebody else's code: what it holds of others is closed first."""
    events.close()
    contain.silence()
    contain.prefer_as_victim()
    try:
        work()
    except GoneError:
        pass  # the judge has decided, and left
    except BaseException as error:  # noqa: BLE001  (SystemExit and KeyboardInterrupt of a plugin too)
        with contextlib.suppress(OSError):
            traceback.print_exc(file=sys.stderr)
        with contextlib.suppress(GoneError):
            channel.send({"failure": _reason(error), "retry": _retry(error, job.get("scratch"))})
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    os._exit(0)


def _reason(error: BaseException) -> str:
    """What was raised, in a line; that memory lacked by its name."""
    return _lacking_memory(error) or contain.one_line(f"{type(error).__name__}: {error}")


def _lacking_memory(error: BaseException) -> str | None:
    """Where memory lacked, or None; of the host's torch has only a sentence to know it by."""
    import torch

    if isinstance(error, torch.OutOfMemoryError):
        return "out of memory on the accelerator"
    if isinstance(error, MemoryError) or "not enough memory" in str(error) or "can't allocate memory" in str(error):
        return "out of memory"
    return None


def _retry(error: BaseException, scratch: str | None) -> str:
    """When the cell is tried again: memory that torch lacks is there in another run, perhaps."""
    return NEXT_RUN if _lacking_memory(error) else retry_after(error, scratch)


def _emit(events: TextIO, event: dict[str, Any]) -> None:
    events.write(json.dumps(event) + "\n")
    events.flush()


if __name__ == "__main__":
    main()
