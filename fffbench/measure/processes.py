"""How are jobs handed to fresh processes, and what is made of their deaths?

``Round`` is one worker (see ``worker``) with its children. A child that is
killed, crashes or outlives its time limit costs the cell it was at; the other
cells of its job are handed out again by the caller.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fffbench import contain
from fffbench.errors import UserError
from fffbench.implementations.registry import implementation
from fffbench.measure import environment
from fffbench.measure.outcome import Outcome, failed, outcome_from_json
from fffbench.measure.worker import ENVIRONMENT
from fffbench.plan.workload import Cell, parse_cell

START_SECONDS = 120.0  # importing torch from a cold disk
LATE_SECONDS = 15.0  # past its end, what a job may still take for the cell in flight: a process of most cells fits


class WorkerDiedError(UserError):
    """The worker itself, not one of its children, went away."""


class Round:
    """One worker process and the jobs given to it, one at a time."""

    def __init__(self) -> None:
        """Start the worker and wait until it has imported torch."""
        self._process = subprocess.Popen(
            # -P: from a checkout, the current folder holds the sources without the compiled kernels
            [sys.executable, "-P", "-m", "fffbench.measure.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if os.environ.get("FFFBENCH_WORKER_STDERR") else subprocess.DEVNULL,
            env={**environment.cleaned(os.environ), **ENVIRONMENT},
        )
        assert self._process.stdout is not None
        self._lines = _Lines(self._process.stdout.fileno())
        self._expect("ready", time.monotonic() + START_SECONDS)

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
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def measure(
        self,
        cells: Sequence[Cell],
        process: int,
        references: Sequence[Path | None],
        seconds: float,
        limit: float,
        until: float | None = None,
    ) -> Iterator[Outcome]:
        """One child measures ``cells``, ``seconds`` of timed calls each; one outcome per cell that was begun.

        The child is killed ``limit`` seconds after it began a cell; it begins none when ``time.monotonic()`` is past
        ``until``, and is killed ``LATE_SECONDS`` later: the outcome of the cell it was at is then dropped.
        """
        job = {
            "task": "cells",
            "cells": [cell.id for cell in cells],
            "process": process,
            "references": ["" if path is None else str(path) for path in references],
            "seconds": seconds,
            "until": until,
            "plugins": _plugins(cells),
        }
        current: Cell | None = cells[0] if cells else None
        began = time.perf_counter()
        for event in self._run(job, limit, None if until is None else until + LATE_SECONDS):
            kind = event["event"]
            if kind == "late":
                current = None
            elif kind == "cell":
                current, began = parse_cell(event["cell"]), time.perf_counter()
            elif kind == "outcome":
                current = None
                yield outcome_from_json(event["outcome"])
            elif kind == "failure" and current is not None:
                yield failed(current, process, event["reason"], time.perf_counter() - began)
                current = None
            elif kind == "ended" and current is not None and event["code"] != 0:
                yield failed(current, process, contain.death(event["code"]), time.perf_counter() - began)
            elif kind == "timeout" and current is not None:
                yield failed(current, process, f"stopped after {limit:.0f} s", time.perf_counter() - began)
                current = None

    def build_reference(self, cell: Cell, path: Path, limit: float, until: float | None = None) -> str | None:
        """Let a child compute the reference of ``cell`` into ``path``; the reason if it could not.

        ``until`` as for ``measure``: the reference is then not there, without a reason.
        """
        end = None if until is None else until + LATE_SECONDS
        for event in self._run(
            {"task": "reference", "cells": [cell.id], "references": [str(path)], "plugins": _plugins([cell])},
            limit,
            end,
        ):
            if event["event"] == "failure":
                return f"no reference: {event['reason']}"
            if event["event"] == "timeout":
                return f"no reference: stopped after {limit:.0f} s"
            if event["event"] == "late":
                return None
            if event["event"] == "ended" and event["code"] != 0:
                return f"no reference: {contain.death(event['code'])}"
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
                yield current, {key: value for key, value in event.items() if key != "event"}
                current = None
            elif event["event"] == "failure":
                failure = event["reason"]
            elif event["event"] == "timeout":
                failure = f"stopped after {limit:.0f} s"
            elif event["event"] == "ended" and current is not None:
                failure = contain.death(event["code"])
            if failure is not None and current is not None:
                yield current, {"error": None, "failure": failure}
                current = None

    def ceilings(self, threads: Sequence[int], *, cuda: bool, limit: float = 120.0) -> dict[str, dict[str, float]]:
        """Measure the machine's ceilings in a child."""
        for event in self._run({"task": "ceilings", "threads": list(threads), "cuda": cuda}, limit):
            if event["event"] == "ceilings":
                values: dict[str, dict[str, float]] = event["values"]
            elif event["event"] == "failure":
                raise WorkerDiedError(f"could not measure the machine's ceilings: {event['reason']}")
        return values

    def _run(self, job: dict[str, Any], limit: float, end: float | None = None) -> Iterator[dict[str, Any]]:
        """Send a job; yield its events up to and including ``ended``; ``timeout`` and ``late`` when it was killed.

        Killed are a cell after ``limit`` seconds and the whole job at ``end``, a reading of ``time.monotonic()``.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job).encode() + b"\n")
        self._process.stdin.flush()
        child = None
        deadline = self._sooner(limit, end)
        while True:
            event = self._lines.next(deadline)
            if event is None:
                if child is None:
                    raise WorkerDiedError("the worker did not start a process in time")
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
                late = end is not None and time.monotonic() >= end
                deadline = time.monotonic() + START_SECONDS
                yield {"event": "late" if late else "timeout"}
                continue
            if event["event"] == "started":
                child = event["pid"]
            elif event["event"] == "cell":
                deadline = self._sooner(limit, end)
            yield event
            if event["event"] == "ended":
                return

    @staticmethod
    def _sooner(limit: float, end: float | None) -> float:
        """``limit`` seconds from now, or ``end``."""
        return min(time.monotonic() + limit, end if end is not None else float("inf"))

    def _expect(self, kind: str, deadline: float) -> None:
        event = self._lines.next(deadline)
        if event is None or event["event"] != kind:
            self.close()
            raise WorkerDiedError(f"the worker said {event!r} where {kind!r} was due")


class _Lines:
    """JSON lines from a descriptor, with a deadline."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._buffer = b""
        self._selector = selectors.DefaultSelector()
        self._selector.register(descriptor, selectors.EVENT_READ)

    def next(self, deadline: float) -> dict[str, Any] | None:
        """The next event, or None at the deadline; ``WorkerDiedError`` when the other end closed."""
        while b"\n" not in self._buffer:
            if not self._selector.select(max(0.0, deadline - time.monotonic())):
                return None
            chunk = os.read(self._descriptor, 1 << 16)
            if not chunk:
                raise WorkerDiedError("the worker went away")
            self._buffer += chunk
        line, self._buffer = self._buffer.split(b"\n", 1)
        event: dict[str, Any] = json.loads(line)
        return event


def _plugins(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """What is known of the cells' implementations that are somebody else's, so that a worker asks nobody."""
    chosen = {cell.implementation: implementation(cell.implementation) for cell in cells}
    return [item.declared() for item in chosen.values() if item.foreign]
