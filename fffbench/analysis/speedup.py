"""How many times faster than which dense layer is each conditional record, and how sure is that?

Baselines (always named): ``published`` (plain torch linear of the same width),
``same-primitive`` (the dense layer built from the same primitive), ``bert``
(width 3072) and ``best-dense`` (the fastest correct dense layer with at least
as many neurons). Each is taken at the subject's thread count (``same``) and
with each side at its own fastest thread count (``fastest``).

Both sides come from one run, batch, dtype, device, cache protocol and call.
Dense times do not depend on routing: dense records, measured with uniform
routing on the tree's shape, serve every routing. Where several runs hold a
cell, the newest run with both sides counts and the others are superseded.
Choosing the fastest of several measured baselines favours the baseline
slightly, which is the direction a sceptic asks for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from fffbench.analysis.roofline import share_of
from fffbench.analysis.stats import Estimate, estimate_time, process_medians, ratio_of_medians
from fffbench.plan.workload import Cell
from fffbench.results.record import Record
from fffbench.results.store import Results

BASELINES = ("published", "same-primitive", "bert", "best-dense")
BASELINE_THREADS = ("same", "fastest")
PUBLISHED = "dense_linear"  # the paper's "native fused" row
BERT_WIDTH = 3072
SAME_PRIMITIVE = {
    "cmm_gather_bmm": "dense_bmm",
    "cmm_masked": "dense_linear",
    "cmm_blas1": "dense_blas1",
    "cmm_blas2": "dense_blas2",
    "cmm_naive_cuda": "dense_naive_cuda",
}


@dataclass(frozen=True)
class Speedup:
    """One row: a conditional cell against one named baseline; null numbers come with a reason."""

    machine: str
    device: str
    implementation: str
    family: str
    baseline: str
    baseline_threads: str
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

    def to_json(self) -> dict[str, Any]:
        """The row as the command line prints it."""
        return asdict(self)


@dataclass(frozen=True)
class Timed:
    """A record with what every comparison of it needs, computed once."""

    record: Record

    @cached_property
    def medians(self) -> list[float]:
        """Process medians."""
        return process_medians(self.record.info.processes)

    @cached_property
    def time(self) -> Estimate:
        """Estimate of the record's time."""
        return estimate_time([[value] for value in self.medians])


Key = tuple[object, ...]
_Pick = Callable[[Timed, list[Timed]], list[Timed]]


def _context(cell: Cell) -> Key:
    """What both sides of a ratio must share, besides the run and (for ``same``) the threads."""
    work = cell.workload
    return (work.shape.d, work.batch, work.dtype, work.device, cell.protocol.cache, cell.protocol.call)


def _of_width(names: Iterable[str] | None, width: Callable[[int], Callable[[int], bool]]) -> _Pick:
    allowed = None if names is None else frozenset(names)

    def pick(subject: Timed, dense: list[Timed]) -> list[Timed]:
        fits = width(subject.record.cell.workload.shape.n)
        return [
            item
            for item in dense
            if (allowed is None or item.record.cell.implementation in allowed)
            and fits(item.record.cell.workload.shape.n)
        ]

    return pick


def _candidates(baseline: str, implementation: str) -> _Pick | None:
    """Which dense records can be ``baseline`` for ``implementation``; None where it has no such baseline."""
    if baseline == "published":
        return _of_width([PUBLISHED], lambda n: lambda other: other == n)
    if baseline == "same-primitive":
        name = SAME_PRIMITIVE.get(implementation)
        return None if name is None else _of_width([name], lambda n: lambda other: other == n)
    if baseline == "bert":
        return _of_width(None, lambda _: lambda other: other == BERT_WIDTH)
    return _of_width(None, lambda n: lambda other: other >= n)


def speedups(results: Results) -> list[Speedup]:
    """Every row, in a fixed order: conditional records against each baseline, then the skipped cells."""
    dense: dict[Key, list[Timed]] = defaultdict(list)
    subjects: dict[Key, list[Timed]] = defaultdict(list)
    fastest: dict[Key, list[Timed]] = defaultdict(list)
    for record in results.records:
        cell, timed = record.cell, Timed(record)
        if record.info.family == "dense":
            dense[record.run, *_context(cell)].append(timed)
        elif record.info.family in ("cmm", "fff"):
            subjects[record.machine, cell.id].append(timed)
            work = cell.workload
            group = (cell.implementation, work.shape, work.routing, work.seed, *_context(cell))
            fastest[record.machine, *group].append(timed)
    rows: list[Speedup] = []
    for mode, groups in (("same", subjects), ("fastest", fastest)):
        for group in groups.values():
            rows += _rows(group, mode, dense, results)
    measured = {(record.machine, record.cell.id) for record in results.records}
    rows += _skipped_rows(results, measured)
    rows.sort(key=_order)
    return rows


def _order(row: Speedup) -> Key:
    return (
        row.machine, row.device, row.d, row.n, row.trees, row.levels, row.leaf_width, row.dtype, row.routing,
        row.cache, row.call, row.batch, row.family, row.implementation, row.threads,
        BASELINE_THREADS.index(row.baseline_threads), BASELINES.index(row.baseline), row.run,
    )  # fmt: skip


def _rows(group: Sequence[Timed], mode: str, dense: dict[Key, list[Timed]], results: Results) -> list[Speedup]:
    """One row per baseline for the records of one cell (``same``) or one cell over thread counts (``fastest``)."""
    by_run: dict[tuple[str, str], list[Timed]] = defaultdict(list)
    for item in group:
        by_run[item.record.started, item.record.run].append(item)
    newest_first = [by_run[key] for key in sorted(by_run, reverse=True)]
    rows = []
    for baseline in BASELINES:
        pick = _candidates(baseline, group[0].record.cell.implementation)
        if pick is None:
            continue
        found: tuple[Timed, Timed] | None = None
        for items in newest_first:
            subject = min(items, key=lambda item: item.time.value)
            record = subject.record
            others = pick(subject, dense.get((record.run, *_context(record.cell)), []))
            if mode == "same":
                threads = record.cell.workload.threads
                others = [other for other in others if other.record.cell.workload.threads == threads]
            if others:
                found = subject, min(others, key=lambda item: item.time.value)
                break
        if found:
            rows.append(_row(found[0], found[1], baseline, mode, results))
        else:
            subject = min(newest_first[0], key=lambda item: item.time.value)
            rows.append(_row(subject, None, baseline, mode, results))
    return rows


def _row(subject: Timed, other: Timed | None, baseline: str, mode: str, results: Results) -> Speedup:
    record = subject.record
    work = record.cell.workload
    gain = ratio_of_medians(other.medians, subject.medians) if other else None
    return Speedup(
        machine=record.machine, device=work.device, implementation=record.cell.implementation,
        family=record.info.family, baseline=baseline, baseline_threads=mode,
        d=work.shape.d, n=work.shape.n, trees=work.shape.trees, levels=work.shape.levels,
        leaf_width=work.shape.leaf_width, batch=work.batch, dtype=work.dtype, routing=work.routing,
        threads=work.threads, cache=record.cell.protocol.cache, call=record.cell.protocol.call,
        time=subject.time.value, time_low=subject.time.low, time_high=subject.time.high,
        speedup=gain.value if gain else None, low=gain.low if gain else None, high=gain.high if gain else None,
        coverage=gain.coverage if gain else None,
        provisional=gain.provisional if gain else subject.time.provisional,
        roofline_share=share_of(record, results.machine_of(record)),
        error=record.info.check.error, tolerance=record.info.check.tolerance,
        baseline_implementation=other.record.cell.implementation if other else None,
        baseline_n=other.record.cell.workload.shape.n if other else None,
        baseline_thread_count=other.record.cell.workload.threads if other else None,
        baseline_time=other.time.value if other else None,
        reason=None if other else _missing(record, baseline, results),
        run=record.run, record=record.id, baseline_record=other.record.id if other else None,
    )  # fmt: skip


def _missing(record: Record, baseline: str, results: Results) -> str:
    """Why there is no baseline: what the run says it skipped, or that it was not part of the run."""
    pick = {"published": PUBLISHED, "same-primitive": SAME_PRIMITIVE.get(record.cell.implementation)}.get(baseline)
    for item in results.skipped:
        same = item.run == record.run and item.family == "dense" and _context(item.cell) == _context(record.cell)
        if same and pick in (None, item.cell.implementation):
            return f"no {baseline} baseline: {item.cell.implementation} was skipped ({item.reason})"
    return f"no {baseline} baseline with the same batch, dtype, cache protocol and call in run {record.run}"


def _skipped_rows(results: Results, measured: set[tuple[str, str]]) -> list[Speedup]:
    """A row with null numbers and its reason for each planned conditional cell that no run has measured."""
    newest: dict[tuple[str, str], Speedup] = {}
    for item in sorted(results.skipped, key=lambda item: (item.started, item.run)):
        if item.family not in ("cmm", "fff") or (item.machine, item.cell.id) in measured:
            continue
        work, protocol = item.cell.workload, item.cell.protocol
        newest[item.machine, item.cell.id] = Speedup(
            machine=item.machine, device=work.device, implementation=item.cell.implementation, family=item.family,
            baseline="best-dense", baseline_threads="same", d=work.shape.d, n=work.shape.n, trees=work.shape.trees,
            levels=work.shape.levels, leaf_width=work.shape.leaf_width, batch=work.batch, dtype=work.dtype,
            routing=work.routing, threads=work.threads, cache=protocol.cache, call=protocol.call, time=None,
            time_low=None, time_high=None, speedup=None, low=None, high=None, coverage=None, provisional=False,
            roofline_share=None, error=None, tolerance=None, baseline_implementation=None, baseline_n=None,
            baseline_thread_count=None, baseline_time=None, reason=item.reason, run=item.run, record=None,
            baseline_record=None,
        )  # fmt: skip
    return list(newest.values())
