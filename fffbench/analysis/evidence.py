"""What do all runs that measured a cell say together?

One rule for every figure, and it looks at no ratio: ``pooling.RULE``. So a cell has one time and a pair of cells one
ratio, wherever they stand on a page.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from fffbench import timed
from fffbench.analysis import pooling
from fffbench.analysis.once import once
from fffbench.analysis.pooling import Spread
from fffbench.analysis.spread import key_of, spreads
from fffbench.analysis.stats import Estimate
from fffbench.results.medians import Medians, Unit, beside
from fffbench.results.record import Record
from fffbench.results.store import Results

RULE = (
    f"{pooling.RULE} Where the sources changed between runs, those of the newest count; runs of which nobody knows the "
    "sources count, alike, only where there are no others."
)


@once
def one_record_per_cell(results: Results) -> Results:
    """``results`` with one record of each machine and cell, that of all its runs; twice changes nothing."""
    found = replace(results, records=tuple(pooled(results)))
    found.known.update({one_record_per_cell.asked: found, spreads.asked: spreads(results)})
    return found


def pooled(results: Results) -> list[Record]:
    """The record of all runs for each machine and cell of ``results``, with what is known of runs of that machine."""
    known = spreads(results)
    measured: dict[tuple[str, str], list[Record]] = {}
    for record in results.records:
        measured.setdefault((record.machine, record.cell.id), []).append(record)
    made = []
    for found in measured.values():
        spread = known.get(key_of(found[0]), pooling.UNKNOWN)
        alone = len(found) == 1
        if alone:
            made.append(found[0].with_medians(Medians.together((found[0].medians,), spread)))
        else:
            made.append(_together(_of_newest_sources(found), spread))
    return made


def only(results: Results, records: Iterable[Record]) -> Results:
    """``results`` with these records alone, and what all of them say of runs of each machine."""
    found = replace(results, records=tuple(records))
    found.known[spreads.asked] = spreads(results)
    return found


def _of_newest_sources(records: Sequence[Record]) -> list[Record]:
    known = [one for one in records if one.timed_sources != timed.UNKNOWN]
    newest = max(known or records, key=_age)
    return sorted((one for one in records if one.timed_sources == newest.timed_sources), key=_age)


def _age(record: Record) -> tuple[str, str]:
    return record.started, record.run


def _together(records: Sequence[Record], spread: Spread) -> Record:
    """The record of all runs of a cell, oldest first; it has the name of the newest, and the worst error of all."""
    newest = records[-1]
    infos = [record.info for record in records]
    worst = max(records, key=lambda record: (record.error_share, _age(record)))
    several = any(record.info.hosts or record.host for record in records)
    info = newest.info.model_copy(
        update={
            "processes": [samples for one in infos for samples in one.processes],
            "hosts": [host for record in records for host in record.hosts] if several else [],
            "threads_ran": [ran for one in infos for ran in one.threads_ran],
            "planned_processes": sum(one.planned_processes for one in infos),
            "notes": list(dict.fromkeys(note for one in infos for note in one.notes)),
            "check": worst.info.check,
        }
    )
    made = replace(newest, info=info, parts=tuple(records))
    return made.with_medians(Medians.together([record.medians for record in records], spread))


def interval(estimate: Estimate, above: Medians, below: Medians) -> tuple[float, float] | tuple[None, None]:
    """The interval of a ratio of process medians; none where a side has one process, whose spread nobody knows."""
    _, processes = amount(above, below)
    return (estimate.low, estimate.high) if processes > 1 else (None, None)


def amount(above: Medians, below: Medians, units: Sequence[Unit] | None = None) -> tuple[int, int]:
    """In how many runs both sides were measured, and how many processes the side with fewer has in those.

    All of a side's where there is no such run. ``units`` are those of both sides, where they are at hand.
    """
    units = beside(above, below) if units is None else units
    if not units:
        return 0, min(len(above), len(below))
    if len(units) == 1:  # most comparisons, by far
        return 1, min(len(above.units[units[0]]), len(below.units[units[0]]))
    fewest = min(sum(len(side.units[unit]) for unit in units) for side in (above, below))
    return len({run for _, run in units}), fewest


def known_from(above: Medians, units: Sequence[Unit]) -> str:
    """From which runs the spread between runs in the interval of a ratio is; ``units`` are of both."""
    if not isinstance(above.spread, Spread):
        return ""
    return (above.spread.ratio if units else above.spread.time).known_from
