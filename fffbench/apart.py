"""How is a question about somebody else's module answered by a process that the module cannot take along?

``ask`` starts a module of ours that ``serve``s: it reads one JSON question, forks a child that imports the foreign
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
from collections.abc import Callable
from typing import Any

from fffbench import contain
from fffbench.parent import end_with_parent

SECONDS = 30.0  # for an import (of torch too, from a cold disk) and all questions
MEMORY_BYTES = 8 * 2**30
ANSWER_BYTES = 4 * 2**20  # a reason for each of ten thousand cells
GRACE_SECONDS = 10.0  # for the supervisor's own start and end

Question = dict[str, Any]
Answer = dict[str, Any]


class PluginError(Exception):
    """One line about what a plugin did; the message does not name it."""


def ask(module: str, question: Question) -> Answer:
    """What the process ``python -P -m module`` answers; ``PluginError`` where the plugin broke."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", module],
            input=json.dumps({**question, "asked by": os.getpid()}).encode(),
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
    found: Answer = answer
    return found


def serve(answered: Callable[[Question], Answer], seconds: float = SECONDS) -> None:
    """Read one question, have a child find the answer, and write it."""
    question = json.loads(sys.stdin.read())
    end_with_parent(question["asked by"])  # which may have ended while this process started
    contain.adopt_orphans()
    supervisor = os.getpid()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        end_with_parent(supervisor)
        os.close(reading)
        _child(writing, question, answered)
    os.close(writing)
    text, late = _read(reading, seconds)
    if late:
        answer = {"error": f"took longer than {seconds:.0f} s to import and answer"}
    elif not text:
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        answer = {"error": f"its import or declarations {'exited' if code == 0 else contain.death(code)}"}
    else:
        answer = _checked(text)
    contain.end_descendants()
    json.dump(answer, sys.stdout)


def _read(descriptor: int, seconds: float) -> tuple[bytes, bool]:
    """Everything up to the end of the pipe or the first line, and whether time ran out before."""
    text, end = b"", time.monotonic() + seconds
    while b"\n" not in text and len(text) < ANSWER_BYTES:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            return text, True
        chunk = os.read(descriptor, 1 << 16)
        if not chunk:
            break
        text += chunk
    return text, False


def _checked(text: bytes) -> Answer:
    try:
        answer = json.loads(text)
    except ValueError:
        return {"error": "gave no answer that can be read"}
    return answer if isinstance(answer, dict) else {"error": "gave no answer that can be read"}


def _child(writing: int, question: Question, answered: Callable[[Question], Answer]) -> None:
    """Import, answer and leave; whatever is raised becomes the answer."""
    contain.silence()
    contain.limit_memory(MEMORY_BYTES)
    contain.prefer_as_victim()
    try:
        answer = answered(question)
    except PluginError as error:
        answer = {"error": contain.one_line(error)}
    except BaseException as error:  # noqa: BLE001  (SystemExit and KeyboardInterrupt of a plugin's import too)
        answer = {"error": contain.one_line(f"{type(error).__name__}: {error}")}
    with contextlib.suppress(BaseException), os.fdopen(writing, "wb") as pipe:
        pipe.write(json.dumps(answer).encode() + b"\n")
    os._exit(0)
