"""Where do the processes come from that measure whole models? Forked from one that has imported torch and transformers.

Run as ``python -m fffbench.models.worker``, once a round, as ``measure.worker`` is: jobs come as JSON lines, events
leave as JSON lines on what was standard output. All code that runs here is the project's own and the libraries'.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any, TextIO

from fffbench import contain
from fffbench.devices import device
from fffbench.measure.failures import retry_after
from fffbench.measure.outcome import NEVER, NEXT_RUN
from fffbench.measure.worker import ENVIRONMENT as LAYERS_ENVIRONMENT
from fffbench.models import build
from fffbench.models.outcome import failed
from fffbench.parent import end_with_parent
from fffbench.plan.models import parse_model_cell

# Set before the interpreter starts. One process compiles at a time, so that what it compiled is what it timed.
# Whether there is a GPU is asked of NVML: the driver, once asked, is of no use to a forked process.
ENVIRONMENT = {
    **LAYERS_ENVIRONMENT,
    "TORCHINDUCTOR_COMPILE_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
}
_NOT_INITIALISED = 3  # CUDA's error of that name


def main() -> None:
    """Serve jobs until standard input closes; with a job and a descriptor as arguments, do that one."""
    if len(sys.argv) > 2:
        _child(os.fdopen(int(sys.argv[2]), "w", buffering=1), json.loads(sys.argv[1]))
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
    worker, poisoned = os.getpid(), _driver_was_asked()
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if child == 0:
            end_with_parent(worker)
            if poisoned and not all(device(parse_model_cell(name).work.device).host_memory for name in job["cells"]):
                os.set_inheritable(events.fileno(), True)  # noqa: FBT003
                own = [sys.executable, "-P", "-m", "fffbench.models.worker", line, str(events.fileno())]
                os.execv(sys.executable, own)  # noqa: S606 - this interpreter, anew
            _child(events, job)
        _emit(events, {"event": "started", "pid": child})
        _, status = os.waitpid(child, 0)
        contain.end_descendants()
        _emit(events, {"event": "ended", "code": os.waitstatus_to_exitcode(status)})


def _driver_was_asked() -> bool:
    """Whether a library has initialised CUDA's driver in this process, which no forked process can use then."""
    if "libcuda.so" not in Path("/proc/self/maps").read_text():
        return False
    try:
        context = ctypes.c_void_p()
        return int(ctypes.CDLL("libcuda.so.1").cuCtxGetCurrent(ctypes.byref(context))) != _NOT_INITIALISED
    except (OSError, AttributeError):
        return True


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
                measuring.forget(cell.work)
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
