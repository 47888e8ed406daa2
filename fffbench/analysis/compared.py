"""Which records does an attribution compare? Those of cells that differ in one thing from the cell it explains."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import NamedTuple

from fffbench.analysis.baselines import PUBLISHED, Cells, cells_of
from fffbench.analysis.ceilings import Ceilings, ceilings_of
from fffbench.analysis.evidence import one_record_per_cell
from fffbench.analysis.once import OfOneMachine, once
from fffbench.analysis.relative import Relative
from fffbench.analysis.rows import Speedup, Timed
from fffbench.analysis.speedup import Found, measured
from fffbench.plan.workload import Cell, Protocol, parse_cell
from fffbench.problems import parse_problem
from fffbench.problems.base import DENSE
from fffbench.results.medians import Medians
from fffbench.results.record import Record
from fffbench.results.store import Results

ONE_PATH = "single-path"  # the routing in which all tokens visit the same neurons
Place = tuple[object, ...]  # machine, protocol, and the workload with the shape left out of account


@dataclass(frozen=True)
class Index:
    """The record of each machine and cell, by both and by its own id, and the dense ones by place."""

    by_id: dict[str, Record]
    by_cell: dict[tuple[str, str], Record]  # machine and the cell's id
    dense: dict[Place, list[Timed]]
    ceilings: Ceilings
    found: Found
    best: OfOneMachine = field(default_factory=OfOneMachine)

    def beside(self, record: Record, cell: Cell) -> Record | None:
        """What speaks for ``cell`` on the machine of ``record``."""
        return self.by_cell.get((record.machine, cell.id))


@once
def index_of(results: Results) -> Index:
    """Of all that was measured, the one record that speaks for each cell."""
    dense: dict[Place, list[Timed]] = defaultdict(list)
    records = one_record_per_cell(results).records
    for record in records:
        if record.info.family == "dense":
            dense[_place(record.machine, record.cell, record.cell.workload.routing)].append(Timed(record))
    by_cell = {(record.machine, record.cell.id): record for record in records}
    return Index({record.id: record for record in records}, by_cell, dense, ceilings_of(results), measured(results))


def _place(machine: str, cell: Cell, routing: str) -> Place:
    work = cell.workload
    protocol = cell.protocol
    return (
        machine,
        protocol.cache,
        protocol.call,
        work.batch,
        work.dtype,
        routing,
        work.threads,
        work.device,
        work.seed,
    )


class Sides(NamedTuple):
    """The records of one attribution."""

    subject: Record
    best: Record
    plain: Record | None
    cold_path: Record | None
    hot_path: Record | None
    ours_called: Record | None  # through torch
    best_called: Record | None

    @property
    def ratios(self) -> Iterator[tuple[Medians, Medians]]:
        """What the factors are ratios of, as far as it was measured."""
        for above, below in (
            (self.best, self.subject),
            (self.best, self.plain),
            (self.hot_path, self.cold_path),
            (self.cold_path, self.subject),
            (self.best_called, self.ours_called),
        ):
            if above is not None and below is not None:
                yield above.medians, below.medians


class _Asked(NamedTuple):
    """The cells that the factors of a cell are measured by."""

    plain: Cell
    cold_path: Cell
    hot_path: Cell
    called: Cell


@lru_cache(maxsize=20_000)  # machines of one kind measure the same cells
def _asked(name: str) -> _Asked:
    cell = parse_cell(name)
    one_path = replace(cell.workload, routing=ONE_PATH)
    return _Asked(
        replace(cell, implementation=PUBLISHED),
        replace(cell, workload=one_path),
        Cell(cell.implementation, one_path, Protocol("hot", cell.protocol.call)),
        _through(cell, "torch"),
    )


@lru_cache(maxsize=20_000)
def _through(cell: Cell, call: str) -> Cell:
    """``cell`` through another call."""
    return cell if cell.protocol.call == call else replace(cell, protocol=Protocol(cell.protocol.cache, call))


def sides_of(row: Speedup, index: Index) -> list[Sides]:
    """The sides of the row's cell: through its own call, and on a GPU through the bare kernel's too."""
    return [_sides(*pair, index) for pair in _pairs(row, index)]


def _sides(subject: Record, best: Record, index: Index) -> Sides:
    plain, cold_path, hot_path, called = (index.beside(subject, cell) for cell in _asked(subject.cell.id))
    best_called = index.beside(best, _through(best.cell, "torch"))
    return Sides(subject, best, plain, cold_path, hot_path, called, best_called)


def _pairs(row: Speedup, index: Index) -> Iterator[tuple[Record, Record]]:
    """The row's cell and the best dense layer beside it at the same thread count; its own call first."""
    assert row.record is not None
    cell = index.by_id[row.record].cell
    for call in dict.fromkeys((cell.protocol.call, "kernel")):
        asked = _through(cell, call)
        subject = index.by_cell.get((row.machine, asked.id))
        if subject is None:
            continue
        relative = index.found.relative(index.found.place(subject))
        # a shape by its address, as in ``candidates_of``
        key = (_place(row.machine, asked, "uniform"), id(cell.workload.shape), relative.part[subject.id])
        best = index.best.get(row.machine, key, _best_beside, subject, cell, relative, index)
        if best is not None:
            yield subject, best


def _best_beside(subject: Record, cell: Cell, relative: Relative, index: Index) -> Record | None:
    """The fastest dense layer at the place of ``subject`` that is as large as ``cell``."""
    there = index.dense.get(_place(subject.machine, subject.cell, "uniform"), [])
    beside = [there[place] for place in _as_large(cells_of(there), cell.columns[0])]
    return relative.fastest(beside, Timed(subject)).record if beside else None


@lru_cache(maxsize=5_000)
def _as_large(there: Cells, shape: str) -> tuple[int, ...]:
    """The places of the cells that, computed by a dense layer, are as large as a layer of ``shape``."""
    own = parse_problem(shape)
    large = {other: other.seen_by(DENSE).replaces(own) for other in {cell.workload.shape for cell in there.cells}}
    return tuple(place for place, cell in enumerate(there.cells) if large[cell.workload.shape])
