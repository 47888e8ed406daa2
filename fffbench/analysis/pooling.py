"""What will the next run give, after the runs there were?

A run has an effect of its own that no number of its processes averages out: the hour, the neighbours, the memory it
was given. So each run gives one observation (of a time or of a ratio of two sides interleaved in it, on a logarithm)
with the variance ``v`` that its processes leave in it, and between runs lies the spread ``t``. The value is the mean
weighted by ``1 / (t^2 + v)``; the interval says where the estimate of a next run will lie:

    mean -+ student(f + k - 1) * sqrt(phi * (t^2 + v_next + 1 / sum(weights)))

with ``k`` runs and ``v_next`` the mean of their ``v``. Two to eight runs of one pair say little of ``t``, so it is that
of the machine (``spread``), and the pair's own disagreement corrects it: ``phi = (f + q) / (f + k - 1)``, where ``q``
is the weighted sum of squares about the mean (Hartung and Knapp, Statistics in Medicine 20, 2001) and the machine's
spread weighs as much as ``f`` runs (the moderated variance of Smyth, Statistical Applications in Genetics 3, 2004).

Where several hosts measured, the host takes the run's place: what its runs agree on may be its own.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist, fmean
from typing import NamedTuple

from fffbench.results.medians import Unit

OWN, ALL, ASSUMED = "this machine", "all machines", "assumed"
RULE = (
    "A figure comes from all runs of the same timed sources in which both sides were interleaved, none picked: each "
    "run gives one value, and the figure is their weighted geometric mean. The 95 % interval says where the next run's "
    "value will lie. It holds the spread of fresh processes and that between runs; as two runs say little of the "
    "latter, it is taken from all comparisons that the machine measured more than once (where these are too few, from "
    "all machines) and corrected by how far the figure's own runs disagree. With one run the interval is wider, never "
    "absent. Where several hosts of one machine id measured, the host takes the place of the run."
)
PRIOR = 2  # processes' worth of what is known of the machine's processes beside those of a run


@dataclass(frozen=True, slots=True)
class Between:
    """The standard deviation of a logarithm between runs, how many runs that knowledge is worth, and whose it is."""

    deviation: float
    freedom: int
    known_from: str


@dataclass(frozen=True, slots=True)
class Spread:
    """What is known of runs on one device of a machine: of ratios, of times, of processes (a variance)."""

    ratio: Between
    time: Between
    process: float


# Of a machine without repeated comparisons in results without any: the medians over the committed machines are 0.024 of
# a ratio on CPUs and 0.003 on GPUs, and 0.08 and 0.006 between processes (``results/replication``); the wider counts.
UNKNOWN = Spread(Between(0.03, 4, ASSUMED), Between(0.06, 4, ASSUMED), 0.05**2)


class Observation(NamedTuple):
    """What one run says: a logarithm, the variance its processes leave in it, and the value itself."""

    value: float
    variance: float
    measured: float


class Pooled(NamedTuple):
    """A value with the interval of the next run's, and of how many runs or hosts."""

    value: float
    low: float
    high: float
    units: int


def observation(
    value: float, low: float, high: float, coverage: float, counts: tuple[int, ...], process: float
) -> Observation:
    """What a run says by its processes alone: an estimate, its interval of ``coverage``, and processes by side.

    The few processes of a run say little of their spread, so ``process``, the machine's, counts as ``PRIOR`` more.
    """
    freedom, share = _processes(counts)
    known = process * share
    if not freedom or coverage <= 0:
        return Observation(math.log(value), known, value)
    own = (math.log(high / low) / (2 * normal(coverage))) ** 2
    return Observation(math.log(value), (PRIOR * known + freedom * own) / (PRIOR + freedom), value)


@cache
def _processes(counts: tuple[int, ...]) -> tuple[int, float]:
    """The freedom of so many processes by side, and their share of the variance of one."""
    return sum(counts) - len(counts), sum(1 / count for count in counts)


def pool(found: Mapping[Unit, Observation], between: Between, level: float) -> Pooled:
    """The value over all units, and where the next unit's estimate lies with probability ``level``."""
    alone = len(found) < 2 or len({host for host, _ in found}) < 2
    seen = list(found.values()) if alone else _by_host(found)
    centre, half = predicted(seen, between, level)
    value = seen[0].measured if len(seen) == 1 else math.exp(centre)
    return Pooled(value, _exp(centre - half), _exp(centre + half), len(seen))


def predicted(seen: Sequence[Observation], between: Between, level: float) -> tuple[float, float]:
    """Centre and half width, on the logarithm."""
    run = between.deviation**2
    if len(seen) == 1:
        return seen[0].value, student(between.freedom, level) * math.sqrt(2 * (run + seen[0].variance))
    following = run + fmean(one.variance for one in seen)
    weights = [1 / (run + one.variance) if run + one.variance else math.inf for one in seen]
    if math.inf in weights:  # runs that know no spread at all: equal times throughout
        weights = [1.0 for _ in seen]
    total = math.fsum(weights)
    centre = math.fsum(weight * one.value for weight, one in zip(weights, seen, strict=True)) / total
    squares = math.fsum(weight * (one.value - centre) ** 2 for weight, one in zip(weights, seen, strict=True))
    freedom = between.freedom + len(seen) - 1
    scale = (between.freedom + squares) / freedom
    return centre, student(freedom, level) * math.sqrt(scale * (following + 1 / total))


def _by_host(found: Mapping[Unit, Observation]) -> list[Observation]:
    """The mean of each host's runs; more runs of one host make its processes' noise smaller, not its own effect."""
    hosts: dict[str, list[Observation]] = defaultdict(list)
    for (host, _), one in sorted(found.items()):
        hosts[host].append(one)
    return [mean([one.value for one in own], [one.variance for one in own]) for own in hosts.values()]


def mean(values: Sequence[float], variances: Sequence[float]) -> Observation:
    """The plain mean of logarithms as one observation."""
    centre = fmean(values)
    return Observation(centre, fmean(variances) / len(variances), math.exp(centre))


def apart(
    above: Sequence[Observation], below: Sequence[Observation], between: Between, level: float
) -> tuple[float, float]:
    """Centre and half width of a ratio whose sides were never in one run: each has the spread of times between runs."""
    (one, ours), (two, theirs) = (predicted(side, between, level) for side in (above, below))
    return one - two, math.hypot(ours, theirs)


def _exp(value: float) -> float:
    """Two runs that differ a hundredfold have an interval beyond what a float can hold."""
    return math.exp(max(-700.0, min(700.0, value)))


@cache
def normal(level: float) -> float:
    """Half the width of the normal ``level`` interval, in standard errors."""
    return NormalDist().inv_cdf((1 + level) / 2)


@cache
def student(freedom: int, level: float) -> float:
    """Half the width of Student's ``level`` interval, in standard errors."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + level) / 2))
