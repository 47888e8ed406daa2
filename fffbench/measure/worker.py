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
from pathlib import Path
from typing import Any, TextIO

from fffbench.measure.clock import Effort
from fffbench.measure.failures import retry_after
from fffbench.measure.outcome import NEXT_RUN
from fffbench.parent import end_with_parent
from fffbench.plan import routing
from fffbench.plan.workload import Cell, Workload, parse_cell

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
        self._kept: OrderedDict[tuple[object, ...], routing.Data] = OrderedDict()

    def get(self, workload: Workload, tokens: int) -> routing.Data:
        """The data of ``workload``, drawn now or kept."""
        key = (workload.shape, workload.routing, workload.seed, tokens)
        if key not in self._kept:
            self._kept[key] = routing.make(workload, tokens)
            while len(self._kept) > 1 and sum(_bytes(data) for data in self._kept.values()) > DATA_BYTES:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]


def _bytes(data: routing.Data) -> int:
    return data.x.nbytes + data.w1.nbytes + data.w2.nbytes


def main() -> None:
    """Serve jobs until standard input closes."""
    end_with_parent(os.getppid())
    events = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    from fffbench.implementations import blaslib

    blaslib.load_openmp()  # before torch
    import torch  # noqa: F401  (the point of this process: children start with it imported)

    from fffbench.measure import cellrun, device

    data = DataCache()
    gc.collect()
    gc.freeze()
    _emit(events, {"event": "ready"})
    worker = os.getpid()
    for line in sys.stdin:
        job = json.loads(line)
        if job["task"] != "ceilings":
            for cell in map(parse_cell, job["cells"]):
                if not device.draws(cell.workload):
                    data.get(cell.workload, cellrun.data_tokens(cell))
        child = os.fork()
        if child == 0:
            end_with_parent(worker)
            _child(events, job, data)
        _emit(events, {"event": "started", "pid": child})
        _, status = os.waitpid(child, 0)
        _emit(events, {"event": "ended", "code": os.waitstatus_to_exitcode(status)})


def _child(events: TextIO, job: dict[str, Any], data: DataCache) -> None:
    """Do one job and leave without the interpreter's shutdown, which belongs to the parent."""
    code = 1
    try:
        gc.disable()
        _do(events, job, data)
        code = 0
    except MemoryError:
        _emit(events, {"event": "failure", "reason": "out of memory", "retry": NEXT_RUN})
    except Exception as error:  # noqa: BLE001  (whatever a kernel raises is that cell's result)
        text = " ".join(str(error).split())[:300]
        retry = retry_after(error, job.get("scratch"))
        _emit(events, {"event": "failure", "reason": f"{type(error).__name__}: {text}", "retry": retry})
        with contextlib.suppress(OSError):
            traceback.print_exc(file=sys.stderr)
    finally:
        with contextlib.suppress(OSError):
            sys.stderr.flush()
        os._exit(code)


def _do(events: TextIO, job: dict[str, Any], data: DataCache) -> None:
    from fffbench.measure import ceilings, cellrun, check, device

    if job["task"] == "ceilings":
        _emit(events, {"event": "ceilings", "values": ceilings.measure(job["threads"], cuda=job["cuda"])})
        return
    for position, cell in enumerate(map(parse_cell, job["cells"])):
        if job.get("until") is not None and time.monotonic() > job["until"]:
            return
        drawn = None if device.draws(cell.workload) else data.get(cell.workload, cellrun.data_tokens(cell))
        path = Path(job["references"][position]) if job["references"][position] else None
        if job["task"] == "reference":
            assert drawn is not None
            assert path is not None
            tokens, conditional = cellrun.checked_tokens(cell), cellrun.is_conditional(cell)
            check.save(cellrun.build_reference(cell.workload, drawn, tokens, conditional=conditional), path)
            continue
        _emit(events, {"event": "cell", "cell": cell.id})
        outcome = _with_memory_errors_named(cell, job["process"], drawn, path, Effort(job["seconds"]))
        _emit(events, {"event": "outcome", "outcome": outcome})
        if cell.workload.device == "cuda":
            _give_memory_back()


def _give_memory_back() -> None:
    """Free what the cell before held on the accelerator; its graph and its buffers may refer to one another."""
    import torch

    gc.collect()
    torch.cuda.empty_cache()


def _with_memory_errors_named(
    cell: Cell, process: int, data: routing.Data | None, reference: Path | None, effort: Effort
) -> dict[str, Any]:
    """``measure_cell``, with torch's out-of-memory errors as the cell's failure."""
    import torch

    from fffbench.measure import cellrun
    from fffbench.measure.outcome import failed

    try:
        return cellrun.measure_cell(cell, process, data, reference, effort).to_json()
    except torch.OutOfMemoryError:
        return failed(cell, process, "out of memory on the accelerator", retry=NEXT_RUN).to_json()
    except RuntimeError as error:
        if "not enough memory" not in str(error) and "can't allocate memory" not in str(error):
            raise
        return failed(cell, process, "out of memory", retry=NEXT_RUN).to_json()


def _emit(events: TextIO, event: dict[str, Any]) -> None:
    events.write(json.dumps(event) + "\n")
    events.flush()


if __name__ == "__main__":
    main()
