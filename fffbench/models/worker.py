"""Where do the processes come from that measure whole models? Forked from one that has imported torch and transformers.

Run as ``python -m fffbench.models.worker``, once a round, as ``measure.worker`` is: jobs come as JSON lines, events
leave as JSON lines on what was standard output. All code that runs here is the project's own and the libraries'.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import sys
import time
import traceback
from typing import Any, TextIO

from fffbench import contain
from fffbench.measure.failures import retry_after
from fffbench.measure.outcome import NEVER, NEXT_RUN
from fffbench.measure.worker import ENVIRONMENT as LAYERS_ENVIRONMENT
from fffbench.models import build
from fffbench.models.outcome import failed
from fffbench.parent import end_with_parent
from fffbench.plan.models import parse_model_cell

# Set before the interpreter starts. One process compiles at a time, so that what it compiled is what it timed.
ENVIRONMENT = {**LAYERS_ENVIRONMENT, "TORCHINDUCTOR_COMPILE_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


def main() -> None:
    """Serve jobs until standard input closes."""
    end_with_parent(os.getppid())
    contain.adopt_orphans()
    events = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    build.load_classes()
    import torch._dynamo  # noqa: F401 - children start with these imported

    from fffbench.models import measuring  # noqa: F401
    from fffbench.operators import library  # noqa: F401

    gc.collect()
    gc.freeze()
    _emit(events, {"event": "ready"})
    worker = os.getpid()
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if child == 0:
            end_with_parent(worker)
            _child(events, job)
        _emit(events, {"event": "started", "pid": child})
        _, status = os.waitpid(child, 0)
        contain.end_descendants()
        _emit(events, {"event": "ended", "code": os.waitstatus_to_exitcode(status)})


def _child(events: TextIO, job: dict[str, Any]) -> None:
    """Do one job and leave without the interpreter's shutdown, which belongs to the parent."""
    code = 1
    try:
        contain.adopt_orphans()
        contain.prefer_as_victim()
        _measure(events, job)
        code = 0
    except BaseException:  # noqa: BLE001
        with contextlib.suppress(OSError):
            traceback.print_exc(file=sys.stderr)
    finally:
        with contextlib.suppress(OSError):
            sys.stderr.flush()
        os._exit(code)


def _measure(events: TextIO, job: dict[str, Any]) -> None:
    from fffbench.models import measuring

    made, of = None, None
    broken = ""
    for cell in map(parse_model_cell, job["cells"]):
        if job["until"] is not None and time.monotonic() > job["until"]:
            return
        _emit(events, {"event": "cell", "cell": cell.id})
        began = time.perf_counter()
        group = measuring.group_of(cell)
        try:
            if of != group:
                made, of, broken = None, group, ""
                measuring.forget()
                made = measuring.make(cell.work, cell.variant)
            if made is None:
                outcome = failed(cell, job["process"], broken)
            else:
                outcome = measuring.measure(cell, job["process"], made, job["seconds"])
        except Exception as error:  # noqa: BLE001 - whatever fails here is that cell's result
            with contextlib.suppress(OSError):
                traceback.print_exc(file=sys.stderr)
            broken, retry = _reason(error)
            outcome = failed(cell, job["process"], broken, time.perf_counter() - began, retry)
        _emit(events, {"event": "outcome", "outcome": outcome.to_json()})


def _reason(error: BaseException) -> tuple[str, str]:
    """What was raised, in a line, and when the cell is tried again."""
    import torch

    from fffbench.models.judging import WrongError

    if isinstance(error, WrongError):
        return f"wrong result: {error}", NEVER
    if isinstance(error, torch.OutOfMemoryError):
        return "out of memory on the accelerator", NEVER
    if isinstance(error, MemoryError) or "not enough memory" in str(error) or "can't allocate memory" in str(error):
        return "out of memory", NEXT_RUN
    return contain.one_line(f"{type(error).__name__}: {error}"), retry_after(error)


def _emit(events: TextIO, event: dict[str, Any]) -> None:
    events.write(json.dumps(event) + "\n")
    events.flush()


if __name__ == "__main__":
    main()
