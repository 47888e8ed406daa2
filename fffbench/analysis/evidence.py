"""Which of several runs that measured a cell speaks for it?

One rule for every figure, and it looks at no ratio: ``RULE``. So a cell has one time and a pair of cells one ratio,
wherever they stand on a page.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from fffbench.analysis.stats import Estimate
from fffbench.results.record import FULL_PROCESSES, Record
from fffbench.results.store import Results

RULE = (
    "Of several runs that measured one cell on one machine, the one with the most fresh processes speaks for it "
    f"({FULL_PROCESSES} count as full), among equals the newest, whatever its ratio; the others stay in the archive. A "
    "ratio whose two sides come from different runs says so and is provisional: machines drift by some per cent "
    "between runs."
)


def one_record_per_cell(results: Results) -> Results:
    """``results`` with the deciding record of each cell alone, in the same order; applying it twice changes nothing."""
    kept = {record.id for record in deciding(results.records)}
    if len(kept) == len(results.records):
        return results
    return replace(results, records=tuple(record for record in results.records if record.id in kept))


def deciding(records: Iterable[Record]) -> list[Record]:
    """The record that speaks for each machine and cell."""
    chosen: dict[tuple[str, str], Record] = {}
    for record in records:
        key = (record.machine, record.cell.id)
        if key not in chosen or _rank(record) > _rank(chosen[key]):
            chosen[key] = record
    return list(chosen.values())


def full_processes(record: Record) -> int:
    """Fresh processes of a record, up to those of a full one."""
    return min(FULL_PROCESSES, len(record.info.processes))


def interval(
    estimate: Estimate, above: Sequence[float], below: Sequence[float]
) -> tuple[float, float] | tuple[None, None]:
    """The interval of a ratio of process medians; none where a side has one process, whose spread nobody knows."""
    return (estimate.low, estimate.high) if min(len(above), len(below)) > 1 else (None, None)


def _rank(record: Record) -> tuple[int, str, str]:
    return full_processes(record), record.started, record.run
