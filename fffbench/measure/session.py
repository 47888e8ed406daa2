"""In which order, and in how many fresh processes, are the cells of a plan measured?

Round by round: every round starts a new worker and goes once through all cells
in a new random order, so that a drift of the machine meets all of them alike.
After the first round the cost of every cell is known; where the budget does
not allow all rounds for all cells, the costliest lose processes first, and
their records say so.
"""

from __future__ import annotations

import hashlib
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fffbench.measure import cellrun, memory
from fffbench.measure.outcome import Outcome, failed
from fffbench.measure.processes import Round, WorkerDiedError
from fffbench.plan.workload import Cell

CELLS_A_PROCESS = {"cpu": 1, "cuda": 12}  # creating a CUDA context takes about a second: a process does several cells
CELL_LIMIT_SECONDS = 300.0
REFERENCE_LIMIT_SECONDS = 600.0


@dataclass(frozen=True)
class Plan:
    """What to measure: cells, fresh processes for each, seconds of timed calls in each, seconds for all (or None)."""

    cells: tuple[Cell, ...]
    processes: int
    sample_seconds: float
    budget_seconds: float | None = None
    keep: frozenset[Cell] = frozenset()  # a short budget takes processes from all others first


@dataclass
class Progress:
    """What a display needs: jobs done and planned, the cell under way, the forecast of what is left in seconds."""

    done: int
    planned: int
    cell: str
    seconds_left: float


def allot(
    costs: dict[Cell, float], processes: int, seconds: float, keep: frozenset[Cell] = frozenset()
) -> dict[Cell, int]:
    """Processes for each cell, given the cost of one, such that all fit into ``seconds``: the costliest lose first.

    Cells to ``keep`` lose only when all others are down to one; every cell keeps at least one.
    """
    allotted = dict.fromkeys(costs, processes)
    total = sum(cost * processes for cost in costs.values())
    for group in ([cell for cell in costs if cell not in keep], [cell for cell in costs if cell in keep]):
        while total > seconds:
            heaviest = max(
                (cell for cell in group if allotted[cell] > 1), key=lambda c: costs[c] * allotted[c], default=None
            )
            if heaviest is None:
                break
            allotted[heaviest] -= 1
            total -= costs[heaviest]
    return allotted


class Session:
    """One run over a plan; ``outcomes`` yields each process's result as soon as it exists."""

    def __init__(
        self,
        plan: Plan,
        done: Sequence[Outcome],
        forecast: dict[Cell, float],
        show: Callable[[Progress], None],
        seed: int,
    ) -> None:
        """``done`` are outcomes of an interrupted run; ``forecast`` is the expected cost of a process by cell."""
        self._plan = plan
        self._done = {(outcome.cell, outcome.process) for outcome in done if outcome.failure is None}
        self._broken = {outcome.cell for outcome in done if outcome.failure is not None}
        self._cost = dict(forecast)
        for outcome in done:
            self._learn(outcome)
        self._show = show
        self._seed = seed
        self._start = time.monotonic()

    def outcomes(self) -> Iterator[Outcome]:
        """Measure what is not done yet."""
        with tempfile.TemporaryDirectory(prefix="fffbench-") as scratch:
            self._scratch = Path(scratch)
            for index in range(self._plan.processes):
                jobs = self._jobs(index)
                if not jobs:
                    continue
                yield from self._round(index, jobs)

    def _jobs(self, index: int) -> list[Cell]:
        """The cells that get process ``index``, in this round's order."""
        allotted = self._allotment()
        cells = [
            cell
            for cell in self._plan.cells
            if cell.id not in self._broken and (cell.id, index) not in self._done and index < allotted[cell]
        ]
        random.Random(f"{self._seed}/{index}").shuffle(cells)  # noqa: S311  (an order, not a secret)
        return cells

    def _allotment(self) -> dict[Cell, int]:
        costs = {cell: self._cost[cell] for cell in self._plan.cells if cell.id not in self._broken}
        if self._plan.budget_seconds is None:
            return dict.fromkeys(costs, self._plan.processes)
        spent = sum(
            self._cost[cell] for cell in costs for i in range(self._plan.processes) if (cell.id, i) in self._done
        )
        elapsed = time.monotonic() - self._start
        seconds = max(0.0, self._plan.budget_seconds - elapsed) + spent
        return allot(costs, self._plan.processes, seconds, self._plan.keep)

    def _round(self, index: int, cells: list[Cell]) -> Iterator[Outcome]:
        worker = Round()
        try:
            position = 0
            while position < len(cells):
                group = self._group(cells, position)
                position += len(group)
                if self._over_budget(index) and not self._plan.keep.intersection(group):
                    continue
                self._show(self._progress(group[0]))
                try:
                    yield from self._group_outcomes(worker, index, group)
                except WorkerDiedError:
                    worker.close()
                    worker = Round()
                    for cell in group:
                        if (cell.id, index) not in self._done and cell.id not in self._broken:
                            yield self._keep(failed(cell, index, "the worker went away while measuring it"))
        finally:
            worker.close()

    def _group(self, cells: list[Cell], position: int) -> list[Cell]:
        device = cells[position].workload.device
        group = [cells[position]]
        for cell in cells[position + 1 : position + CELLS_A_PROCESS[device]]:
            if cell.workload.device != device:
                break
            group.append(cell)
        return group

    def _group_outcomes(self, worker: Round, index: int, group: list[Cell]) -> Iterator[Outcome]:
        ready: list[Cell] = []
        references: list[Path] = []
        for cell in group:
            reason = memory.does_not_fit(cell, memory.available())
            path = self._scratch / f"{self._reference_key(cell)}.npz"
            if reason is None and not path.exists():
                reason = worker.build_reference(cell, path, REFERENCE_LIMIT_SECONDS)
            if reason is not None:
                yield self._keep(failed(cell, index, reason))
                continue
            ready.append(cell)
            references.append(path)
        while ready:
            answered = 0
            for outcome in worker.measure(ready, index, references, self._plan.sample_seconds, CELL_LIMIT_SECONDS):
                answered += 1
                yield self._keep(outcome)
            if answered == 0:
                yield self._keep(failed(ready[0], index, "its process ended without a word"))
                answered = 1
            ready, references = ready[answered:], references[answered:]

    def _keep(self, outcome: Outcome) -> Outcome:
        if outcome.failure is not None:
            self._broken.add(outcome.cell)
        else:
            self._done.add((outcome.cell, outcome.process))
        self._learn(outcome)
        return outcome

    def _learn(self, outcome: Outcome) -> None:
        for cell in self._cost:
            if cell.id == outcome.cell and outcome.wall > 0:
                self._cost[cell] = outcome.wall + 0.1  # forking and loading data, outside the outcome's own clock

    def _over_budget(self, index: int) -> bool:
        """Past the budget only the first process of a cell is begun, so that each has one, and cells to keep."""
        budget = self._plan.budget_seconds
        return budget is not None and index > 0 and time.monotonic() - self._start > budget

    def _progress(self, cell: Cell) -> Progress:
        allotted = self._allotment()
        left = sum(
            self._cost[c] * sum(1 for i in range(count) if (c.id, i) not in self._done) for c, count in allotted.items()
        )
        return Progress(len(self._done), sum(allotted.values()), cell.id, left)

    @staticmethod
    def _reference_key(cell: Cell) -> str:
        workload = cell.workload
        parts = (
            workload.shape.id,
            workload.dtype,
            workload.routing,
            workload.seed,
            workload.batch,
            cellrun.data_tokens(cell),
            cellrun.checked_tokens(cell),
            cellrun.is_conditional(cell),
        )
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:24]
