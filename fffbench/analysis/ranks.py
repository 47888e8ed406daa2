"""Which of the sorted values are the ends of an interval, and how much does it cover then?

Of a median by the sign test, of a shift between two sides by the exact Mann-Whitney distribution.
"""

from __future__ import annotations

import math
from functools import cache
from statistics import NormalDist

LEVEL = 0.95  # coverage asked of an interval

# What is exact and what approximate depends on the counts alone. Today's cells have 16 processes at most.
EXACT_COINS = 1000  # 2**-1075 is no float any more
EXACT_STEPS = 32**3  # of the exact distribution of U: 20 ms; 32 against 32
NORMAL_FROM = 10  # processes on the smaller side; with fewer the exact distribution is cheap, and far from normal


@cache
def binomial_rank(count: int) -> tuple[int, float]:
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
