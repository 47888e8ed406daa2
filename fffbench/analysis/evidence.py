"""Which of several runs that measured a cell speaks for it?

One rule for every figure, and it looks at no ratio: ``RULE``. So a cell has one time and a pair of cells one ratio,
wherever they stand on a page.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from fffbench.analysis import hosts
from fffbench.analysis.once import once
from fffbench.analysis.stats import Estimate
from fffbench.results.medians import Medians, beside
from fffbench.results.record import FULL_PROCESSES, Record
from fffbench.results.store import Results

RULE = (
    "Of several runs that measured one cell on one machine, the one with the most fresh processes speaks for it "
    f"({FULL_PROCESSES} count as full), among equals the newest, whatever its ratio; the others stay in the archive. A "
    "ratio whose two sides come from different runs says so and is provisional: machines drift by some per cent "
    f"between runs. Of several hosts each has such a record. {hosts.RULE}"
)


@once
def one_record_per_cell(results: Results) -> Results:
    """``results`` with the deciding record of each cell alone, in the same order; applying it twice changes nothing."""
    speaking = {record.id: record for record in deciding(results.records)}
    if len(speaking) == len(results.records) and all(record.id in speaking for record in results.records):
        return results
    return replace(results, records=tuple(speaking[record.id] for record in results.records if record.id in speaking))


def deciding(records: Iterable[Record]) -> list[Record]:
    """The record that speaks for each machine and cell."""
    measured: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        measured.setdefault((record.machine, record.cell.id), []).append(record)
    return [found[0] if len(found) == 1 else _over_hosts(found) for found in measured.values()]


def _over_hosts(records: Sequence[Record]) -> Record:
    """The record that speaks for a cell, with the processes of every host that measured it where there are several.

    A record of nobody knows which host may be of any of them, so it counts where no more than one is known.
    """
    best = max(records, key=_rank)
    of_host: dict[str, Record] = {}
    for record in records:
        for host in set(record.hosts):
            if host and (host not in of_host or _rank(record) > _rank(of_host[host])):
                of_host[host] = record
    if len(of_host) < 2 or all(found is best for found in of_host.values()):
        return best
    processes = [
        (host, samples)
        for host, record in sorted(of_host.items())
        for own, samples in zip(record.hosts, record.info.processes, strict=True)
        if own == host
    ]
    speaker = max(of_host.values(), key=_rank)
    info = {"processes": [samples for _, samples in processes], "hosts": [host for host, _ in processes]}
    parts = tuple(of_host[host] for host in sorted(of_host))
    return replace(speaker, info=speaker.info.model_copy(update=info), parts=parts)


def full_processes(record: Record) -> int:
    """Fresh processes of a record, up to those of a full one."""
    return min(FULL_PROCESSES, len(record.info.processes))


def interval(estimate: Estimate, above: Medians, below: Medians) -> tuple[float, float] | tuple[None, None]:
    """The interval of a ratio of process medians; none where a side has one process, whose spread nobody knows."""
    return (estimate.low, estimate.high) if min(map(len, beside(above, below))) > 1 else (None, None)


def _rank(record: Record) -> tuple[int, str, str]:
    return full_processes(record), record.started, record.run
