"""What does a release still lack on this machine, and what of it comes next?

A preset with ``visits`` (``release``) is measured piece by piece: a piece is what one of its parts has in one block
(``plan.blocks``), the cells that are compared with each other. A visit of a piece is one run that measured its cells,
from the sources of now, in at least three fresh processes each; a cell that the preset does not keep may have fewer.
Runs that were cut short make one visit when they have that together: each of them has both sides of what is compared.
The hour between two visits is in the interval of whatever is estimated, so the second is offered an hour after the
first. Everything is read from the results: nothing else is stored, and a visit that another command made counts.

Where a visit was cut short, the groups of a piece (one type, one number of threads) that lack a cell stay open, whole.
A visit that does not fit into the time is not begun: a 16-core CPU's 7 minutes went to the one-thread fp32 group of a
batch, which took 6 and which the first screen does not show, and to five pieces with a process of three each.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from fffbench import timed
from fffbench.analysis.headline import TYPES
from fffbench.plan.blocks import by_block
from fffbench.plan.workload import Cell
from fffbench.results import chronology
from fffbench.results.record import OUT_OF_BUDGET
from fffbench.results.store import Results
from fffbench.results.superseded import VISIT_PROCESSES

APART_SECONDS = 3600.0
FEWEST_PROCESSES = VISIT_PROCESSES  # of a cell in a visit
# Outside the cells' own time: Python, torch and the ceilings before a run, its export after it. 25 s on 2 cores.
OVERHEAD_SECONDS = 40.0
OVERTIME = 1.06  # times its budget that a session may take (``measure.session.OVERTIME_SHARE``)
SHARE = (
    0.85  # of a budget that is planned for: forecasts are off by some per cent, and a piece cut short is half a piece
)
MARGIN = 2.0  # times the forecast of a cell that was not measured here: it is right within a factor of two at best


def processes_of_visit(processes: int, visits: int) -> int:
    """Fresh processes of a cell in each of ``visits`` that have ``processes`` together."""
    return max(FEWEST_PROCESSES, -(-processes // visits))


@dataclass(frozen=True)
class Visits:
    """The runs that measured something, with when each began; whether one more is wanted, and may begin now."""

    begun: tuple[str, ...]
    wanted: int

    @property
    def lacking(self) -> bool:
        """Whether there are fewer than wanted."""
        return len(self.begun) < self.wanted

    def wait(self, now: datetime) -> float:
        """Seconds until the next may begin; 0 where it may."""
        if not self.begun:
            return 0.0
        last = datetime.strptime(max(self.begun), chronology.FORMAT).replace(tzinfo=UTC)
        return max(0.0, APART_SECONDS - (now - last).total_seconds())


@dataclass(frozen=True)
class Piece:
    """Cells of one part in one block, by group; ``unable`` are those that cannot run here."""

    part: str
    block: str
    groups: tuple[tuple[tuple[Cell, ...], Visits], ...]
    unable: tuple[Cell, ...] = ()

    @property
    def name(self) -> str:
        """``headline cpu-d768-b128``."""
        return f"{self.part} {self.block}"

    @property
    def cells(self) -> tuple[Cell, ...]:
        """All that can run."""
        return tuple(cell for cells, _ in self.groups for cell in cells)

    @property
    def done(self) -> int:
        """How many visits every group has."""
        return min(len(visits.begun) for _, visits in self.groups)

    @property
    def lacking(self) -> bool:
        """Whether a visit is missing."""
        return any(visits.lacking for _, visits in self.groups)

    def open(self, now: datetime, *, early: bool) -> tuple[tuple[Cell, ...], ...]:
        """The groups whose next visit may begin now; ``early`` without the hour between."""
        return tuple(cells for cells, visits in self.groups if visits.lacking and (early or visits.wait(now) <= 0))

    def missing(self) -> list[Cell]:
        """Each cell as often as a visit of it is missing."""
        return [cell for cells, visits in self.groups for cell in cells * max(0, visits.wanted - len(visits.begun))]

    def wait(self, now: datetime) -> float:
        """Seconds until something of it may begin."""
        return min((visits.wait(now) for _, visits in self.groups if visits.lacking), default=0.0)


@dataclass
class Seen:
    """What runs of the sources of now have of this machine: processes by run and cell, and cells that failed there."""

    processes: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    failed: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    begun: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, results: Results, machine: str, current: Callable[[str], str | None]) -> Seen:
        """From the records of ``machine`` whose sources are those of now."""
        found = cls()
        for record in results.records:
            if record.machine != machine or record.timed_sources == timed.UNKNOWN:
                continue
            if record.timed_sources == current(record.cell.implementation):
                found.processes[record.run][record.cell.id] = len(record.info.processes)
                found.begun[record.run] = results.runs[record.run].started
        for lost in results.skipped:
            if lost.run in found.begun and lost.reason != OUT_OF_BUDGET:
                found.failed[lost.run].add(lost.cell.id)
        return found

    def visits(self, cells: Sequence[Cell], keep: frozenset[Cell], wanted: int) -> Visits:
        """The runs that measured all of ``cells``; several that were cut short are one when they have them together."""
        least = {cell.id: FEWEST_PROCESSES if cell in keep else 1 for cell in cells}
        begun, cut = [], Counter[str]()
        for run in sorted(self.processes, key=self.begun.__getitem__):
            here = Counter({name: self.processes[run].get(name, 0) for name in least})
            here.update({name: least[name] for name in least if name in self.failed[run]})
            if not any(name in self.processes[run] for name in least):
                continue
            if here >= Counter(least):
                begun.append(self.begun[run])
                continue
            cut += here
            if cut >= Counter(least):
                begun.append(self.begun[run])
                cut.clear()
        return Visits(tuple(begun), wanted)


def pieces(
    parts: Mapping[str, Iterable[Cell]],
    keep: frozenset[Cell],
    unable: frozenset[Cell],
    seen: Seen,
    wanted: int,
) -> list[Piece]:
    """The pieces of ``parts`` (cells by part, the most important first); a block no cell of which can run is none."""
    found = []
    for part, cells in parts.items():
        for block, together in by_block(cells).items():
            groups: dict[tuple[object, ...], list[Cell]] = {}
            for cell in together:
                if cell not in unable:
                    groups.setdefault((cell.workload.dtype, cell.workload.threads), []).append(cell)
            if groups:
                known = tuple((tuple(group), seen.visits(group, keep, wanted)) for group in groups.values())
                found.append(Piece(part, block, known, tuple(cell for cell in together if cell in unable)))
    return found


@dataclass(frozen=True)
class Choice:
    """What is measured next, in one run: the cells, the names of the pieces, and how long it is expected to take."""

    cells: tuple[Cell, ...]
    names: tuple[str, ...]
    seconds: float


def by_importance(groups: Iterable[Sequence[Cell]]) -> list[Sequence[Cell]]:
    """The groups of a piece as the first screen shows them: all threads before one, types as deployed before fp32."""
    found = list(groups)
    most = max(group[0].workload.threads for group in found)
    return sorted(found, key=lambda group: (group[0].workload.threads != most, TYPES.index(group[0].workload.dtype)))


def choose(
    open_pieces: Iterable[tuple[str, Sequence[Sequence[Cell]]]],
    seconds: Callable[[Cell], float],
    most: float,
    whole: float = math.inf,
    known: Callable[[Cell], bool] = lambda _: True,
) -> Choice | None:
    """The most important pieces (name and open groups, in their order) that fit into ``most`` seconds together.

    One that takes more by itself is measured alone, where it is the first, and where it takes more than ``whole``
    seconds, those of its groups that fit, the most important first. Under a budget (``whole``) cells that are not
    ``known`` count with a margin, and a piece that has any is measured alone: what it takes then plans the others. A
    visit that does not fit is not begun, unless nothing else is open: what waits for a long visit may wait for ever.
    None where nothing is open.
    """
    cells: dict[Cell, None] = {}
    names: list[str] = []
    total = 0.0
    too_long: Choice | None = None
    guessed = whole < math.inf

    def cost(of: Iterable[Cell]) -> float:
        return sum(seconds(cell) * (1 if known(cell) or not guessed else MARGIN) for cell in of if cell not in cells)

    for name, groups in open_pieces:
        its_cells = [cell for group in groups for cell in group]
        more = cost(its_cells)
        alone = guessed and not all(map(known, its_cells))
        if cells and alone:
            continue
        if total + more <= most:
            cells |= dict.fromkeys(its_cells)
            names.append(name)
            total += more
            if alone:
                break
        elif not cells:
            if more <= whole:
                return Choice(tuple(its_cells), (name,), more)
            ranked = by_importance(groups)
            if (some := _that_fit(ranked, cost, whole)) is not None:
                return replace(some, names=(name,))
            too_long = too_long or Choice(tuple(ranked[0]), (name,), cost(ranked[0]))
    return Choice(tuple(cells), tuple(names), total) if cells else too_long


def _that_fit(groups: Iterable[Sequence[Cell]], cost: Callable[[Iterable[Cell]], float], whole: float) -> Choice | None:
    """As many of ``groups`` as fit into ``whole`` seconds, the first ones before others."""
    cells: list[Cell] = []
    total = 0.0
    for group in groups:
        if total + cost(group) <= whole:
            total += cost(group)
            cells += group
    return Choice(tuple(cells), (), total) if cells else None
