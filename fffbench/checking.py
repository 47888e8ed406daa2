"""Which implementations compute their function, row by row, whatever one of them does to its process?

Every case runs in a worker's child, somebody else's code on a CPU in a process below that (``measure.subject``). One
that raises, crashes or hangs is wrong in that case; its other cases are tried all the same, and the other
implementations, so that an author sees all faults at once.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from fffbench.implementations import registry
from fffbench.implementations.registry import Implementation
from fffbench.measure import diagnosis
from fffbench.measure.conformance import workloads
from fffbench.measure.processes import Round, WorkerDiedError
from fffbench.plan.workload import Cell, Protocol

MOST_FAULTS = 20  # of one row; more of them say nothing new
MOST_DEATHS = 3  # of a row's workers' processes, by the limit or on an accelerator by a crash; each costs a new worker
CASE_SECONDS = 120.0  # torch.compile takes 10 s a shape, on a busy machine several times that
# once a case of an implementation hung: three deaths of 120 s were six minutes, and as many in each of its other rows
AGAIN_SECONDS = 20.0


@dataclass
class _Row:
    """One implementation in one dtype on one device, as far as it has been checked."""

    item: Implementation
    device: str
    dtype: str
    cells: list[Cell]
    answers: list[dict[str, Any]] = field(default_factory=list)

    deaths: int = 0

    @property
    def faults(self) -> list[tuple[Cell, str]]:
        """Every case that is wrong, and how."""
        found = ((cell, answer.get("failure")) for cell, answer in zip(self.cells, self.answers, strict=False))
        return [(cell, failure) for cell, failure in found if failure]

    def done(self) -> bool:
        """Whether nothing is left to check: everything was, or too much is wrong."""
        given_up = len(self.faults) >= MOST_FAULTS or self.deaths >= MOST_DEATHS
        return len(self.answers) == len(self.cells) or given_up

    def plain(self) -> dict[str, Any]:
        """As ``check --json`` prints it."""
        right = [
            answer["error"] for answer in self.answers if answer.get("error") is not None and not answer["failure"]
        ]
        skipped = [answer["skipped"] for answer in self.answers if "skipped" in answer]
        return {
            "name": self.item.name,
            "device": self.device,
            "dtype": self.dtype,
            "passed": len(right),
            "skipped": len(skipped),
            "error": max(right, default=None),
            "failure": next((f"{cell.workload.id}: {failure}" for cell, failure in self.faults), None),
            "faults": [
                {"case": cell.workload.id, "special": diagnosis.special(cell.workload), "failure": failure}
                for cell, failure in self.faults
            ],
            "untried": len(self.cells) - len(self.answers),
            "reason": skipped[-1] if skipped and not right else None,
        }


def rows(names: Sequence[str], dtypes: Sequence[str], devices: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A row for each implementation (all, where ``names`` is empty), device and dtype; the broken plugins first."""
    broken = registry.broken()
    for name, reason in broken.items():
        if not names or name in names:
            empty: dict[str, Any] = {
                "passed": 0,
                "skipped": 0,
                "error": None,
                "faults": [],
                "untried": 0,
                "reason": None,
            }
            yield {"name": name, "device": "", "dtype": "", **empty, "failure": reason}
    wanted = [name for name in names or registry.implementations() if name not in broken]
    planned = [
        _Row(item, device, dtype, _cells(item, device, dtype))
        for item in map(registry.implementation, wanted)
        for device in devices
        for dtype in dtypes or item.dtypes
    ]
    own = [row for row in planned if not row.item.foreign]
    hung: set[str] = set()
    groups = [own, *([row] for row in planned if row.item.foreign)]  # ours share the references that they compute
    for group in groups:
        yield from _checked(group, hung)


def _cells(item: Implementation, device: str, dtype: str) -> list[Cell]:
    protocol = Protocol("hot", "kernel")  # both entries are checked
    return [Cell(item.name, workload, protocol) for workload in workloads(item, dtype, device)]


def _checked(group: list[_Row], hung: set[str]) -> Iterator[dict[str, Any]]:
    """Check the rows one after another in one child, in a new one after a wrong row; yield them as they are done.

    ``hung`` are the implementations of which a case took its whole limit; it is extended in place.
    """
    waiting = list(group)
    while waiting:
        with Round() as worker:
            for row in _answered(worker, waiting, hung):
                if not row.done():
                    break  # its child is dead or stopped; a new one tries the other cases
                waiting.remove(row)
                yield row.plain()
                if row.faults:
                    break  # its child may be spoiled


def _answered(worker: Round, waiting: list[_Row], hung: set[str]) -> Iterator[_Row]:
    """Every row that is done, until one is wrong, or has lost its process and is not done."""
    yield from [row for row in waiting if row.done()]
    limit = CASE_SECONDS
    if waiting[0].item.name in hung:
        waiting, limit = waiting[:1], AGAIN_SECONDS  # the shorter limit is nobody else's
    left = [(row, cell) for row in waiting for cell in row.cells[len(row.answers) :]]
    answers = worker.conform([cell for _, cell in left], limit)
    answered = 0
    for row, _ in left:
        if row.done():
            continue  # given up: what the child still answers of it is not asked for
        asked = time.monotonic()
        try:
            _, answer = next(answers)
        except (StopIteration, WorkerDiedError) as error:
            row.deaths += 1
            if answered == 0:  # it died before its first answer, and must not do so for ever
                reason = str(error) if isinstance(error, WorkerDiedError) else "its process ended without an answer"
                row.answers.append({"error": None, "failure": reason})
            yield row
            return
        answered += 1
        row.answers.append(answer)
        if answer.get("failure") and time.monotonic() - asked >= limit:
            hung.add(row.item.name)
        if row.done():
            yield row
