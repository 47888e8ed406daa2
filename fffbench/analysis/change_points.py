"""At which commits does the level of a series of times change? Binary segmentation by a permutation test.

Commits that are measured in a random order have no noise that carries over from one to the next: without a change any
order of the times is as likely as the one found. The statistic is the largest t of a difference of means of logarithms
over all places with ``MIN_COMMITS`` on either side; a change is there where at most ``LEVEL`` of the permutations reach
it, shared by the series that are looked at together (Bonferroni). Each part is then split in the same way. Fewer than
``FEWEST_TO_PERMUTE`` commits have too few orders to show anything: there normal noise takes the place of permutations,
since t has no unit. Of fewer than ``FEWEST_TOGETHER`` each series has the level to itself.

asv's own step detection allows for noise that carries over. Of slow-downs by 20 % planted in this project's own history
it found 57 of 128, this 106; among 5 commits with noise of 5 % it named a false step in 8 % of the series, this in 5 %,
and found 47 and 55 % of slow-downs by 20 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

MIN_COMMITS = 2  # on a level, for it to be one
THRESHOLD = 0.05  # a step changes the level by at least this share, as asv's own default has it
LEVEL = 0.05  # of naming any change in all series of a machine where there is none
PERMUTATIONS = 1999  # the least share they can show, 1 of 2000, is below LEVEL over ten series
# With 12, halves are 1 of 462 ways to part them. From there on a lone outlier beside an end has a t that normal noise
# does not reach, though it is as likely there as anywhere; below, its t is at most 2.9.
FEWEST_TO_PERMUTE = 12
FEWEST_TOGETHER = 8  # of so many a slow-down by 20 % is found in half of the cases at a level shared by 8 series
SEED = 1
MEANING = (
    f"A step is a level of at least {MIN_COMMITS} measured commits in a row that lies {THRESHOLD:.0%} or more off the "
    f"one before it, shown by a permutation test over the commits (over fewer than {FEWEST_TO_PERMUTE} by the same "
    f"statistic of normal noise), with a chance of {LEVEL:.0%} of any false step on a machine (of fewer than "
    f"{FEWEST_TOGETHER} commits: in each series)."
)
VALUES_AT_ONCE = 2**20  # of permutations: 8 MB


def changes(values: Sequence[float], series: int) -> list[int]:
    """Places in ``values`` at which a level begins that differs by the threshold; ``series`` are looked at together."""
    level = LEVEL / series if len(values) >= FEWEST_TOGETHER else LEVEL
    found = _split(np.log(np.asarray(values, dtype=np.float64)), 0, level)
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
    (seen,), (place,) = _largest(logs[None])
    place = int(place)
    if seen == 0 or not _are_levels(logs[:place], logs[place:]) or not _beyond_chance(seen, logs, level):
        return []
    return [*_split(logs[:place], start, level), start + place, *_split(logs[place:], start + place, level)]


def _are_levels(before: NDArray[np.float64], after: NDArray[np.float64]) -> bool:
    """Whether enough commits of each are nearer to its own median: one that is far off beside an end is no level."""
    middle = (np.median(before) + np.median(after)) / 2
    lower, upper = sorted((before, after), key=np.median)
    return bool(min((lower < middle).sum(), (upper > middle).sum()) >= MIN_COMMITS)


def _beyond_chance(seen: float, logs: NDArray[np.float64], level: float) -> bool:
    """Whether at most a share ``level`` of series without a change reach ``seen``; it ends once more have."""
    generator = np.random.default_rng(SEED)
    rows, reached = max(1, VALUES_AT_ONCE // len(logs)), 1
    for first in range(0, PERMUTATIONS, rows):
        shape = (min(rows, PERMUTATIONS - first), len(logs))
        if len(logs) >= FEWEST_TO_PERMUTE:
            unchanged = generator.permuted(np.broadcast_to(logs, shape), axis=1)
        else:
            unchanged = generator.standard_normal(shape)
        reached += int((_largest(unchanged)[0] >= seen * (1 - 1e-9)).sum())
        if reached > level * (PERMUTATIONS + 1):
            return False
    return True


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
