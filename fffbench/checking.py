"""Which implementations compute their function, row by row, whatever one of them does to its process?

Every case runs in a worker's child. One that raises, crashes or hangs is wrong in that case; the others go on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from fffbench.implementations import registry
from fffbench.implementations.registry import Implementation
from fffbench.measure.conformance import workloads
from fffbench.measure.processes import Round, WorkerDiedError
from fffbench.plan.workload import Cell, Protocol

CASE_SECONDS = 120.0  # torch.compile takes 10 s a shape, on a busy machine several times that


@dataclass
class _Row:
    """One implementation in one dtype on one device, as far as it has been checked."""

    item: Implementation
    device: str
    dtype: str
    cells: list[Cell]
    answers: list[dict[str, Any]] = field(default_factory=list)

    @property
    def failure(self) -> str | None:
        """The first failure, with its workload."""
        found = ((cell, answer.get("failure")) for cell, answer in zip(self.cells, self.answers, strict=False))
        return next((f"{cell.workload.id}: {failure}" for cell, failure in found if failure), None)

    @property
    def done(self) -> bool:
        """Whether nothing is left to check: everything was, or something is wrong."""
        return len(self.answers) == len(self.cells) or self.failure is not None

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
            "failure": self.failure,
            "reason": skipped[-1] if skipped and not right else None,
        }


def rows(names: Sequence[str], dtypes: Sequence[str], devices: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A row for each implementation (all, where ``names`` is empty), device and dtype; the broken plugins first."""
    broken = registry.broken()
    for name, reason in broken.items():
        if not names or name in names:
            empty = {"passed": 0, "skipped": 0, "error": None, "reason": None}
            yield {"name": name, "device": "", "dtype": "", **empty, "failure": reason}
    wanted = [name for name in names or registry.implementations() if name not in broken]
    planned = [
        _Row(item, device, dtype, _cells(item, device, dtype))
        for item in map(registry.implementation, wanted)
        for device in devices
        for dtype in dtypes or item.dtypes
    ]
    own = [row for row in planned if not row.item.foreign]
    groups = [own, *([row] for row in planned if row.item.foreign)]  # ours share the references that they compute
    for group in groups:
        yield from _checked(group)


def _cells(item: Implementation, device: str, dtype: str) -> list[Cell]:
    protocol = Protocol("hot", "kernel")  # both entries are checked
    return [Cell(item.name, workload, protocol) for workload in workloads(dtype, device, item.family)]


def _checked(group: list[_Row]) -> Iterator[dict[str, Any]]:
    """Check the rows one after another in one child, in a new worker's after a failure; yield them as they are done."""
    waiting = list(group)
    while waiting:
        with Round() as worker:
            for row in _answered(worker, waiting):
                waiting.remove(row)
                yield row.plain()
                if row.failure is not None:
                    break  # its child may be dead, stopped or spoiled


def _answered(worker: Round, waiting: list[_Row]) -> Iterator[_Row]:
    """Every row that is done, until one is wrong."""
    left = [(row, cell) for row in waiting for cell in row.cells]
    yield from (row for row in waiting if not row.cells)
    answers = worker.conform([cell for _, cell in left], CASE_SECONDS)
    for row, _ in left:
        try:
            _, answer = next(answers)
        except (StopIteration, WorkerDiedError) as error:
            reason = str(error) if isinstance(error, WorkerDiedError) else "its process ended without an answer"
            answer = {"error": None, "failure": reason}
        row.answers.append(answer)
        if row.done:
            yield row
