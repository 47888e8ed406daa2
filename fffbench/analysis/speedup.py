"""How many times faster than which dense layer is each conditional record, and how sure is that?

Baselines (always named): ``published`` (plain torch linear of the same width),
``same-primitive`` (the dense layer built from the same primitive), ``bert``
(width 3072) and ``best-dense`` (the fastest correct dense layer with at least
as many neurons). Each is taken at the subject's thread count (``same``) and
with each side at its own fastest thread count (``fastest``).

Both sides come from one run, batch, dtype, device, cache protocol and call.
Dense times do not depend on routing: dense records, measured with uniform
routing on the tree's shape, serve every routing. Where several runs hold a
cell, the run with the most fresh processes on both sides counts (six is full),
among equals the newest; the others are superseded. For ``fastest`` only runs
count that measured each side at the thread count that is fastest for it.
Where a layer with fewer processes may be the faster baseline (``rivals``), the
row is provisional and says so; a run without that doubt takes its place where
its ratio is the lower one. So it is where the fastest layer of another machine
was never tried on this one. Choosing the fastest of several measured baselines
favours the baseline slightly, which is the direction a sceptic asks for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from fffbench.analysis.rivals import Untried, doubt
from fffbench.analysis.rows import Speedup, Timed, measured_row, skipped_row
from fffbench.plan.workload import Cell
from fffbench.results.record import DIRTY, FULL_PROCESSES, UNKNOWN_COMMIT, Record
from fffbench.results.store import Results

BASELINES = ("published", "same-primitive", "bert", "best-dense")
BASELINE_THREADS = ("same", "fastest")
PUBLISHED = "dense_linear"  # the paper's "native fused" row
BERT_WIDTH = 3072
PUBLISHED_WIDTH = 4095
SAME_PRIMITIVE = {
    "cmm_gather_bmm": "dense_bmm",
    "cmm_masked": "dense_linear",
    "cmm_sparse": "dense_linear",
    "cmm_leaf_gather": "dense_bmm",
    "cmm_blas1": "dense_blas1",
    "cmm_blas2": "dense_blas2",
    "cmm_cuda_naive": "dense_cuda_naive",
}

Key = tuple[object, ...]
Pair = tuple[Timed, Timed, str | None]  # subject, baseline, and why another might be the baseline


def _context(cell: Cell) -> Key:
    """What both sides of a ratio must share, besides the run and (for ``same``) the threads."""
    work = cell.workload
    return (work.shape.d, work.batch, work.dtype, work.device, cell.protocol.cache, cell.protocol.call)


def _candidates(baseline: str, subject: Timed, dense: Iterable[Timed]) -> list[Timed]:
    """Which of the ``dense`` records in the subject's context can serve as ``baseline``."""
    cell = subject.record.cell
    own = cell.workload.shape.n

    def fits(name: str, n: int) -> bool:
        if baseline == "published":
            return name == PUBLISHED and n == own
        if baseline == "same-primitive":
            return name == SAME_PRIMITIVE[cell.implementation] and n == own
        return n == BERT_WIDTH if baseline == "bert" else n >= own

    return [item for item in dense if fits(item.record.cell.implementation, item.record.cell.workload.shape.n)]


def speedups(results: Results) -> list[Speedup]:
    """Every row, in a fixed order: conditional records against each baseline, then the skipped cells."""
    dense: dict[Key, list[Timed]] = defaultdict(list)  # by machine and context, of all runs
    subjects: dict[Key, list[Timed]] = defaultdict(list)
    fastest: dict[Key, list[Timed]] = defaultdict(list)
    for record in results.records:
        cell, timed = record.cell, Timed(record)
        if record.info.family == "dense":
            dense[record.machine, *_context(cell)].append(timed)
        elif record.info.family in ("cmm", "fff"):
            subjects[record.machine, cell.id].append(timed)
            work = cell.workload
            group = (cell.implementation, work.shape, work.routing, work.seed, *_context(cell))
            fastest[record.machine, *group].append(timed)
    untried = Untried(results)
    rows = [row for group in subjects.values() for row in _rows(group, "same", dense, untried, results)]
    rows += [row for group in fastest.values() for row in _rows(group, "fastest", dense, untried, results)]
    measured = {(record.machine, record.cell.id) for record in results.records}
    rows += _skipped_rows(results, measured)
    rows.sort(key=_order)
    calls = _headline_calls(rows)
    return [
        replace(row, main=True)
        if (row.cache, row.routing, row.call) == ("cold", "uniform", calls[row.machine, row.device])
        else row
        for row in rows
    ]


def _headline_calls(rows: Sequence[Speedup]) -> dict[tuple[str, str], str]:
    """The call of the headline by machine and device: the bare kernel, on a GPU inside a graph where one was measured.

    An eager launch of a small layer measures the launch; inside a model it would be hidden, as a graph hides it.
    """
    found: dict[tuple[str, str], str] = {}
    for row in rows:
        with_graph = row.call == "graph" and row.device == "cuda" and row.time is not None
        if with_graph or (row.machine, row.device) not in found:
            found[row.machine, row.device] = "graph" if with_graph else "kernel"
    return found


def dense_over_dense(results: Results) -> list[Speedup]:
    """Dense layers of BERT's width against wider ones (the baseline ``wider``), for claims about that row.

    Same threads: against the same implementation at the width of the published tree; fastest: best against best.
    """
    groups: dict[Key, list[Timed]] = defaultdict(list)
    for record in results.records:
        if record.info.family == "dense":
            groups[record.machine, record.run, *_context(record.cell)].append(Timed(record))
    rows = []
    for group in groups.values():
        narrow = [item for item in group if item.record.cell.workload.shape.n == BERT_WIDTH]
        wide = [item for item in group if item.record.cell.workload.shape.n == PUBLISHED_WIDTH]
        for item in narrow:
            cell = item.record.cell
            for other in wide:
                same = other.record.cell.implementation == cell.implementation
                if same and other.record.cell.workload.threads == cell.workload.threads:
                    rows.append(measured_row(item, other, "wider", "same", results, None))
        if narrow and wide:
            best = [min(side, key=lambda item: item.time.value) for side in (narrow, wide)]
            rows.append(measured_row(best[0], best[1], "wider", "fastest", results, None))
    return rows


def _order(row: Speedup) -> Key:
    return (
        row.machine,
        row.device,
        row.d,
        row.n,
        row.trees,
        row.levels,
        row.leaf_width,
        row.dtype,
        row.routing,
        row.cache,
        row.call,
        row.batch,
        row.family,
        row.implementation,
        row.threads,
        BASELINE_THREADS.index(row.baseline_threads),
        BASELINES.index(row.baseline),
        row.run,
    )


def _rows(
    group: Sequence[Timed], mode: str, dense: dict[Key, list[Timed]], untried: Untried, results: Results
) -> list[Speedup]:
    """One row per baseline for the records of one cell (``same``) or one cell over thread counts (``fastest``)."""
    by_run: dict[tuple[str, str], list[Timed]] = defaultdict(list)
    for item in group:
        by_run[item.record.started, item.record.run].append(item)
    newest_first = [by_run[key] for key in sorted(by_run, reverse=True)]
    if mode == "fastest":
        newest_first = _with_the_fastest_count(newest_first)
    rows = []
    for baseline in BASELINES:
        if baseline == "same-primitive" and group[0].record.cell.implementation not in SAME_PRIMITIVE:
            continue
        pairs: list[Pair] = []
        partial: list[Pair] = []  # of runs that did not measure the baseline at its fastest thread count
        for items in newest_first:
            subject = min(items, key=lambda item: item.time.value)
            record = subject.record
            others = _candidates(baseline, subject, dense.get((record.machine, *_context(record.cell)), []))
            if mode == "same":
                threads = record.cell.workload.threads
                others = [other for other in others if other.record.cell.workload.threads == threads]
            here = [other for other in others if other.record.run == record.run]
            if here:
                best = min(here, key=lambda item: item.time.value)
                whole = mode == "same" or _fastest_count(others) in _counts(here)
                (pairs if whole else partial).append((subject, best, doubt(best, others)))
        if pairs or partial:
            subject, best, reason = _chosen(pairs or partial, results)
            if baseline == "best-dense":
                reason = "; ".join(filter(None, (reason, untried.doubt(best)))) or None
            rows.append(measured_row(subject, best, baseline, mode, results, reason))
        else:
            subject = min(newest_first[0], key=lambda item: item.time.value)
            reason = _missing(subject.record, baseline, results)
            rows.append(measured_row(subject, None, baseline, mode, results, reason))
    return rows


def _with_the_fastest_count(runs: Sequence[list[Timed]]) -> list[list[Timed]]:
    """The runs that measured the subject at the thread count that is fastest among its more thorough records.

    A run over one thread alone knows nothing of the fastest count, however new or thorough it is. Records with less
    than half the processes of the most thorough one do not decide: a single lucky process would.
    """
    count = _fastest_count([item for items in runs for item in items])
    return [items for items in runs if count in _counts(items)]


def _fastest_count(items: Sequence[Timed]) -> int:
    half = max(_processes(item) for item in items) / 2
    thorough = (item for item in items if _processes(item) >= half)
    return min(thorough, key=lambda item: item.time.value).record.cell.workload.threads


def _counts(items: Iterable[Timed]) -> set[int]:
    return {item.record.cell.workload.threads for item in items}


def _processes(item: Timed) -> int:
    """Fresh processes of a record, up to those of a full one."""
    return min(FULL_PROCESSES, len(item.record.info.processes))


def _chosen(newest_first: Sequence[Pair], results: Results) -> Pair:
    """The newest of the most thorough pairs; a budget-cut run does not displace a full one.

    Of runs of one commit, which measure the same code, it is the one with the most processes. A ratio in doubt may be
    too high, so a pair beyond doubt takes its place where it says less, and only there.
    """
    counts = [min(_processes(subject), _processes(best)) for subject, best, _ in newest_first]
    equals = [pair for pair, count in zip(newest_first, counts, strict=True) if count == max(counts)]
    code = _code(equals[0], results)
    same_code = [pair for pair in equals if code and _code(pair, results) == code] or equals[:1]
    newest = max(same_code, key=lambda pair: min(len(side.medians) for side in pair[:2]))  # the first of equals
    sure = next((pair for pair in equals if pair[2] is None), newest)
    return min(newest, sure, key=lambda pair: pair[1].time.value / pair[0].time.value) if newest[2] else newest


def _code(pair: Pair, results: Results) -> str | None:
    """The commit that was measured, where it says which code ran: not from a changed checkout, nor from none."""
    commit = results.runs[pair[0].record.run].commit
    return None if commit == UNKNOWN_COMMIT or commit.endswith(DIRTY) else commit


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
        newest[item.machine, item.cell.id] = skipped_row(item)
    return list(newest.values())
