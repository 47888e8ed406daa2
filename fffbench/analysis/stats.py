"""How long does a call take, how many times faster is one than another, and how sure is that?

The fresh process is the unit, never the sample: samples of one process share
its memory layout and its neighbours, so a thousand of them say little more
than ten. Every interval is distribution-free.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import median

LEVEL = 0.95  # coverage asked of an interval
FULL_PROCESSES = 6  # 6 against 6 is where Mann-Whitney inversion no longer needs the full range for 95 %


@dataclass(frozen=True)
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


@cache
def _binomial_rank(count: int) -> tuple[int, float]:
    """Largest k with P(order statistics k+1 .. count-k cover the median) >= LEVEL, else 0; and that coverage."""
    tail = 0.0
    best, coverage = 0, 1 - 2 * 0.5**count
    for k in range(count // 2):
        tail += math.comb(count, k) * 0.5**count
        if 1 - 2 * tail < LEVEL:
            break
        best, coverage = k, 1 - 2 * tail
    return best, max(0.0, coverage)


def estimate_time(processes: Sequence[Sequence[float]]) -> Estimate:
    """The median over processes of their medians, with the sign-test interval over processes."""
    centres = sorted(process_medians(processes))
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

    U counts the pairs in which the first side is larger. The largest of all values is either on the first side
    (and beats all ``second``) or on the second: f(a, b, u) = f(a - 1, b, u - b) + f(a, b - 1, u).
    """
    if first == 0 or second == 0:
        return (1,)
    with_first = mann_whitney_counts(first - 1, second)
    with_second = mann_whitney_counts(first, second - 1)
    counts = [0] * (first * second + 1)
    for u, count in enumerate(with_first):
        counts[u + second] += count
    for u, count in enumerate(with_second):
        counts[u] += count
    return tuple(counts)


@cache
def mann_whitney_rank(first: int, second: int) -> tuple[int, float]:
    """Largest k for which the pairwise values k+1 .. mn-k cover the shift with at least LEVEL, else 0; its coverage.

    The shift lies below the (k+1)-th smallest pairwise value exactly when U <= k.
    """
    counts = mann_whitney_counts(first, second)
    total = math.comb(first + second, first)
    tail = 0
    best, coverage = 0, 1 - 2 * counts[0] / total
    for k in range((first * second) // 2):
        tail += counts[k]
        if 1 - 2 * tail / total < LEVEL:
            break
        best, coverage = k, 1 - 2 * tail / total
    return best, max(0.0, coverage)


def ratio(numerator: Sequence[Sequence[float]], denominator: Sequence[Sequence[float]]) -> Estimate:
    """How many times the denominator's time the numerator's is, from the samples of each by process."""
    return ratio_of_medians(process_medians(numerator), process_medians(denominator))


def ratio_of_medians(above: Sequence[float], below: Sequence[float]) -> Estimate:
    """The Hodges-Lehmann ratio of two sets of process medians.

    The estimate is the median of all pairwise ratios; the interval inverts the exact Mann-Whitney distribution
    (on logarithms, where a ratio is a shift). With too few processes for 95 % it is the full range, with its
    true coverage, and provisional.
    """
    ratios = sorted(a / b for a in above for b in below)
    rank, coverage = mann_whitney_rank(len(above), len(below))
    return Estimate(
        value=median(ratios),
        low=ratios[rank],
        high=ratios[-1 - rank],
        coverage=coverage,
        provisional=coverage < LEVEL or min(len(above), len(below)) < FULL_PROCESSES,
    )
