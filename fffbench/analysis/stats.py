"""How long does a call take, how many times faster is one than another, and how sure is that?

The fresh process is the unit, never the sample: samples of one process share
its memory layout and its neighbours, so a thousand of them say little more
than ten. Runs are units too (``pooling``): wherever it is known of which run of
which machine a process is, an interval says where the next run will be. Of
processes alone it is distribution-free.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist, median

import numpy as np
import numpy.typing as npt

from fffbench.analysis import pooling
from fffbench.analysis.pooling import Observation, Spread
from fffbench.analysis.thin import FULL_PROCESSES, thin
from fffbench.results.medians import Medians, Unit, beside

Array = npt.NDArray[np.float64]

LEVEL = 0.95  # coverage asked of an interval

# What is exact and what approximate depends on the counts alone. Today's cells have 16 processes at most.
EXACT_COINS = 1000  # 2**-1075 is no float any more
EXACT_STEPS = 32**3  # of the exact distribution of U: 20 ms; 32 against 32
NORMAL_FROM = 10  # processes on the smaller side; with fewer the exact distribution is cheap, and far from normal
FEW_PAIRS = 1024  # pairwise ratios that Python sorts faster than an array is made
PAIRS_AT_ONCE = 2**20  # in one array, 8 MB


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value, its interval and the interval's true coverage; provisional where the evidence is thinner than asked."""

    value: float
    low: float
    high: float
    coverage: float
    provisional: bool


@cache
def _binomial_rank(count: int) -> tuple[int, float]:
    """Largest k with P(order statistics k+1 .. count-k cover the median) >= LEVEL, else 0; and that coverage."""
    tail = 0.0
    best, coverage = 0, 1 - 2 * _coin(count, 0)
    for k in range(count // 2):
        tail += _coin(count, k)
        if 1 - 2 * tail < LEVEL:
            break
        best, coverage = k, 1 - 2 * tail
    return best, max(0.0, coverage)


def _coin(count: int, heads: int) -> float:
    """P(``heads`` of ``count`` fair coins); a quotient of whole numbers as long as a float holds 2**-count."""
    if count <= EXACT_COINS:
        return float(math.comb(count, heads) / 2**count)
    ways = math.lgamma(count + 1) - math.lgamma(heads + 1) - math.lgamma(count - heads + 1)
    return math.exp(ways - count * math.log(2))


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
        return _time(medians)
    if not isinstance(medians.estimate, Estimate):
        medians.estimate = _time_over_runs(medians) if isinstance(medians.spread, Spread) else _time(medians)
    return medians.estimate


def _time_over_runs(medians: Medians) -> Estimate:
    assert isinstance(medians.spread, Spread)
    found = pooling.pool(times_of(medians, medians.spread), medians.spread.time, LEVEL)
    return _over_runs(found, _binomial_rank(len(medians))[1], len(medians), runs_of(medians.units))


def times_of(medians: Medians, spread: Spread) -> dict[Unit, Observation]:
    """What each unit says of the time."""
    found = {}
    for unit, own in medians.units.items():
        time = _time(own)
        found[unit] = pooling.observation(time.value, time.low, time.high, time.coverage, (len(own),), spread.process)
    return found


def ratios_of(above: Medians, below: Medians, units: Iterable[Unit], spread: Spread) -> dict[Unit, Observation]:
    """What each unit that holds both sides says of their ratio."""
    found = {}
    for unit in units:
        one, two = above.units[unit], below.units[unit]
        value, low, high, coverage = _of_processes(one, two)
        found[unit] = pooling.observation(value, low, high, coverage, (len(one), len(two)), spread.process)
    return found


def _time(medians: Sequence[float]) -> Estimate:
    centres = sorted(medians)
    rank, coverage = _binomial_rank(len(centres))
    return Estimate(
        value=median(centres),
        low=centres[rank],
        high=centres[-1 - rank],
        coverage=coverage,
        provisional=coverage < LEVEL or len(centres) < FULL_PROCESSES,
    )


@cache
def mann_whitney_counts(first: int, second: int) -> tuple[int, ...]:
    """How many of the C(first + second, first) rankings have U = 0, 1, ..., first * second.

    U counts the pairs in which the first side is larger. Its generating function is the Gaussian binomial
    coefficient, the product of (1 - q^(second + i)) / (1 - q^i) over i = 1 ... first.
    """
    few, many = sorted((first, second))
    size = few * many + 1
    counts = [1] + [0] * (size - 1)
    for i in range(1, few + 1):
        for u in range(size - 1, many + i - 1, -1):
            counts[u] -= counts[u - many - i]
        for u in range(i, size):
            counts[u] += counts[u - i]
    return tuple(counts)


@cache
def mann_whitney_rank(first: int, second: int) -> tuple[int, float]:
    """Largest k for which the pairwise values k+1 .. mn-k cover the shift with at least LEVEL, else 0; its coverage.

    The shift lies below the (k+1)-th smallest pairwise value exactly when U <= k.
    """
    few, pairs = min(first, second), first * second
    if few >= NORMAL_FROM and few * pairs > EXACT_STEPS:
        return _normal_rank(first, second)
    counts = mann_whitney_counts(first, second)
    total = math.comb(first + second, first)
    tail = 0
    best, coverage = 0, 1 - 2 * counts[0] / total
    for k in range(pairs // 2):
        tail += counts[k]
        if 1 - 2 * tail / total < LEVEL:
            break
        best, coverage = k, 1 - 2 * tail / total
    return best, max(0.0, coverage)


def _normal_rank(first: int, second: int) -> tuple[int, float]:
    """``mann_whitney_rank`` by the normal approximation with its continuity correction, for many processes.

    U has lighter tails than a normal variable, so the rank is never too large (a test compares it with the exact one).
    """
    mean, deviation = first * second / 2, math.sqrt(first * second * (first + second + 1) / 12)
    rank = math.floor(mean + deviation * NormalDist().inv_cdf((1 - LEVEL) / 2) - 0.5)
    return rank, 1 - 2 * NormalDist().cdf((rank + 0.5 - mean) / deviation)


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
        return _ratio_over_runs(above, below, above.spread)
    value, low, high, coverage = _of_processes(above, below)
    few = min(len(above), len(below)) < FULL_PROCESSES
    return Estimate(value=value, low=low, high=high, coverage=coverage, provisional=coverage < LEVEL or few)


def _ratio_over_runs(above: Medians, below: Medians, spread: Spread) -> Estimate:
    units = beside(above, below)
    if units:
        found = pooling.pool(ratios_of(above, below, units, spread), spread.ratio, LEVEL)
        counts = [sum(len(side.units[unit]) for unit in units) for side in (above, below)]
        return _over_runs(found, mann_whitney_rank(*sorted(counts))[1], min(counts), runs_of(units))
    ours, theirs = ([*times_of(side, spread).values()] for side in (above, below))
    centre, half = pooling.apart(ours, theirs, spread.time, LEVEL)
    never = pooling.Pooled(math.exp(centre), math.exp(centre - half), math.exp(centre + half), 0)
    fewest = min(len(above), len(below))
    return _over_runs(never, mann_whitney_rank(*sorted((len(above), len(below))))[1], fewest, 0)


def runs_of(units: Iterable[Unit]) -> int:
    """How many runs ``units`` are of."""
    return len({run for _, run in units})


def _over_runs(found: pooling.Pooled, coverage: float, processes: int, runs: int) -> Estimate:
    """Too few processes for an interval of 95 % by themselves leave the coverage that they have."""
    return Estimate(
        found.value,
        found.low,
        found.high,
        min(LEVEL, coverage),
        provisional=thin(runs, processes),
    )


def _of_processes(above: Sequence[float], below: Sequence[float]) -> tuple[float, float, float, float]:
    """Value, interval and its coverage of a ratio by the processes of both sides alone."""
    rank, coverage = mann_whitney_rank(len(above), len(below))
    pairs = len(above) * len(below)
    low, left, right, high = _pairwise(above, below, (rank, (pairs - 1) // 2, pairs // 2, pairs - 1 - rank))
    return left if left == right else (left + right) / 2, low, high, coverage


def _pairwise(above: Sequence[float], below: Sequence[float], ranks: Sequence[int]) -> list[float]:
    """The ratios of ``ranks`` (from 0) among all ``a / b``, the smallest first."""
    pairs = len(above) * len(below)
    if pairs <= FEW_PAIRS:
        ratios = sorted(a / b for a in above for b in below)
        return [ratios[rank] for rank in ranks]
    a, b = np.sort(np.asarray(above)), np.asarray(below)
    if pairs <= PAIRS_AT_ONCE:
        part = np.partition(np.divide.outer(a, b).ravel(), sorted(set(ranks)))
        return [float(part[rank]) for rank in ranks]
    return [_selected(a, b, rank) for rank in ranks]


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
