"""Why isn't the speed-up the ceiling? One measured factor for each reason.

From the count of operations down to the speed-up over the best dense layer at
the same thread count (cold, kernel, uniform). Every factor is a ratio of cells
that differ in that one thing, or of a cell and a measured ceiling:

dense efficiency       arithmetic peak over what the plain dense layer reaches (a gain: it leaves speed unused)
padding and alignment  plain dense layer over the best dense layer
FFF arithmetic         one path, hot caches: its time over its operations at the arithmetic peak
cold caches            one path: cold over hot
many paths             cold: uniform routing over one path
call overhead          batch and protocol as above: the torch call instead of the kernel, on both sides

None is computed as a remainder. The residual is what the product of the
factors misses of the measured speed-up; a factor without its cell is named.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import Any, NamedTuple

from fffbench.analysis.baselines import PUBLISHED, Cells, cells_of
from fffbench.analysis.ceilings import Ceilings, ceilings_of, costs_of
from fffbench.analysis.evidence import interval, one_record_per_cell
from fffbench.analysis.headline import Answer
from fffbench.analysis.once import OfOneMachine, once
from fffbench.analysis.relative import Relative
from fffbench.analysis.rows import Speedup, Timed
from fffbench.analysis.speedup import Found, measured
from fffbench.analysis.stats import Estimate, estimate_ratios, ratio_of_medians, time_of_medians
from fffbench.plan.workload import Cell, Protocol, parse_cell
from fffbench.problems import parse_problem
from fffbench.problems.base import DENSE
from fffbench.results.medians import Medians
from fffbench.results.record import Record
from fffbench.results.store import Results


@dataclass(frozen=True, slots=True)
class Factor:
    """What one reason multiplies the speed-up by (below 1 is a loss), or the cell that is missing to know it.

    One process on each side gives a value without an interval.
    """

    name: str
    value: float | None
    low: float | None
    high: float | None
    missing: str
    records: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Attribution:
    """The way from the ceiling to one measured speed-up; ``call`` is what a torch-level call changes on top."""

    machine: str
    device: str
    dtype: str
    implementation: str
    batch: int
    threads: int
    ceiling: float
    factors: tuple[Factor, ...]
    speedup: float
    low: float | None
    high: float | None
    residual: float | None
    call: Factor
    run: str
    record: str
    baseline_record: str

    @property
    def measured(self) -> int:
        """How many of the factors are known."""
        return sum(factor.value is not None for factor in self.factors)

    def to_json(self) -> dict[str, Any]:
        """The attribution as plain data."""
        return asdict(self)


def attributions(results: Results, answers: Sequence[Answer]) -> list[Attribution]:
    """One attribution per row of each machine's answer, with the one record that speaks for each cell (``evidence``).

    It leads to the speed-up at the same thread count on both sides, which is a row of its own. On a GPU bare kernels
    stand in for calls in a graph where only they have more of their factors.
    """
    index = _index(results)
    return _best_explained((row for answer in answers for row in answer.rows), index)


def every_attribution(results: Results, rows: Sequence[Speedup]) -> list[Attribution]:
    """The way from the ceiling for every conditional cell under fair conditions that stands beside a dense layer."""
    index = _index(results)
    fair = (
        row
        for row in rows
        if (row.baseline, row.baseline_threads) == ("best-dense", "same")
        and (row.cache, row.routing) == ("cold", "uniform")
        and row.speedup is not None
        and index.by_id[row.record or ""].cell.workload.shape.refuses(ONE_PATH) is None  # a mixture has no path
    )
    return _best_explained(fair, index)


ONE_PATH = "single-path"  # the routing in which all tokens visit the same neurons
Place = tuple[object, ...]  # machine, protocol, and the workload with the shape left out of account


@dataclass(frozen=True)
class _Index:
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
def _index(results: Results) -> _Index:
    dense: dict[Place, list[Timed]] = defaultdict(list)
    records = one_record_per_cell(results).records
    for record in records:
        if record.info.family == "dense":
            dense[_place(record.machine, record.cell, record.cell.workload.routing)].append(Timed(record))
    by_cell = {(record.machine, record.cell.id): record for record in records}
    return _Index({record.id: record for record in records}, by_cell, dense, ceilings_of(results), measured(results))


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


class _Sides(NamedTuple):
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


def _best_explained(rows: Iterable[Speedup], index: _Index) -> list[Attribution]:
    """The attribution of each row's cell, on a GPU through the call that has the most factors; of equals its own."""
    options = [[_sides(*pair, index) for pair in _pairs(row, index)] for row in rows]
    estimate_ratios(pair for own in options for sides in own for pair in sides.ratios)
    return [max((_attribute(sides, index) for sides in own), key=lambda item: item.measured) for own in options if own]


def _sides(subject: Record, best: Record, index: _Index) -> _Sides:
    plain, cold_path, hot_path, called = (index.beside(subject, cell) for cell in _asked(subject.cell.id))
    best_called = index.beside(best, _through(best.cell, "torch"))
    return _Sides(subject, best, plain, cold_path, hot_path, called, best_called)


def _pairs(row: Speedup, index: _Index) -> Iterator[tuple[Record, Record]]:
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


def _best_beside(subject: Record, cell: Cell, relative: Relative, index: _Index) -> Record | None:
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


def _attribute(sides: _Sides, index: _Index) -> Attribution:
    subject, best, cell = sides.subject, sides.best, sides.subject.cell
    gain = ratio_of_medians(best.medians, subject.medians)
    low, high = interval(gain, best.medians, subject.medians)
    factors = (
        _over_peak("dense efficiency", sides.plain, index.ceilings, f"{PUBLISHED} beside it", gain=True),
        _between("padding and alignment", best, sides.plain, f"{PUBLISHED} beside it"),
        _over_peak("FFF arithmetic", sides.hot_path, index.ceilings, "one path, hot caches", gain=False),
        _between("cold caches", sides.hot_path, sides.cold_path, "one path, cold and hot caches"),
        _between("many paths", sides.cold_path, subject, "one path, cold caches"),
    )
    ceiling = cell.workload.shape.ceiling
    product: float | None = ceiling
    for factor in factors:
        product = None if product is None or factor.value is None else product * factor.value
    return Attribution(
        machine=subject.machine,
        device=cell.workload.device,
        dtype=cell.workload.dtype,
        implementation=cell.implementation,
        batch=cell.workload.batch,
        threads=cell.workload.threads,
        ceiling=ceiling,
        factors=factors,
        speedup=gain.value,
        low=low,
        high=high,
        residual=None if product is None else gain.value / product,
        call=_call(sides),
        run=subject.run,
        record=subject.id,
        baseline_record=best.id,
    )


def _between(name: str, above: Record | None, below: Record | None, missing: str) -> Factor:
    """The time of ``above`` over that of ``below``."""
    if above is None or below is None:
        return Factor(name, None, None, None, missing, ())
    gain = ratio_of_medians(above.medians, below.medians)
    low, high = interval(gain, above.medians, below.medians)
    return Factor(name, gain.value, low, high, "", (above.id, below.id))


def _over_peak(name: str, record: Record | None, ceilings: Ceilings, missing: str, *, gain: bool) -> Factor:
    """The record's time over that of its operations at the measured peak, or (as a loss) the inverse."""
    peak = ceilings.roofs(record)[1] if record else None
    if record is None or peak is None:
        return Factor(name, None, None, None, missing if record is None else "the arithmetic peak", ())
    ideal = costs_of(record)[0] / peak.value
    time = time_of_medians(record.medians)
    shares = (time.value / ideal, time.low / ideal, time.high / ideal)
    value, low, high = shares if gain else (1 / shares[0], 1 / shares[2], 1 / shares[1])
    coverage = time.coverage if len(record.medians) > 1 else 0.0
    return _factor(name, Estimate(value, low, high, coverage, time.provisional), (record.id,))


def _call(sides: _Sides) -> Factor:
    """What calling both sides through torch multiplies the speed-up by."""
    name, ours, dense = "call overhead", sides.ours_called, sides.best_called
    if ours is None or dense is None:
        return Factor(name, None, None, None, "both sides as torch calls", ())
    through = ratio_of_medians(dense.medians, ours.medians)
    bare = ratio_of_medians(sides.best.medians, sides.subject.medians).value
    scaled = Estimate(
        through.value / bare, through.low / bare, through.high / bare, through.coverage, through.provisional
    )
    return _factor(name, scaled, (ours.id, dense.id))


def _factor(name: str, estimate: Estimate, records: tuple[str, ...]) -> Factor:
    low, high = (estimate.low, estimate.high) if estimate.coverage > 0 else (None, None)
    return Factor(name, estimate.value, low, high, "", records)
