"""What does a third party's module declare, and which workloads can it not run, without importing it here?

Run as ``python -P -m fffbench.implementations._plugin``: reads one JSON question, forks a child that imports the
module, and writes one JSON answer. An import that exits, prints, sleeps, forks, crashes or eats memory is that child's.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any

from fffbench import contain
from fffbench.parent import end_with_parent
from fffbench.surroundings import Surroundings

SECONDS = 30.0  # for an import (of torch too, from a cold disk) and all questions
MEMORY_BYTES = 8 * 2**30
ANSWER_BYTES = 4 * 2**20  # a reason for each of ten thousand cells
GRACE_SECONDS = 10.0  # for the supervisor's own start and end
KEYS = ("FAMILY", "DEVICES", "DTYPES", "unsupported", "prepare")


class PluginError(Exception):
    """One line about what a plugin did; the message does not name it."""


def ask(value: str, variant: str = "", workloads: Sequence[str] = ()) -> dict[str, Any]:
    """What the module at ``value`` declares, and its reasons against ``workloads`` (cell ids); else ``PluginError``."""
    question = json.dumps({"value": value, "variant": variant, "workloads": list(workloads), "asked by": os.getpid()})
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "fffbench.implementations._plugin"],
            input=question.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=SECONDS + GRACE_SECONDS,
            check=False,
        )
        answer = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise PluginError(f"could not be asked: {contain.one_line(error)}") from error
    if "error" in answer:
        raise PluginError(answer["error"])
    found: dict[str, Any] = answer
    return found


Question = tuple[str, str, Sequence[str]]


def ask_all(questions: Sequence[Question]) -> list[dict[str, Any] | PluginError]:
    """What ``ask`` answers to each, side by side; one at a time where one has changed what this process may use."""
    if not questions:
        return []
    around = Surroundings(os.getpid())
    with ThreadPoolExecutor(max_workers=4) as pool:
        answers = list(pool.map(_answer, questions))
    if around.changed() is None:
        return answers
    around.restore()
    answers = []
    for question in questions:
        answer, what = _answer(question), around.changed()
        answers.append(answer if what is None else PluginError(f"it changed {what} that asked it"))
        around.restore()
    return answers


def _answer(question: Question) -> dict[str, Any] | PluginError:
    try:
        return ask(*question)
    except PluginError as error:
        return error


def load(value: str) -> ModuleType:
    """Import the module at ``value``, here: only for a process that measures or checks nothing else."""
    module = EntryPoint("plugin", value, "").load()
    if not isinstance(module, ModuleType):
        raise PluginError("must name a module")
    return module


def main() -> None:
    """Answer one question."""
    question = json.loads(sys.stdin.read())
    end_with_parent(question["asked by"])  # which may have ended while this process started
    contain.adopt_orphans()
    supervisor = os.getpid()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        end_with_parent(supervisor)
        os.close(reading)
        _child(writing, question)
    os.close(writing)
    text, late = _read(reading)
    if late:
        answer = {"error": f"took longer than {SECONDS:.0f} s to import and answer"}
    elif not text:
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        answer = {"error": f"its import or declarations {'exited' if code == 0 else contain.death(code)}"}
    else:
        answer = _checked(text)
    contain.end_descendants()
    json.dump(answer, sys.stdout)


def _read(descriptor: int) -> tuple[bytes, bool]:
    """Everything up to the end of the pipe or the first line, and whether time ran out before."""
    text, end = b"", time.monotonic() + SECONDS
    while b"\n" not in text and len(text) < ANSWER_BYTES:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            return text, True
        chunk = os.read(descriptor, 1 << 16)
        if not chunk:
            break
        text += chunk
    return text, False


def _checked(text: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(text)
    except ValueError:
        return {"error": "gave no answer that can be read"}
    return answer if isinstance(answer, dict) else {"error": "gave no answer that can be read"}


def _child(writing: int, question: dict[str, Any]) -> None:
    """Import, answer and leave; whatever is raised becomes the answer."""
    contain.silence()
    contain.limit_memory(MEMORY_BYTES)
    contain.prefer_as_victim()
    try:
        module = load(question["value"])
        answer = declared(module)
        if question["workloads"]:
            answer["reasons"] = [_reason(module, question["variant"], cell) for cell in question["workloads"]]
    except PluginError as error:
        answer = {"error": contain.one_line(error)}
    except BaseException as error:  # noqa: BLE001  (SystemExit and KeyboardInterrupt of a plugin's import too)
        answer = {"error": contain.one_line(f"{type(error).__name__}: {error}")}
    with contextlib.suppress(BaseException), os.fdopen(writing, "wb") as pipe:
        pipe.write(json.dumps(answer).encode() + b"\n")
    os._exit(0)


def declared(module: ModuleType) -> dict[str, Any]:
    """The declarations as plain data; ``PluginError`` where one is missing or of another type."""
    missing = [key for key in KEYS if not hasattr(module, key)]
    if missing:
        raise PluginError(f"lacks {', '.join(missing)}")
    for key in ("DEVICES", "DTYPES"):
        value = getattr(module, key)
        if not isinstance(value, tuple | list) or not all(isinstance(item, str) for item in value):
            raise PluginError(f"its {key} must be a tuple of names, not {contain.one_line(repr(value), 60)}")
    for key in ("unsupported", "prepare"):
        if not callable(getattr(module, key)):
            raise PluginError(f"its {key} must be a function")
    share = getattr(module, "ROOFLINE_SHARE", None)
    if share is not None and not (isinstance(share, int | float) and 0 < share <= 1):
        raise PluginError(f"its ROOFLINE_SHARE must be a number above 0, at most 1, not {contain.one_line(share, 60)}")
    kinds = getattr(module, "KINDS", ())
    if not isinstance(kinds, tuple | list) or not all(isinstance(item, str) for item in kinds):
        raise PluginError(f"its KINDS must be a tuple of names, not {contain.one_line(repr(kinds), 60)}")
    guarded = getattr(module, "GUARDED", ())
    if not isinstance(guarded, tuple | list) or not all(isinstance(item, str) for item in guarded):
        raise PluginError(f"its GUARDED must be a tuple of workload ids, not {contain.one_line(repr(guarded), 60)}")
    variants = getattr(module, "VARIANTS", {})
    if not isinstance(variants, dict):
        raise PluginError("its VARIANTS must be a dictionary")
    return {
        "family": str(module.FAMILY),
        "devices": list(module.DEVICES),
        "dtypes": list(module.DTYPES),
        "summary": contain.one_line((module.__doc__ or "").strip().split("\n")[0]),
        "slow_to_prepare": bool(getattr(module, "SLOW_TO_PREPARE", False)),
        "roofline_share": share,
        "kinds": list(kinds),
        "guarded": list(guarded),
        "variants": {
            str(suffix): {
                "summary": contain.one_line(one.summary),
                "wrong": contain.one_line(one.wrong),
                "unsynchronised": bool(one.unsynchronised),
            }
            for suffix, one in variants.items()
        },
    }


def _reason(module: ModuleType, variant: str, cell: str) -> str | None:
    """Why the module cannot run the workload of ``cell``, or None."""
    from fffbench.plan.workload import parse_cell

    try:
        reason = module.unsupported(parse_cell(cell).workload, *((variant,) if variant else ()))
    except Exception as error:  # noqa: BLE001  (a plugin's fault is this cell's reason)
        return contain.one_line(f"its unsupported raised {type(error).__name__}: {error}")
    if reason is None:
        return None
    if not isinstance(reason, str):
        return f"its unsupported returned {type(reason).__name__}, which is neither None nor a sentence"
    return contain.one_line(reason) or "it gives no reason"


if __name__ == "__main__":
    main()
