"""How many times faster is each record than one implementation, or than the best dense layer of its own width?

Both sides do the same work: machine, layer, batch, type, device, cache protocol and call alike, and routing where both
are conditional (dense times do not depend on it). Threads are the same, or each side's fastest, as in ``speedup``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable

from fffbench.analysis.rows import Comparison, Speedup, Timed, measured_rows
from fffbench.analysis.speedup import Found, Key
from fffbench.errors import one_of
from fffbench.plan.workload import FAULTY
from fffbench.results.record import Record
from fffbench.results.store import Results

OWN_WIDTH = "best-dense-of-own-width"
_OF_THE_RUN = re.compile(r"SM clock|\d+ of \d+ processes")  # and not of the code that ran
LOSING = 0.9  # of the best dense layer of as many neurons: below it a layer loses by more than runs differ


def over(results: Results, name: str) -> list[Speedup]:
    """Rows of every implementation over the one called ``name``, which becomes their baseline's name."""
    found = Found(results)
    known = sorted({record.cell.implementation for record in found.results.records if record.info.family != FAULTY})
    if name not in known:
        raise one_of("implementation in these results", name, known)
    return _rows(found, name, lambda record: record.cell.implementation == name)


def over_own_width(results: Results) -> list[Speedup]:
    """Rows of the optimised implementations over the best dense layer with exactly as many neurons."""
    rows = _rows(Found(results), OWN_WIDTH, lambda record: record.info.family == "dense")
    return [row for row in rows if row.family == "fff"]


def losing(results: Results) -> list[Speedup]:
    """The optimised cells that take longer than the best dense layer of their own width, the worst first.

    The reason of a row is what its record notes: the strategy that was chosen, the code that ran.
    """
    notes = {
        record.id: [note for note in record.info.notes if not _OF_THE_RUN.match(note)] for record in results.records
    }
    rows = [row for row in over_own_width(results) if row.speedup is not None and row.speedup < LOSING]
    rows = [row._replace(reason="; ".join(notes.get(row.record or "", [])) or None) for row in rows]
    return sorted(rows, key=lambda row: row.speedup or 0)


def _work(record: Record) -> Key:
    """What both sides share, threads and routing apart; a dense layer has no tree."""
    work, protocol = record.cell.workload, record.cell.protocol
    return (record.machine, work.shape.d, work.shape.n, work.batch, work.dtype, work.device, protocol)


def _alike(ours: Record, other: Record) -> bool:
    """Whether the two do the same work, where both are conditional."""
    if "dense" in (ours.info.family, other.info.family):
        return True
    one, two = ours.cell.workload, other.cell.workload
    alike = one.shape.beside(two.shape) or two.shape.beside(one.shape)
    return alike and (one.routing, one.seed) == (two.routing, two.seed)


def _rows(found: Found, baseline: str, is_baseline: Callable[[Record], bool]) -> list[Speedup]:
    groups: dict[Key, list[Timed]] = defaultdict(list)
    others: dict[Key, list[Timed]] = defaultdict(list)
    for record in found.results.records:
        if record.info.family == FAULTY:
            continue
        item, work = Timed(record), record.cell.workload
        if is_baseline(record):
            others[_work(record)].append(item)
        key = (record.cell.implementation, work.shape, work.routing, work.seed, _work(record))
        groups[key].append(item)
    every: list[Comparison] = []
    for (name, *_), group in groups.items():
        first = group[0].record
        rivals = [item for item in others[_work(first)] if _alike(first, item.record)]
        if not rivals or any(item.record.cell.implementation == name for item in rivals):
            continue
        for subject in group:
            threads = subject.record.cell.workload.threads
            same = [item for item in rivals if item.record.cell.workload.threads == threads]
            every += _compared(found, [subject], same, baseline, "same")
        every += _compared(found, group, rivals, baseline, "fastest")
    return measured_rows(every, found.ceilings)


def _compared(found: Found, group: list[Timed], rivals: list[Timed], baseline: str, mode: str) -> Iterable[Comparison]:
    if not rivals:
        return
    relative = found.relative(found.place(group[0].record))
    subject = relative.fastest(group)
    best = relative.fastest(rivals, subject)
    unknown = found.unknown_threads(group, rivals) if mode == "fastest" else None
    yield Comparison(subject, None if unknown else best, baseline, mode, unknown)
