"""How far do runs of one machine lie apart, over all that it measured more than once?

For each pair of runs of the same comparison (a conditional layer over a dense one, both in both runs, at the same
threads) the squared difference of the logarithms over its expected variance, ``2 t^2 + v1 + v2``. The spread ``t``
makes their median that of Student's distribution, and the freedom of that distribution is the largest whose tail holds
90 % of the pairs. Quantiles, because of runs without a digest of their sources nobody knows which differ by a change of
a kernel: up to a tenth of the pairs may, and decide nothing. Pairs known to be of different sources do not count. That
a pair is of one commit is no reason to trust it more: those runs are minutes apart, and know nothing of another day.
The same for times, which drift with a clock that both sides of a ratio share.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from statistics import median, variance

import numpy as np
import numpy.typing as npt

from fffbench import timed
from fffbench.analysis import pooling
from fffbench.analysis.once import once
from fffbench.analysis.pooling import ALL, OWN, UNKNOWN, Between, Observation, Spread
from fffbench.analysis.stats import ratios_of, times_of
from fffbench.plan.workload import FAULTY
from fffbench.results.medians import Medians, Unit
from fffbench.results.record import Record
from fffbench.results.store import Results

Key = tuple[str, str, bool]  # machine, device, and whether several threads share the work: neighbours reach those more
Pair = tuple[float, float]  # the square of a difference, and the variance that processes leave in it
ENOUGH = 30  # pairs of runs; with fewer the spread of all machines counts
FREEDOMS = (50, 20, 12, 8, 6, 5)
HALF, TAIL = 0.5, 0.9
MOST = 4000  # pairs that are looked at: 0.3 s


@once
def spreads(results: Results) -> Mapping[Key, Spread]:
    """What is known of runs on each machine and device of ``results``, on one thread and on several."""
    found = pairs_of(results)
    return of_pairs(found, everywhere([found]))


def pairs_of(results: Results) -> dict[Key, Pairs | None]:
    """The pairs of runs of each device of each machine of ``results``; None where nothing was measured twice."""
    cells: dict[Key, dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in results.records:
        if record.info.family != FAULTY:
            cells[key_of(record)][record.cell.id].append(record)
    found: dict[Key, Pairs | None] = {}
    for key, by_cell in cells.items():
        repeated = [records for records in by_cell.values() if len(records) > 1]
        found[key] = Pairs(repeated) if repeated else None
    return found


def everywhere(parts: Iterable[Mapping[Key, Pairs | None]]) -> dict[tuple[str, bool], Spread]:
    """What the pairs of all machines say together, by device and whether of several threads."""
    every: dict[tuple[str, bool], Pairs] = {}
    for part in parts:
        for (_, device, several), pairs in part.items():
            if pairs is not None:
                every.setdefault((device, several), Pairs([])).add(pairs)
    return {kind: pairs.spread(UNKNOWN, ALL) for kind, pairs in every.items()}


def of_pairs(found: Mapping[Key, Pairs | None], everywhere: Mapping[tuple[str, bool], Spread]) -> dict[Key, Spread]:
    """What each machine's own pairs say, and what is known ``everywhere`` where they are too few."""
    known = {key: everywhere.get(key[1:], UNKNOWN) for key in found}
    return known | {key: pairs.spread(known[key], OWN) for key, pairs in found.items() if pairs is not None}


def key_of(record: Record) -> Key:
    """Under which key the spread of a record's runs is known."""
    work = record.cell.workload
    return record.machine, work.device, work.threads > 1


def compatible(one: Record, two: Record) -> bool:
    """Whether two records of a cell may be of the same sources: they are not known to differ."""
    return timed.UNKNOWN in (one.timed_sources, two.timed_sources) or one.timed_sources == two.timed_sources


class Pairs:
    """Pairs of runs of one device of one machine, or of several."""

    def __init__(self, repeated: Sequence[Sequence[Record]]) -> None:
        """Compare each of the ``repeated`` cells, which have a record of two runs or more, run by run."""
        spread = [value for records in repeated for record in records for value in _variances(record.medians)]
        self.processes = [median(spread)] if spread else []
        process = Spread(UNKNOWN.ratio, UNKNOWN.time, self.processes[0] if spread else UNKNOWN.process)
        self.times: list[Pair] = []
        self.ratios: list[Pair] = []
        for records in repeated:
            self.times += _pairs([_whole(times_of(record.medians, process)) for record in records], [records])
        for sides in _comparisons(repeated):
            if len(self.ratios) > MOST:
                break
            found = [
                _whole(ratios_of(theirs.medians, ours.medians, _common(ours.medians, theirs.medians), process))
                for ours, theirs in zip(*sides, strict=True)
            ]
            self.ratios += _pairs(found, sides)

    def add(self, other: Pairs) -> None:
        """Take those of another machine in."""
        self.processes += other.processes
        self.times += other.times
        self.ratios += other.ratios

    def spread(self, without: Spread, whose: str) -> Spread:
        """What they say; what they are too few for is as in ``without``."""
        return Spread(
            fitted(self.ratios, whose) or without.ratio,
            fitted(self.times, whose) or without.time,
            median(self.processes) if self.processes else without.process,
        )


def _variances(medians: Medians) -> Iterator[float]:
    for own in medians.units.values():
        if len(own) > 1:
            yield variance(map(math.log, own))


def _whole(found: Mapping[Unit, Observation]) -> Observation:
    """One observation of a run that continued on another host."""
    seen = list(found.values())
    return pooling.mean([one.value for one in seen], [one.variance for one in seen])


def _common(ours: Medians, theirs: Medians) -> list[Unit]:
    return sorted(ours.units.keys() & theirs.units.keys())


def _comparisons(repeated: Sequence[Sequence[Record]]) -> Iterator[tuple[list[Record], list[Record]]]:
    """Records of a conditional layer and of a dense one, run by run, where two runs or more have both."""
    places: dict[object, tuple[list[Sequence[Record]], list[Sequence[Record]]]] = defaultdict(lambda: ([], []))
    for records in repeated:
        cell = records[0].cell
        work = cell.workload
        place = (work.shape.d, work.batch, work.dtype, work.threads, cell.protocol)
        places[place][records[0].info.family == "dense"].append(records)
    for subjects, dense in places.values():
        for one in subjects:
            ours = {record.run: record for record in one}
            for other in dense:
                theirs = {record.run: record for record in other}
                common = sorted(
                    run
                    for run in ours.keys() & theirs.keys()
                    if ours[run].medians.units.keys() & theirs[run].medians.units.keys()
                )
                if len(common) > 1:
                    yield [ours[run] for run in common], [theirs[run] for run in common]


def _pairs(seen: Sequence[Observation], sides: Sequence[Sequence[Record]]) -> Iterator[Pair]:
    """Every two of the runs that were ``seen``, in which each of ``sides`` has a record."""
    for i, j in combinations(range(len(seen)), 2):
        if all(compatible(side[i], side[j]) for side in sides):
            yield (seen[i].value - seen[j].value) ** 2, seen[i].variance + seen[j].variance


def fitted(pairs: Sequence[Pair], whose: str) -> Between | None:
    """The spread and freedom that describe ``pairs``; None where they are too few."""
    if len(pairs) < ENOUGH:
        return None
    squares, within = np.asarray(pairs).T
    for freedom in FREEDOMS:
        deviation = _deviation(squares, within, HALF, freedom)
        if np.mean(squares <= pooling.student(freedom, TAIL) ** 2 * (2 * deviation**2 + within)) >= TAIL:
            return Between(deviation, freedom, whose)
    least = FREEDOMS[-1]
    return Between(_deviation(squares, within, TAIL, least), least, whose)


def _deviation(squares: npt.NDArray[np.float64], within: npt.NDArray[np.float64], share: float, freedom: int) -> float:
    """The deviation between runs that leaves ``share`` of the pairs inside Student's interval of that probability.

    A pair is inside from the deviation on that it needs itself, so it is a quantile of those.
    """
    needed = np.maximum(0.0, (squares / pooling.student(freedom, share) ** 2 - within) / 2)
    return math.sqrt(float(np.quantile(needed, share)))
