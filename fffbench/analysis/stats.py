"""How long does a call take, how many times faster is one than another, and how sure is that?

The fresh process is the unit, never the sample: samples of one process share
its memory layout and its neighbours, so a thousand of them say little more
than ten. Runs are units too (``pooling``): wherever it is known of which run of
which machine a process is, an interval says where the next run will be. Of
processes alone it is distribution-free.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar, cast

import numpy as np
import numpy.typing as npt

from fffbench.analysis import pooling
from fffbench.analysis.pooling import Observation, Spread
from fffbench.analysis.ranks import LEVEL, binomial_rank, mann_whitney_rank
from fffbench.analysis.thin import FULL_PROCESSES, thin
from fffbench.results.medians import Medians, Unit, beside

Array = npt.NDArray[np.float64]
Found = tuple[float, float, float, float]  # a value, its interval, and the coverage of that
T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

PAIRS_AT_ONCE = 2**20  # in one array, 8 MB


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value, its interval and the interval's true coverage; provisional where the evidence is thinner than asked."""

    value: float
    low: float
    high: float
    coverage: float
    provisional: bool


def process_medians(processes: Sequence[Sequence[float]]) -> list[float]:
    """One number per process: the median of its samples."""
    return [median(samples) for samples in processes]


def estimate_time(processes: Sequence[Sequence[float]]) -> Estimate:
    """The time of a call, from the samples of each process."""
    return time_of_medians(Medians.of(processes))


def time_of_medians(medians: Sequence[float]) -> Estimate:
    """The median over processes of their medians, with the sign-test interval over processes.

    Where the spread between runs is known, the mean over runs with the interval of the next (``pooling``).
    """
    if not isinstance(medians, Medians):
        return _times([medians])[0]
    if not isinstance(medians.estimate, Estimate):
        estimate_times([medians])
    return cast(Estimate, medians.estimate)


def estimate_times(every: Iterable[Medians]) -> None:
    """Keep with each of ``every`` what ``time_of_medians`` says of it: of many at once takes a fifth of the time."""
    unknown = {id(medians): medians for medians in every if medians.estimate is None}.values()
    alone = [medians for medians in unknown if not isinstance(medians.spread, Spread)]
    for medians, found in zip(alone, _times(alone), strict=True):
        medians.estimate = found
    over = [(medians, medians.spread) for medians in unknown if isinstance(medians.spread, Spread)]
    for (medians, spread), seen in zip(over, _seen_times(over), strict=True):
        medians.estimate = _time_over_runs(medians, seen, spread)


def _time_over_runs(medians: Medians, seen: Mapping[Unit, Observation], spread: Spread) -> Estimate:
    found = pooling.pool(seen, spread.time, LEVEL)
    return _over_runs(found, binomial_rank(len(medians))[1], len(medians), runs_of(medians.units))


def times_of(medians: Medians, spread: Spread) -> dict[Unit, Observation]:
    """What each unit says of the time."""
    return _seen_times([(medians, spread)])[0]


def ratios_of(above: Medians, below: Medians, units: Collection[Unit], spread: Spread) -> dict[Unit, Observation]:
    """What each unit that holds both sides says of their ratio."""
    return _seen_ratios([(above, below, units, spread)])[0]


def _seen_times(every: Sequence[tuple[Medians, Spread]]) -> list[dict[Unit, Observation]]:
    own = iter(_of_times([own for medians, _ in every for own in medians.units.values()]))
    return [
        {
            unit: pooling.observation(*next(own), (len(values),), spread.process)
            for unit, values in medians.units.items()
        }
        for medians, spread in every
    ]


def _seen_ratios(
    every: Sequence[tuple[Medians, Medians, Collection[Unit], Spread]],
) -> list[dict[Unit, Observation]]:
    own = iter(
        _of_ratios([(above.units[unit], below.units[unit]) for above, below, units, _ in every for unit in units])
    )
    return [
        {
            unit: pooling.observation(*next(own), (len(above.units[unit]), len(below.units[unit])), spread.process)
            for unit in units
        }
        for above, below, units, spread in every
    ]


def _times(every: Sequence[Sequence[float]]) -> list[Estimate]:
    return [
        Estimate(*found, provisional=found[3] < LEVEL or len(medians) < FULL_PROCESSES)
        for medians, found in zip(every, _of_times(every), strict=True)
    ]


def _of_times(every: Sequence[Sequence[float]]) -> list[Found]:
    """Value, interval and its coverage of the time of each by its processes alone."""

    def middle(count: int, some: Sequence[Sequence[float]]) -> Iterator[Found]:
        rank, coverage = binomial_rank(count)
        ranks = [rank, (count - 1) // 2, count // 2, count - 1 - rank]
        return _found(np.sort(np.array(some, dtype=np.float64), axis=1)[:, ranks].tolist(), coverage)

    return _by_kind(every, [len(medians) for medians in every], middle)


def ratio(numerator: Sequence[Sequence[float]], denominator: Sequence[Sequence[float]]) -> Estimate:
    """How many times the denominator's time the numerator's is, from the samples of each by process."""
    return ratio_of_medians(Medians.of(numerator), Medians.of(denominator))


def ratio_of_medians(above: Sequence[float], below: Sequence[float]) -> Estimate:
    """The Hodges-Lehmann ratio of two sets of process medians.

    The estimate is the median of all pairwise ratios; the interval inverts the exact Mann-Whitney distribution
    (on logarithms, where a ratio is a shift). With too few processes for 95 % it is the full range, with its
    true coverage, and provisional. Where the spread between runs is known, that is what each run with both sides
    says, and the estimate is the mean over runs with the interval of the next (``pooling``).
    """
    if isinstance(above, Medians) and isinstance(below, Medians) and isinstance(above.spread, Spread):
        if above.ratios is None or id(below) not in above.ratios:
            estimate_ratios([(above, below)])
        return cast(Estimate, (above.ratios or {})[id(below)][1])
    (found,) = _of_ratios([(above, below)])
    few = min(len(above), len(below)) < FULL_PROCESSES
    return Estimate(*found, provisional=found[3] < LEVEL or few)


def estimate_ratios(pairs: Iterable[tuple[Medians, Medians]]) -> None:
    """Keep what ``ratio_of_medians`` says of each of ``pairs``, as ``estimate_times``; of known spread between runs."""
    unknown: dict[tuple[int, int], tuple[Medians, Medians, list[Unit], Spread]] = {}
    for above, below in pairs:
        if isinstance(above.spread, Spread) and (above.ratios is None or id(below) not in above.ratios):
            unknown[id(above), id(below)] = above, below, beside(above, below), above.spread
    for asked, seen in zip(unknown.values(), _seen_ratios([*unknown.values()]), strict=True):
        above, below, _, spread = asked
        above.ratios = {} if above.ratios is None else above.ratios
        above.ratios[id(below)] = below, _ratio_over_runs(above, below, seen, spread)


def _ratio_over_runs(above: Medians, below: Medians, seen: Mapping[Unit, Observation], spread: Spread) -> Estimate:
    if seen:
        found = pooling.pool(seen, spread.ratio, LEVEL)
        counts = [sum([len(side.units[unit]) for unit in seen]) for side in (above, below)]
        return _over_runs(found, mann_whitney_rank(*sorted(counts))[1], min(counts), runs_of(seen))
    ours, theirs = ([*times_of(side, spread).values()] for side in (above, below))
    centre, half = pooling.apart(ours, theirs, spread.time, LEVEL)
    never = pooling.Pooled(math.exp(centre), math.exp(centre - half), math.exp(centre + half), 0)
    fewest = min(len(above), len(below))
    return _over_runs(never, mann_whitney_rank(*sorted((len(above), len(below))))[1], fewest, 0)


def runs_of(units: Collection[Unit]) -> int:
    """How many runs ``units`` are of; mostly there is one."""
    return len(units) if len(units) < 2 else len({run for _, run in units})


def _over_runs(found: pooling.Pooled, coverage: float, processes: int, runs: int) -> Estimate:
    """Too few processes for an interval of 95 % by themselves leave the coverage that they have."""
    return Estimate(
        found.value,
        found.low,
        found.high,
        min(LEVEL, coverage),
        provisional=thin(runs, processes),
    )


def _of_ratios(pairs: Sequence[tuple[Sequence[float], Sequence[float]]]) -> list[Found]:
    """Value, interval and its coverage of the ratio of each pair by the processes of both sides alone."""

    def pairwise(counts: tuple[int, int], some: Sequence[tuple[Sequence[float], Sequence[float]]]) -> Iterator[Found]:
        rank, coverage = mann_whitney_rank(*counts)
        number = counts[0] * counts[1]
        ranks = [rank, (number - 1) // 2, number // 2, number - 1 - rank]
        above, below = (np.array(side, dtype=np.float64) for side in zip(*some, strict=True))
        at_once = PAIRS_AT_ONCE // number
        if not at_once:
            above.sort(axis=1)
            return _found(
                [[_selected(a, b, rank) for rank in ranks] for a, b in zip(above, below, strict=True)], coverage
            )
        parts = []
        for first in range(0, len(some), at_once):
            part = slice(first, first + at_once)
            ratios = (above[part, :, None] / below[part, None, :]).reshape(-1, number)
            parts += np.sort(ratios, axis=1)[:, ranks].tolist()
        return _found(parts, coverage)

    return _by_kind(pairs, [(len(above), len(below)) for above, below in pairs], pairwise)


def _found(ranked: Iterable[Sequence[float]], coverage: float) -> Iterator[Found]:
    """From the values of the ranks of low end, left and right middle, and high end."""
    return ((left if left == right else (left + right) / 2, low, high, coverage) for low, left, right, high in ranked)


def _by_kind(every: Sequence[T], kinds: Sequence[K], find: Callable[[K, Sequence[T]], Iterable[Found]]) -> list[Found]:
    """What ``find`` says of all that are of one kind, in the order of ``every``."""
    places: dict[K, list[int]] = defaultdict(list)
    for place, kind in enumerate(kinds):
        places[kind].append(place)
    found: dict[int, Found] = {}
    for kind, own in places.items():
        found |= zip(own, find(kind, [every[place] for place in own]), strict=True)
    return [found[place] for place in range(len(every))]


def _selected(a: Array, b: Array, rank: int) -> float:
    """The ratio of ``rank`` without the matrix of all pairs, to the last bit of a product: O(n log n) for each bit.

    Positive floats are ordered as the integers of their bits, so that halving reaches neighbours in 63 steps.
    """
    low, high = 0, int(np.asarray(np.inf).view(np.int64))
    while low < high:
        middle = (low + high) // 2
        value = float(np.asarray(middle, np.int64).view(np.float64))
        if int(np.searchsorted(a, value * b, side="right").sum()) > rank:
            high = middle
        else:
            low = middle + 1
    return float(np.asarray(low, np.int64).view(np.float64))
