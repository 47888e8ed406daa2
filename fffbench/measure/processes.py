"""How are jobs handed to fresh processes, and what is made of their deaths?

``Round`` is one worker (see ``worker``) with its children. A child that is
killed, crashes or outlives its time limit costs the cell it was at; the other
cells of its job are handed out again by the caller. What worker and children
write to standard error is read along, and its end is quoted where a worker dies. The whole protocol with a worker is
here, which is why this file is longer than 300 lines.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from fffbench import contain
from fffbench.errors import UserError
from fffbench.implementations.registry import implementation
from fffbench.measure import environment
from fffbench.measure.failures import death
from fffbench.measure.outcome import NEVER, NEXT_RUN, Outcome, failed, outcome_from_json, plain
from fffbench.measure.worker import ENVIRONMENT
from fffbench.plan.workload import Cell, parse_cell
from fffbench.surroundings import Surroundings

START_SECONDS = 120.0  # importing torch from a cold disk
LATE_SECONDS = 15.0  # past its end, what a job may still take for the cell in flight: a process of most cells fits
LAST_WORDS_BYTES = 4096  # of standard error, kept for the message about a worker's death
QUOTED = 300  # characters of it


class WorkerDiedError(UserError):
    """The worker itself died, not one of its children; ``cell`` is the one it was at, if any."""

    def __init__(self, message: str, cell: Cell | None = None) -> None:
        """Say what happened."""
        super().__init__(message)
        self.cell = cell


class Round:
    """One worker process and the jobs given to it, one at a time."""

    module = "fffbench.measure.worker"
    environment: Mapping[str, str] = ENVIRONMENT
    start_seconds = START_SECONDS

    def __init__(self) -> None:
        """Start the worker and wait until it has imported torch."""
        self._process = subprocess.Popen(
            # -P: from a checkout, the current folder holds the sources without the compiled kernels
            [sys.executable, "-P", "-m", self.module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if os.environ.get("FFFBENCH_WORKER_STDERR") else subprocess.PIPE,
            env={**environment.cleaned(os.environ), **self.environment},
        )
        assert self._process.stdout is not None
        self._lines = _Lines(self._process.stdout.fileno(), self._process.stderr)
        try:
            self._await_ready()
        except BaseException:
            self.close()
            raise
        self._surroundings = Surroundings(os.getpid(), self._process.pid)

    def _await_ready(self) -> None:
        """Wait for the worker's first word; it fails where torch does."""
        try:
            ready = self._lines.next(time.monotonic() + self.start_seconds) == {"event": "ready"}
        except WorkerDiedError:
            ready = False
        if not ready:
            words = self._lines.last_words() or f": it said nothing within {self.start_seconds:.0f} s"
            raise WorkerDiedError(f"the worker, which imports torch, could not start{words}")

    def __enter__(self) -> Self:
        """Enter a with block; leaving it ends the worker."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the worker and whatever child it has."""
        self.close()

    def close(self) -> None:
        """Close the worker's input, so that it ends; kill it if it is busy."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def measure(
        self,
        cells: Sequence[Cell],
        process: int,
        references: Sequence[Path | None],
        seconds: float,
        limit: float | Callable[[Cell], float],
        until: float | None = None,
    ) -> Iterator[Outcome]:
        """One child measures ``cells``, ``seconds`` of timed calls each; one outcome per cell that was begun.

        The child is killed ``limit`` seconds after it began a cell (or what ``limit`` says for that cell); it begins
        none when ``time.monotonic()`` is past ``until``, and is killed ``LATE_SECONDS`` later: the outcome of the cell
        it was at is then dropped.
        """
        job = {
            "task": "cells",
            "cells": [cell.id for cell in cells],
            "process": process,
            "references": ["" if path is None else str(path) for path in references],
            "scratch": next((str(path.parent) for path in references if path is not None), None),
            "seconds": seconds,
            "until": until,
            "plugins": _plugins(cells),
        }
        allowed = limit if callable(limit) else (lambda _: limit)
        current: Cell | None = cells[0] if cells else None
        began = time.perf_counter()
        events = self._run(job, allowed(cells[0]) if cells else START_SECONDS, until, allowed)
        try:
            for event in events:
                kind = event["event"]
                if kind == "late":
                    current = None
                elif kind == "cell":
                    current, began = parse_cell(event["cell"]), time.perf_counter()
                elif kind == "outcome" and current is not None:
                    found = _received(event.get("outcome"), current, process, time.perf_counter() - began)
                    if job["plugins"] and (what := self._surroundings.changed()) is not None:
                        found = failed(current, process, f"it changed {what}, which its rivals inherit", found.wall)
                    yield found
                    current = None
                elif kind in ("failure", "timeout", "ended") and current is not None:
                    reason, retry = self._reason(event, allowed(current))
                    if reason is not None:
                        yield failed(current, process, reason, time.perf_counter() - began, retry)
                        current = None
        except WorkerDiedError as error:
            error.cell = current
            raise
        if job["plugins"]:
            self._unchanged()

    def _unchanged(self) -> None:
        """After somebody else's code has run: end the worker where that changed it, and the run where it must."""
        what = self._surroundings.changed()
        if what is None:
            return
        self.close()  # nothing more is forked from it
        if not self._surroundings.restore():
            raise UserError(f"a plugin changed {what}, which cannot be put back: start the command again without it")
        raise WorkerDiedError(f"a plugin changed {what}")

    @staticmethod
    def _reason(event: dict[str, Any], limit: float) -> tuple[str | None, str]:
        """Why the cell in flight has no time, by the event that says so, and when it is tried again."""
        if event["event"] == "failure":
            return event["reason"], event.get("retry", NEVER)
        if event["event"] == "timeout":  # a machine that stood still looks alike, so another run may try
            return f"stopped after {limit:.0f} s: it hangs, or takes many times as long as it should", NEXT_RUN
        return death(event["code"]) if event["code"] != 0 else (None, NEVER)

    def build_reference(
        self, cell: Cell, path: Path, limit: float, until: float | None = None
    ) -> tuple[str, str] | None:
        """Let a child compute the reference of ``cell`` into ``path``; where it could not: why, and when to retry.

        ``until`` as for ``measure``: the reference is then not there, without a reason.
        """
        job = {
            "task": "reference",
            "cells": [cell.id],
            "references": [str(path)],
            "scratch": str(path.parent),
            "plugins": _plugins([cell]),
        }
        for event in self._run(job, limit, until):
            if event["event"] == "late":
                return None
            if event["event"] in ("failure", "timeout", "ended"):
                reason, retry = self._reason(event, limit)
                if reason is not None:
                    return f"no reference: {reason}", retry
        return None

    def conform(self, cells: Sequence[Cell], limit: float) -> Iterator[tuple[Cell, dict[str, Any]]]:
        """One child checks the cells' workloads one after another: each answer as ``conformance.answer`` gives it.

        It ends at the first that kills it or takes longer than ``limit`` seconds, with that as its failure.
        """
        job = {"task": "conform", "cells": [cell.id for cell in cells], "plugins": _plugins(cells)}
        current: Cell | None = cells[0] if cells else None
        for event in self._run(job, limit):
            failure = None
            if event["event"] == "cell":
                current = parse_cell(event["cell"])
            elif event["event"] == "verdict" and current is not None:
                yield current, _verdict(event)
                current = None
            elif event["event"] == "failure":
                failure = event["reason"]
            elif event["event"] == "timeout":
                failure = f"stopped after {limit:.0f} s"
            elif event["event"] == "ended" and current is not None:
                failure = death(event["code"])[0]
            if failure is not None and current is not None:
                yield current, {"error": None, "failure": failure}
                current = None

    def ceilings(self, threads: Mapping[str, Sequence[int]], limit: float = 120.0) -> dict[str, dict[str, float]]:
        """Measure in a child the ceilings of each device at the thread counts given for it."""
        values: dict[str, dict[str, float]] | None = None
        reason: str | None = None
        for event in self._run({"task": "ceilings", "threads": dict(threads)}, limit):
            if event["event"] == "ceilings":
                values = event["values"]
            elif event["event"] in ("failure", "timeout", "ended") and reason is None:
                reason, _ = self._reason(event, limit)
        if values is None:
            raise WorkerDiedError(f"could not measure the machine's ceilings: {reason or 'its process said nothing'}")
        return values

    def _run(
        self,
        job: dict[str, Any],
        limit: float,
        until: float | None = None,
        allowed: Callable[[Cell], float] | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Send a job; yield its events up to and including ``ended``; ``timeout`` and ``late`` when it was killed.

        Killed are a cell after ``limit`` seconds (each by ``allowed``, where given) and the whole job ``LATE_SECONDS``
        after ``until``, a reading of ``time.monotonic()``.
        """
        end = float("inf") if until is None else until + LATE_SECONDS
        self._send(job)
        child, killed = None, False
        deadline = min(time.monotonic() + START_SECONDS, end)  # the worker draws the data before it starts a child
        while True:
            event = self._lines.next(deadline)
            if event is not None and event["event"] == "cell" and event.get("cell") not in job["cells"]:
                event = {"event": "failure", "reason": "its process named a cell that it was not given", "retry": NEVER}
            if event is None:
                if child is None:
                    raise WorkerDiedError(f"the worker started no process within {START_SECONDS:.0f} s")
                if killed:
                    raise WorkerDiedError(f"a process did not end within {START_SECONDS:.0f} s of being killed")
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
                killed = True
                late = time.monotonic() >= end
                deadline = time.monotonic() + START_SECONDS
                yield {"event": "late" if late else "timeout"}
                continue
            if event["event"] == "started":
                child = event["pid"]
                if not killed:
                    deadline = min(time.monotonic() + limit, end)
            elif event["event"] == "cell" and not killed:
                own = allowed(parse_cell(event["cell"])) if allowed else limit
                deadline = min(time.monotonic() + own, end)
            yield event
            if event["event"] == "ended":
                return

    def _send(self, job: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(job).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:  # it ended after its last job
            self._lines.next(time.monotonic() + 1.0)  # says so, with its last words
            raise WorkerDiedError("the worker process died") from None


def _received(entry: object, cell: Cell, process: int, wall: float) -> Outcome:
    """The outcome that a child reported for ``cell``; a failure of the cell where it reported something else."""
    try:
        outcome = outcome_from_json(entry)
    except ValueError as error:
        return failed(cell, process, f"its result cannot be stored: {error}", wall)
    if (outcome.cell, outcome.process) != (cell.id, process):
        return failed(cell, process, f"its result is about process {outcome.process} of {outcome.cell}", wall)
    return outcome


def _verdict(event: dict[str, Any]) -> dict[str, Any]:
    """What ``conformance.answer`` gave; on an accelerator the process that says it has somebody else's code in it."""
    if isinstance(event.get("skipped"), str):
        return {"skipped": contain.one_line(event["skipped"])}
    error, failure = event.get("error"), event.get("failure")
    number = isinstance(error, int | float) and math.isfinite(error)
    if failure is None and not number:
        failure = "its process gave no verdict"
    return {"error": error if number else None, "failure": None if failure is None else contain.one_line(failure)}


class _Lines:
    """JSON lines from a descriptor, with a deadline; what comes from ``errors`` meanwhile is kept at its end."""

    def __init__(self, descriptor: int, errors: IO[bytes] | None) -> None:
        self._descriptor = descriptor
        self._buffer = b""
        self._words = b""
        self._selector = selectors.DefaultSelector()
        self._selector.register(descriptor, selectors.EVENT_READ)
        if errors is not None:
            self._selector.register(errors.fileno(), selectors.EVENT_READ)

    def next(self, deadline: float) -> dict[str, Any] | None:
        """The next event, or None at the deadline; ``WorkerDiedError`` when the other end closed."""
        while b"\n" not in self._buffer:
            ready = {key.fd for key, _ in self._selector.select(max(0.0, deadline - time.monotonic()))}
            for other in ready - {self._descriptor}:
                self._listen(other)
            if self._descriptor in ready:
                chunk = os.read(self._descriptor, 1 << 16)
                if not chunk:
                    raise WorkerDiedError(f"the worker process died{self.last_words()}")
                self._buffer += chunk
            if time.monotonic() >= deadline and b"\n" not in self._buffer:
                return None
        line, self._buffer = self._buffer.split(b"\n", 1)
        try:
            event = json.loads(line)
            if isinstance(event, dict) and isinstance(event.get("event"), str):
                return event
        except (ValueError, RecursionError):
            pass
        raise WorkerDiedError("something else than the worker wrote to its pipe")

    def last_words(self) -> str:
        """The last line of what was written to standard error, to end a message with; empty where there is none."""
        others = [fd for fd in self._selector.get_map() if fd != self._descriptor]
        while others and any(key.fd in others for key, _ in self._selector.select(0.0)):
            ready = [key.fd for key, _ in self._selector.select(0.0) if key.fd in others]
            others = [fd for fd in others if fd not in ready or self._listen(fd)]
        lines = [line for line in self._words.decode(errors="replace").splitlines() if line.strip()]
        return f": {plain(lines[-1][:QUOTED])}" if lines else ""

    def _listen(self, descriptor: int) -> bool:
        """Read what is there of standard error; False at its end."""
        chunk = os.read(descriptor, 1 << 16)
        if not chunk:
            self._selector.unregister(descriptor)
        self._words = (self._words + chunk)[-LAST_WORDS_BYTES:]
        return bool(chunk)


def _plugins(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """What is known of the cells' implementations that are somebody else's, so that a worker asks nobody."""
    chosen = {cell.implementation: implementation(cell.implementation) for cell in cells}
    return [item.declared() for item in chosen.values() if item.foreign]
