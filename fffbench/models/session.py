"""In which order, and in how many fresh processes, are whole models measured?

Round by round, as layers are: every round starts a new worker, and goes through all models in a new random order, one
process for each model with its variant. Cells of one model follow one another in that process, eager before what is
prepared. A budget that ends leaves all cells about as many processes; what fails by itself is not tried again.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from fffbench.measure.failures import death
from fffbench.measure.outcome import NEVER, NEXT_RUN, NOW
from fffbench.measure.processes import Round, WorkerDiedError
from fffbench.measure.session import Progress
from fffbench.models.outcome import ModelOutcome, failed, outcome_from_json
from fffbench.models.worker import ENVIRONMENT
from fffbench.plan.models import MODES, ModelCell, parse_model_cell

LIMIT_SECONDS = 600.0  # of one cell: the first process compiles
TRIES = 2  # of a cell whose failure may pass
FIRST_COST = 6.0  # seconds of a cell in a process, before any was measured


class ModelRound(Round):
    """One worker that measures whole models."""

    module = "fffbench.models.worker"
    environment = ENVIRONMENT
    start_seconds = 300.0  # transformers takes as long to import as torch

    def measure_models(
        self, cells: Sequence[ModelCell], process: int, seconds: float, until: float | None
    ) -> Iterator[ModelOutcome]:
        """One child measures ``cells``; one outcome for each that was begun."""
        job = {"cells": [cell.id for cell in cells], "process": process, "seconds": seconds, "until": until}
        current: ModelCell | None = cells[0]
        began = time.perf_counter()
        for event in self._run(job, LIMIT_SECONDS, until):
            kind, reason, retry = event["event"], None, NEVER
            if kind == "cell":
                current, began = parse_model_cell(event["cell"]), time.perf_counter()
            elif kind == "late":
                current = None
            elif kind == "outcome" and current is not None:
                yield _received(event["outcome"], current, process)
                current = None
            elif kind == "timeout":
                reason, retry = f"stopped after {LIMIT_SECONDS:.0f} s", NEXT_RUN
            elif kind == "ended" and event["code"] != 0:
                reason, retry = death(event["code"])
            if reason is not None and current is not None:
                yield failed(current, process, reason, time.perf_counter() - began, retry)
                current = None


def _received(entry: object, cell: ModelCell, process: int) -> ModelOutcome:
    try:
        outcome = outcome_from_json(entry)
    except ValueError as error:
        return failed(cell, process, f"its result cannot be stored: {error}")
    if (outcome.cell, outcome.process) != (cell.id, process):
        return failed(cell, process, f"its result is about process {outcome.process} of {outcome.cell}")
    return outcome


@dataclass(frozen=True)
class ModelPlan:
    """What to measure: cells, processes of each, seconds of timed calls in each, seconds in all (None: no end)."""

    cells: tuple[ModelCell, ...]
    processes: int
    sample_seconds: float
    budget_seconds: float | None = None


class ModelSession:
    """One run over a plan; ``outcomes`` yields each process's result as soon as it exists."""

    def __init__(
        self, plan: ModelPlan, done: Sequence[ModelOutcome], show: Callable[[Progress], None], seed: int
    ) -> None:
        """``done``: outcomes of an interrupted run."""
        self._plan, self._show, self._seed = plan, show, seed
        self._done = {(one.cell, one.process) for one in done if one.failure is None}
        self._broken = {one.cell for one in done if one.failure is not None and one.retry == NEVER}
        self._tries: Counter[str] = Counter()
        self._cost = {cell.id: FIRST_COST for cell in plan.cells}
        for one in done:
            self._learn(one)
        self._until = None if plan.budget_seconds is None else time.monotonic() + plan.budget_seconds

    def outcomes(self) -> Iterator[ModelOutcome]:
        """Measure what is not done yet."""
        for process in range(self._plan.processes):
            while (groups := self._groups(process)) and not self._over():
                before = len(self._done), len(self._broken), self._tries.total()
                yield from self._round(process, groups)
                if (len(self._done), len(self._broken), self._tries.total()) == before:
                    return

    def _over(self) -> bool:
        return self._until is not None and time.monotonic() > self._until

    def _groups(self, process: int) -> list[list[ModelCell]]:
        """What this process number still has to measure: cells of one model together, in a random order of models."""
        groups: dict[tuple[str, ...], list[ModelCell]] = {}
        for cell in self._plan.cells:
            if (cell.id, process) not in self._done and cell.id not in self._broken:
                work = cell.work
                key = (work.model, work.dtype, work.device, str(work.threads), str(work.seed), cell.variant.id)
                groups.setdefault(key, []).append(cell)
        ordered = list(groups.values())
        random.Random(f"{self._seed}/{process}/{len(self._done)}").shuffle(ordered)  # noqa: S311 - an order
        for group in ordered:
            group.sort(key=lambda cell: (MODES.index(cell.mode), cell.work))
        return ordered

    def _round(self, process: int, groups: list[list[ModelCell]]) -> Iterator[ModelOutcome]:
        worker = ModelRound()
        try:
            for cells in groups:
                left = list(cells)
                while left and not self._over():
                    self._show(self._progress(left[0]))
                    answered = 0
                    for outcome in worker.measure_models(left, process, self._plan.sample_seconds, self._until):
                        answered += 1
                        yield from self._keep(outcome)
                    if answered == 0:
                        break
                    left = left[answered:]
        except WorkerDiedError as error:
            yield from self._keep(failed(left[0], process, f"while it was measured, {error}", retry=NOW))
        finally:
            worker.close()

    def _keep(self, outcome: ModelOutcome) -> Iterator[ModelOutcome]:
        if outcome.failure is None:
            self._done.add((outcome.cell, outcome.process))
        elif outcome.retry == NOW and self._tries[outcome.cell] + 1 < TRIES:
            self._tries[outcome.cell] += 1
            return
        else:
            self._broken.add(outcome.cell)
        self._learn(outcome)
        yield outcome

    def _learn(self, outcome: ModelOutcome) -> None:
        if outcome.wall > 0 and outcome.cell in self._cost:
            self._cost[outcome.cell] = outcome.wall

    def _progress(self, cell: ModelCell) -> Progress:
        planned = [one for one in self._plan.cells if one.id not in self._broken]
        left = sum(
            self._cost[one.id] * sum((one.id, p) not in self._done for p in range(self._plan.processes))
            for one in planned
        )
        if self._until is not None:
            left = min(left, max(0.0, self._until - time.monotonic()))
        return Progress(len(self._done), len(planned) * self._plan.processes, cell.id, left)
