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

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fffbench.analysis.baselines import PUBLISHED
from fffbench.analysis.ceilings import Ceilings, costs_of
from fffbench.analysis.compared import ONE_PATH, Index, Sides, index_of, sides_of
from fffbench.analysis.evidence import interval
from fffbench.analysis.headline import Answer
from fffbench.analysis.rows import Speedup
from fffbench.analysis.stats import Estimate, estimate_ratios, ratio_of_medians, time_of_medians
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
    index = index_of(results)
    return _best_explained((row for answer in answers for row in answer.rows), index)


def every_attribution(results: Results, rows: Sequence[Speedup]) -> list[Attribution]:
    """The way from the ceiling for every conditional cell under fair conditions that stands beside a dense layer."""
    index = index_of(results)
    fair = (
        row
        for row in rows
        if (row.baseline, row.baseline_threads) == ("best-dense", "same")
        and (row.cache, row.routing) == ("cold", "uniform")
        and row.speedup is not None
        and index.by_id[row.record or ""].cell.workload.shape.refuses(ONE_PATH) is None  # a mixture has no path
    )
    return _best_explained(fair, index)


def _best_explained(rows: Iterable[Speedup], index: Index) -> list[Attribution]:
    """The attribution of each row's cell, on a GPU through the call that has the most factors; of equals its own."""
    options = [sides_of(row, index) for row in rows]
    estimate_ratios(pair for own in options for sides in own for pair in sides.ratios)
    return [max((_attribute(sides, index) for sides in own), key=lambda item: item.measured) for own in options if own]


def _attribute(sides: Sides, index: Index) -> Attribution:
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


def _call(sides: Sides) -> Factor:
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
