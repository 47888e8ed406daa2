"""What is one speed-up row, and what does a comparison need of a record?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from fffbench.analysis.ceilings import Ceilings
from fffbench.analysis.evidence import amount, known_from
from fffbench.analysis.roofline import share_of
from fffbench.analysis.stats import (
    Estimate,
    estimate_ratios,
    estimate_times,
    ratio_of_medians,
    runs_of,
    time_of_medians,
)
from fffbench.analysis.thin import FULL_PROCESSES, FULL_RUNS
from fffbench.results.medians import beside
from fffbench.results.reader import SkippedCell
from fffbench.results.record import Record


class Speedup(NamedTuple):  # a dataclass of so many fields takes four times as long to make, and to write as CSV
    """One row: a conditional cell against one named baseline; null numbers, and a doubtful baseline, have a reason.

    ``low`` and ``high`` are also null where a side has one process only: nothing is known of its spread then.
    """

    machine: str
    device: str
    implementation: str
    family: str
    baseline: str
    baseline_threads: str
    shape: str
    d: int
    n: int
    trees: int
    levels: int
    leaf_width: int
    batch: int
    dtype: str
    routing: str
    threads: int
    cache: str
    call: str
    time: float | None
    time_low: float | None
    time_high: float | None
    speedup: float | None
    low: float | None
    high: float | None
    coverage: float | None
    provisional: bool
    roofline_share: float | None
    error: float | None
    tolerance: float | None
    baseline_implementation: str | None
    baseline_n: int | None
    baseline_thread_count: int | None
    baseline_time: float | None
    reason: str | None
    run: str
    record: str | None
    baseline_record: str | None
    main: bool = False  # whether it follows the protocol of the headline; see speedup.Found.main
    tried: int | None = None  # best-dense: how many dense layers it is the best of
    not_measured: tuple[str, ...] = ()  # best-dense: layers that belong there and of which nothing is known
    baseline_dtype: str | None = None  # differs from dtype where each side has the type that is fastest for it
    hosts: int = 1  # how many hosts of this machine id measured both sides (the subject, where there is no ratio)
    runs: int = 0  # in how many runs both sides were measured (the subject, where there is no ratio)
    processes: int = 0  # how many processes the side with fewer has in those runs
    between_runs_from: str = ""  # whose runs the spread between runs in the interval is known from

    def to_json(self) -> dict[str, Any]:
        """The row as the command line prints it."""
        return self._asdict() | {"not_measured": list(self.not_measured)}


@dataclass(frozen=True)
class Tried:
    """How many dense layers the best of them was chosen from, and which that belong there were not measured."""

    count: int
    missing: tuple[str, ...]


class Timed:
    """A record with what every comparison of it needs: its id, its process medians, and how many processes and runs.

    The latter up to those of a full record.
    """

    __slots__ = ("amount", "id", "medians", "record")

    def __init__(self, record: Record) -> None:
        """Of a record."""
        self.record, self.id, self.medians = record, record.id, record.medians
        self.amount = min(FULL_PROCESSES, len(self.medians)), min(FULL_RUNS, runs_of(self.medians.units))

    @property
    def time(self) -> Estimate:
        """Estimate of the record's time."""
        return time_of_medians(self.record.medians)


class Comparison(NamedTuple):
    """What becomes a row: ``subject`` against ``other``.

    The reason says why there is no other, or why another may be the baseline.
    """

    subject: Timed
    other: Timed | None
    baseline: str
    mode: str
    reason: str | None
    tried: Tried | None = None
    main: bool = False


def measured_rows(every: Sequence[Comparison], ceilings: Ceilings) -> list[Speedup]:
    """The row of each comparison; their times and ratios are estimated at once."""
    estimate_times(side.medians for one in every for side in (one.subject, one.other) if side)
    estimate_ratios((one.other.medians, one.subject.medians) for one in every if one.other)
    shares: dict[int, float | None] = {}  # by the address of a record that stands in several rows
    for one in every:
        if id(one.subject.record) not in shares:
            shares[id(one.subject.record)] = share_of(one.subject.record, ceilings)
    return [_row(one, shares[id(one.subject.record)]) for one in every]


def measured_row(one: Comparison, ceilings: Ceilings) -> Speedup:
    """The row of one comparison."""
    return measured_rows([one], ceilings)[0]


def _row(one: Comparison, share: float | None) -> Speedup:
    subject, other, reason = one.subject, one.other, one.reason
    record, beside_it = subject.record, other.record if other else None
    gain = ratio_of_medians(other.medians, subject.medians) if other else None
    sides = (other.medians if other else subject.medians, subject.medians)
    units = beside(*sides)
    runs, processes = amount(*sides, units)
    low, high = (gain.low, gain.high) if gain and processes > 1 else (None, None)
    time, cell, info = subject.time, record.cell, record.info
    return Speedup(
        record.machine,
        cell.workload.device,
        cell.implementation,
        info.family,
        one.baseline,
        one.mode,
        *cell.columns,
        time=time.value,
        time_low=time.low,
        time_high=time.high,
        speedup=gain.value if gain else None,
        low=low,
        high=high,
        coverage=gain.coverage if gain else None,
        provisional=(gain.provisional or reason is not None) if gain else time.provisional,
        roofline_share=share,
        error=info.check.error,
        tolerance=info.check.tolerance,
        baseline_implementation=beside_it.cell.implementation if beside_it else None,
        baseline_n=beside_it.cell.workload.shape.n if beside_it else None,
        baseline_thread_count=beside_it.cell.workload.threads if beside_it else None,
        baseline_time=other.time.value if other else None,
        reason=reason,
        run=record.run,
        record=record.id,
        baseline_record=beside_it.id if beside_it else None,
        tried=one.tried.count if one.tried else None,
        not_measured=one.tried.missing if one.tried else (),
        baseline_dtype=beside_it.cell.workload.dtype if beside_it else None,
        hosts=len({host for host, _ in units}) if units else 1,
        runs=runs,
        processes=processes,
        between_runs_from=known_from(sides[0], units),
        main=one.main,
    )


def skipped_row(item: SkippedCell, *, main: bool) -> Speedup:
    """The row of a planned cell without a time: null numbers and the reason."""
    return Speedup(
        item.machine,
        item.cell.workload.device,
        item.cell.implementation,
        item.family,
        "best-dense",
        "same",
        *item.cell.columns,
        time=None,
        time_low=None,
        time_high=None,
        speedup=None,
        low=None,
        high=None,
        coverage=None,
        provisional=False,
        roofline_share=None,
        error=None,
        tolerance=None,
        baseline_implementation=None,
        baseline_n=None,
        baseline_thread_count=None,
        baseline_time=None,
        reason=item.reason,
        run=item.run,
        record=None,
        baseline_record=None,
        main=main,
    )
