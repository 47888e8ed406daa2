"""At which commits does the level of a series of times change? Binary segmentation by a permutation test.

asv's own detection allows for noise that carries over from one commit to the next, and sees little in some twenty
commits. Commits that were measured in a random order have no such noise: without a change any order of the times is as
likely as the one found. The statistic is the largest t of a difference of means of logarithms over all places with
``MIN_COMMITS`` on either side; a change is there where at most ``LEVEL`` of the permutations reach it, shared by the
series that are looked at together (Bonferroni). Each part is then split in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fffbench.analysis.history import MIN_COMMITS, THRESHOLD

LEVEL = 0.05  # of naming any change in all series of a machine where there is none
PERMUTATIONS = 1999  # the least share they can show, 1 of 2000, is below LEVEL over ten series
SEED = 1


def changes(values: Sequence[float], series: int) -> list[int]:
    """Places in ``values`` at which a level begins that differs by the threshold; ``series`` are looked at together."""
    found = _split(np.log(np.asarray(values, dtype=np.float64)), 0, LEVEL / series)
    while found:
        ends = [0, *found, len(values)]
        levels = [float(np.median(values[one:two])) for one, two in pairwise(ends)]
        apart = [max(one, two) / min(one, two) - 1 for one, two in pairwise(levels)]
        least = int(np.argmin(apart))
        if apart[least] >= THRESHOLD:
            break
        del found[least]
    return found


def _split(logs: NDArray[np.float64], start: int, level: float) -> list[int]:
    if len(logs) < 2 * MIN_COMMITS:
        return []
    generator = np.random.default_rng(SEED)
    shuffled = generator.permuted(np.tile(logs, (PERMUTATIONS, 1)), axis=1)
    (seen,), (place,) = _largest(logs[None])
    reached = (_largest(shuffled)[0] >= seen * (1 - 1e-9)).sum() + 1
    if reached / (PERMUTATIONS + 1) > level or seen == 0:
        return []
    place = int(place)
    return [*_split(logs[:place], start, level), start + place, *_split(logs[place:], start + place, level)]


def _largest(logs: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """The largest t of each row, and the place of its split."""
    count = logs.shape[1]
    before = np.arange(MIN_COMMITS, count - MIN_COMMITS + 1)
    centred = logs - logs.mean(axis=1, keepdims=True)
    sums = np.cumsum(centred, axis=1)[:, before - 1]
    between = sums**2 * (1 / before + 1 / (count - before))  # of the squares about the mean, what the split explains
    total = (centred**2).sum(axis=1, keepdims=True)
    t = between / np.maximum(total - between, 1e-12 * total + 1e-300)  # grows with t squared
    best = t.argmax(axis=1)
    return t[np.arange(len(t)), best], before[best]
