"""In which order, and in how many fresh processes, are the cells of a plan measured?

Round by round: every round starts a new worker and goes once through all cells
in a new random order, so that a drift of the machine affects all of them alike.
Before each round the time that is left is shared out anew, by what the cells
have cost so far. Where the budget does not allow all processes for all cells,
a comparison worth quoting comes before completeness: the cells to keep get all
their processes before others get one, and dense layers that another one left
behind in two processes get no more. Records and skipped cells say so.

What goes wrong costs the cell it went wrong with. A failure of the cell's own
is stored at once; a passing one (see ``failures``) has the cell tried again in
later rounds, a few times, and only then is it stored, for the next run to try. The order, the time that is left and
the attempts depend on one another, which is why this file is longer than 300 lines.
"""

from __future__ import annotations

import hashlib
import heapq
import math
import random
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from fffbench.implementations.registry import implementation
from fffbench.measure import bounds, cellrun, forecast, memory
from fffbench.measure.outcome import NEVER, NEXT_RUN, NOW, Outcome, failed
from fffbench.measure.processes import Round, WorkerDiedError
from fffbench.plan.workload import Cell
from fffbench.problems.base import DENSE

SCRATCH_PREFIX = "fffbench-scratch-"
TRIES = 3  # of a cell whose failure may pass, before it is stored
# A process of a cell that takes this many times what is expected of it hangs. The least is for what no forecast knows:
# compilers, a shared machine that stands still. A short budget cannot be that patient, or one hanging kernel eats it.
CELL_LIMIT_SECONDS = 300.0
HANGING = 20.0
COMPILER_SECONDS = 60.0  # on top, where preparing calls one
LIMIT_SHARE, IMPATIENT_LIMIT_SECONDS, IMPATIENT_HANGING = 0.1, 8.0, 12.0  # of the budget; the floor; times its forecast
REFERENCE_LIMIT_SECONDS = 600.0
# A dense layer this many times slower than the fastest one on the same work, in the better of its first two processes,
# cannot become the baseline. One process is no evidence: medians of processes scatter by 7 to 13 % on a small virtual
# machine, and the fastest layer of all once took 2.02 s instead of 1.03 s in its first.
OUTPACED, OUTPACED_PROCESSES = 1.5, 2
# Past its budget, how long a run may still begin cells to keep: they were allotted what fitted when the round began.
OVERTIME_SECONDS = 15.0
OVERTIME_SHARE = 0.05  # of the budget, where that is more
LEAVING_SECONDS = 0.1  # of a process, outside the outcome's own clock: forking, and the worker's next job


@dataclass(frozen=True)
class Plan:
    """What to measure: cells, fresh processes for each, seconds of timed calls in each, seconds for all (or None)."""

    cells: tuple[Cell, ...]
    processes: int
    sample_seconds: float
    budget_seconds: float | None = None
    keep: frozenset[Cell] = frozenset()  # a short budget takes processes from all others first
    ceilings: dict[str, dict[str, float]] = field(default_factory=dict)  # the machine's: what no time may beat


@dataclass
class Progress:
    """What a display needs: jobs done and planned, the cell under way, the forecast of what is left in seconds."""

    done: int
    planned: int
    cell: str
    seconds_left: float


def allot(
    costs: dict[Cell, float],
    processes: int,
    seconds: float,
    *,
    keep: frozenset[Cell] = frozenset(),
    outpaced: frozenset[Cell] = frozenset(),
    done: Mapping[Cell, int] | None = None,
) -> dict[Cell, int]:
    """Processes for each cell, given the cost of one, such that all fit into ``seconds``; ``done`` ones included.

    What is too much goes in this order, from the costliest down: outpaced cells lose all that they have not had yet,
    then cells not to ``keep`` all but one, then those their last; cells to keep come last and never lose all.
    """
    done = done or {}
    others = frozenset(costs) - keep
    allotted = {cell: max(processes, done.get(cell, 0)) for cell in costs}
    total = sum(cost * allotted[cell] for cell, cost in costs.items())
    for group, least in ((outpaced, 1), (others, 1), (others, 0), (keep, 1)):
        heap = [(-costs[cell] * allotted[cell], place, cell) for place, cell in enumerate(costs) if cell in group]
        heapq.heapify(heap)
        while total > seconds and heap:
            _, place, heaviest = heapq.heappop(heap)
            if allotted[heaviest] > max(least, done.get(heaviest, 0)):
                allotted[heaviest] -= 1
                total -= costs[heaviest]
                heapq.heappush(heap, (-costs[heaviest] * allotted[heaviest], place, heaviest))
    return allotted


@dataclass(frozen=True)
class Job:
    """One fresh process of one cell; processes of a cell count from 0."""

    cell: Cell
    process: int


def _group(jobs: Sequence[Job], position: int) -> list[Job]:
    """The jobs from ``position`` on that one process does: same device, same number."""
    first = jobs[position]
    group = [first]
    for job in jobs[position + 1 : position + first.cell.workload.place.cells_per_process]:
        if job.cell.workload.device != first.cell.workload.device or job.process != first.process:
            break
        group.append(job)
    return group


class Session:
    """One run over a plan; ``outcomes`` yields each process's result as soon as it exists."""

    def __init__(
        self,
        plan: Plan,
        done: Sequence[Outcome],
        costs: dict[Cell, float],
        show: Callable[[Progress], None],
        seed: int,
    ) -> None:
        """``done`` are outcomes of an interrupted run; ``costs`` what a process of each cell is expected to take."""
        self._plan = plan
        self._cells = {cell.id: cell for cell in plan.cells}
        self._done = {(outcome.cell, outcome.process) for outcome in done if outcome.failure is None}
        self._broken = {outcome.cell for outcome in done if outcome.failure is not None and outcome.retry == NEVER}
        self._tries: Counter[str] = Counter()  # by cell, since it last succeeded
        self._idle_deaths = 0  # of workers, since the last outcome, with no cell in flight
        self._cost = dict(costs)
        self._time: dict[Cell, float] = {}
        for outcome in done:
            self._learn(outcome)
        self._round_seconds = forecast.ROUND_SECONDS  # of a round, outside its processes
        self._rounds = 0
        self._show = show
        self._seed = seed
        self._start = time.monotonic()

    def outcomes(self) -> Iterator[Outcome]:
        """Measure what is not done yet."""
        with tempfile.TemporaryDirectory(prefix=SCRATCH_PREFIX, ignore_cleanup_errors=True) as scratch:
            self._scratch = Path(scratch)
            while not self._ended() and (jobs := self._jobs()):
                before = self._progressed()
                yield from self._round(jobs)
                self._rounds += 1
                if self._progressed() == before:  # the budget ended before the first of them
                    return

    def _progressed(self) -> tuple[int, ...]:
        return len(self._done), len(self._broken), self._tries.total(), self._idle_deaths

    def _jobs(self) -> list[Job]:
        """The next process of every cell that gets one more, in this round's order."""
        self._allotted = self._allotment()
        jobs = [
            Job(cell, min(set(range(count)) - self._processes(cell)))
            for cell, count in self._allotted.items()
            if len(self._processes(cell)) < count
        ]
        random.Random(f"{self._seed}/{len(self._done)}").shuffle(jobs)  # noqa: S311  (an order, not a secret)
        return jobs

    def _processes(self, cell: Cell) -> set[int]:
        """The processes of ``cell`` that are done."""
        return {index for index in range(self._plan.processes) if (cell.id, index) in self._done}

    def _allotment(self) -> dict[Cell, int]:
        costs = {cell: self._cost[cell] for cell in self._plan.cells if cell.id not in self._broken}
        if self._plan.budget_seconds is None:
            return dict.fromkeys(costs, self._plan.processes)
        done = {cell: len(self._processes(cell)) for cell in costs}
        spent = sum(costs[cell] * count for cell, count in done.items())
        rounds = max(1, self._plan.processes - self._rounds) * self._round_seconds
        left = self._plan.budget_seconds - (time.monotonic() - self._start) - rounds
        return allot(
            costs,
            self._plan.processes,
            max(0.0, left) + spent,
            keep=self._plan.keep,
            outpaced=self._outpaced(costs),
            done=done,
        )

    def _outpaced(self, cells: Iterable[Cell]) -> frozenset[Cell]:
        """Dense cells of which another one did the same work in far less time, after two processes of theirs."""
        rivals: dict[tuple[object, ...], list[Cell]] = {}
        for cell in cells:
            if cell in self._time and implementation(cell.implementation).family == DENSE:
                rivals.setdefault((cell.workload, cell.protocol), []).append(cell)
        fastest = {work: min(self._time[cell] for cell in group) for work, group in rivals.items()}
        return frozenset(
            cell
            for work, group in rivals.items()
            for cell in group
            if self._time[cell] > OUTPACED * fastest[work] and len(self._processes(cell)) >= OUTPACED_PROCESSES
        )

    def _round(self, jobs: list[Job]) -> Iterator[Outcome]:
        began, costs, self._reference_seconds = time.monotonic(), 0.0, 0.0
        worker = Round()
        try:
            position = 0
            while position < len(jobs):
                group = _group(jobs, position)
                position += len(group)
                cells = [job.cell for job in group]
                if self._over_budget():
                    cells = [cell for cell in cells if cell in self._plan.keep and not self._ended()]
                    if not cells:
                        continue
                self._show(self._progress(cells[0]))
                index = group[0].process
                try:
                    yield from self._group_outcomes(worker, index, cells)
                except WorkerDiedError as error:
                    worker.close()
                    if self._ended():  # the run's time is over; the worker is not to blame
                        return
                    yield from self._without_worker(error, index, cells)
                    worker = Round()
                costs += sum(self._cost[cell] for cell in cells)
        finally:
            worker.close()
        self._round_seconds = max(0.0, time.monotonic() - began - costs - self._reference_seconds)

    def _without_worker(self, error: WorkerDiedError, index: int, cells: Sequence[Cell]) -> Iterator[Outcome]:
        """After the worker's death: the cell in flight has lost an attempt, the others of its job nothing."""
        cell = error.cell or (cells[0] if len(cells) == 1 else None)
        if cell is not None:
            yield from self._keep(failed(cell, index, f"while it was measured, {error}", retry=NOW))
            return
        self._idle_deaths += 1
        if self._idle_deaths >= TRIES:
            raise error

    def _group_outcomes(self, worker: Round, index: int, group: list[Cell]) -> Iterator[Outcome]:
        ready: list[Cell] = []
        references: list[Path | None] = []
        until = self._end
        for cell in group:
            if (lack := memory.does_not_fit(cell, memory.available())) is not None:
                yield from self._keep(failed(cell, index, lack, retry=NEXT_RUN))
                continue
            path = self._reference_path(cell)
            if path is not None and not path.exists():
                problem = self._build_reference(worker, cell, path)
                if problem is not None:
                    reason, retry = problem
                    yield from self._keep(failed(cell, index, reason, retry=retry))
                if not path.exists():  # or the run's time ended before it was there
                    continue
            ready.append(cell)
            references.append(path)
        seconds = self._plan.sample_seconds
        while ready and not self._ended():
            answered = 0
            for outcome in worker.measure(ready, index, references, seconds, self._limit, until):
                cell = ready[answered]
                answered += 1
                family = implementation(cell.implementation).family
                yield from self._keep(bounds.possible(outcome, cell, self._plan.ceilings, family))
            if self._ended():
                return
            if answered == 0:
                yield from self._keep(failed(ready[0], index, "exited without reporting a result"))
                answered = 1
            ready, references = ready[answered:], references[answered:]

    def _build_reference(self, worker: Round, cell: Cell, path: Path) -> tuple[str, str] | None:
        """Have the reference of ``cell`` at ``path``, whole or not at all; why it is not, and when to try again."""
        began = time.monotonic()
        part = path.with_suffix(".part.npz")
        try:
            path.parent.mkdir(exist_ok=True)  # somebody may have cleared the temporary folder
            problem = worker.build_reference(cell, part, REFERENCE_LIMIT_SECONDS, self._end)
            if problem is None and part.exists():
                part.replace(path)
            else:
                part.unlink(missing_ok=True)
        except OSError as error:
            problem = f"no reference: {path.parent}: {error.strerror}", NOW
        self._reference_seconds += time.monotonic() - began
        return problem

    def _limit(self, cell: Cell) -> float:
        """Seconds after which a process of ``cell`` is taken to hang."""
        expected, least = self._cost[cell], cell.workload.place.least_limit_seconds
        limit = HANGING * expected
        if self._plan.budget_seconds is not None:
            share = LIMIT_SHARE * self._plan.budget_seconds
            limit = min(limit, max(IMPATIENT_HANGING * expected, share))
            least = min(least, max(IMPATIENT_LIMIT_SECONDS, share))
        slow = COMPILER_SECONDS if implementation(cell.implementation).slow_to_prepare else 0.0
        return min(CELL_LIMIT_SECONDS, max(least, limit) + slow)

    def _keep(self, outcome: Outcome) -> Iterator[Outcome]:
        """``outcome`` as it is to be stored; nothing where the cell is tried again in this run."""
        self._idle_deaths = 0
        if outcome.failure is None:
            self._done.add((outcome.cell, outcome.process))
            self._tries.pop(outcome.cell, None)
        elif outcome.retry == NOW and self._tries[outcome.cell] + 1 < TRIES:
            self._tries[outcome.cell] += 1
            return
        else:
            self._broken.add(outcome.cell)
            if outcome.retry == NOW:
                outcome = replace(outcome, failure=f"{outcome.failure}; so in {TRIES} attempts", retry=NEXT_RUN)
        self._learn(outcome)
        yield outcome

    def _learn(self, outcome: Outcome) -> None:
        cell = self._cells.get(outcome.cell)
        if cell is None:
            return
        if outcome.wall > 0 and outcome.retry == NEVER:  # what was stopped or killed says nothing of its cost
            self._cost[cell] = outcome.wall + LEAVING_SECONDS
        if outcome.samples:
            self._time[cell] = min(statistics.median(outcome.samples), self._time.get(cell, math.inf))

    @property
    def _end(self) -> float | None:
        """When, by ``time.monotonic()``, no cell is begun any more; those of no budget have no end."""
        budget = self._plan.budget_seconds
        if budget is None:
            return None
        return self._start + budget + max(OVERTIME_SECONDS, OVERTIME_SHARE * budget)

    def _ended(self) -> bool:
        """Whether the run is past its end."""
        return self._end is not None and time.monotonic() > self._end

    def _over_budget(self) -> bool:
        """Past the budget only cells to keep are begun: what they were allotted fitted when the round began."""
        budget = self._plan.budget_seconds
        return budget is not None and time.monotonic() - self._start > budget

    def _progress(self, cell: Cell) -> Progress:
        allotted = {c: count for c, count in self._allotted.items() if c.id not in self._broken}
        left = sum(self._cost[c] * (count - len(self._processes(c))) for c, count in allotted.items())
        return Progress(len(self._done), sum(allotted.values()), cell.id, left)

    def _reference_path(self, cell: Cell) -> Path | None:
        """Where the processes of a cell find its reference; None where they compute it themselves, on the device."""
        if not cell.workload.place.host_memory:
            return None
        return self._scratch / f"{self._reference_key(cell)}.npz"

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
            workload.shape.seen_by(implementation(cell.implementation).family).id,
        )
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:24]
