"""Which records speak, and which are superseded?

A place is a device of a machine. Where the project's own kernels (family ``fff``) were measured from the sources of now
at a place, only records of the sources of now speak for it; older ones are superseded: read, counted, in no figure,
table, claim or first screen. Where they were not, everything that was measured there speaks, and where other places are
of the sources of now, this one is ``older`` and named so: a machine that nobody has measured again is better shown with
a word than dropped. Files move to ``results/archive/`` (``python -m benchmarks.studies.archive_older``), so a folder
shows what is current; where a file lies decides nothing.

A run that was cut short supersedes nothing: a place with older results is of the sources of now once one of these
kernels was measured in as many processes as a visit has, on as many threads as any of them was there.

What nobody can know here changes nothing: kernels built from other sources than those beside them, or an implementation
of another package, whose records always speak.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import NamedTuple

from fffbench import timed
from fffbench.results.reader import SkippedCell
from fffbench.results.record import Record

KERNELS = "fff"  # the family
VISIT_PROCESSES = 3  # of a cell in a visit; ``runs.release`` plans as many

Place = tuple[str, str]  # machine and device
Current = Callable[[str], str | None]


@dataclass(frozen=True)
class Spoken:
    """The records that speak, the others, and the places that are of older sources where another one is not."""

    records: tuple[Record, ...]
    superseded: tuple[Record, ...]
    older: frozenset[Place]


def place_of(record: Record) -> Place:
    """Machine and device."""
    return record.machine, record.cell.workload.device


def spoken(records: Sequence[Record], current: Current) -> Spoken:
    """Part ``records`` as the module says; ``current`` gives the digest of the sources of now."""
    known = {name: current(name) for name in {record.cell.implementation for record in records}}
    compared, now = sides(records, current)
    speaks = [place_of(record) not in now or _is(record, known) or _nobodys(record, known) for record in records]
    return Spoken(
        tuple(record for record, yes in zip(records, speaks, strict=True) if yes),
        tuple(record for record, yes in zip(records, speaks, strict=True) if not yes),
        older(compared, now),
    )


def sides(records: Sequence[Record], current: Current) -> tuple[set[Place], set[Place]]:
    """The places of ``records`` that can be compared with the sources of now, and those whose kernels are of them.

    A place whose kernels nobody can compare with those of now is not called older.
    """
    known = {name: current(name) for name in {record.cell.implementation for record in records}}
    compared = {place_of(record) for record in records if known[record.cell.implementation] is not None}
    kernels = [
        Taken(place_of(one), _is(one, known), len(one.info.processes), one.cell.workload.threads)
        for one in records
        if one.info.family == KERNELS and known[one.cell.implementation] is not None
    ]
    return compared, of_now(kernels)


def older(compared: AbstractSet[Place], now: AbstractSet[Place]) -> frozenset[Place]:
    """The places of older sources, where others are of those of now."""
    return frozenset(compared - now) if now else frozenset()


class Taken(NamedTuple):
    """What decides whether a place is of the sources of now: of which sources, in how many processes and threads."""

    place: Place
    now: bool
    processes: int
    threads: int


def of_now(taken: Sequence[Taken]) -> set[Place]:
    """The places that ``taken`` makes places of the sources of now: nothing older is there, or a visit was whole."""
    threads: dict[Place, int] = {}
    for one in taken:
        threads[one.place] = max(threads.get(one.place, 0), one.threads)
    before = {one.place for one in taken if not one.now}
    return {
        one.place
        for one in taken
        if one.now
        and (one.place not in before or (one.processes >= VISIT_PROCESSES and one.threads >= threads[one.place]))
    }


def skipped_now(skipped: Iterable[SkippedCell], parted: Spoken) -> tuple[SkippedCell, ...]:
    """``skipped`` without those of runs that are superseded at a place of current sources."""
    runs = {(record.run, place_of(record)) for record in parted.records}
    old = {(record.run, place_of(record)) for record in parted.superseded} - runs
    return tuple(item for item in skipped if (item.run, (item.machine, item.cell.workload.device)) not in old)


def _is(record: Record, known: dict[str, str | None]) -> bool:
    """Whether ``record`` is of the sources of now."""
    return record.timed_sources != timed.UNKNOWN and record.timed_sources == known[record.cell.implementation]


def _nobodys(record: Record, known: dict[str, str | None]) -> bool:
    """Whether it is of an implementation that is not here, by a version that would have known its sources."""
    return known[record.cell.implementation] is None and bool(record.info.timed_sources)
