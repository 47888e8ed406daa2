"""How sure is an estimate that rests on several hosts of equal hardware?

Hosts differ: in memory modules, cooling, firmware, neighbours. Six processes on each of two hosts are not twelve of one
kind, so the host is the unit: its own estimate, on a logarithm, is one observation, and the interval is Student's over
hosts. What the processes and runs of a host add to its estimate is in the spread between hosts already. Hosts that
agree by chance do not make it narrower than the noise of their processes allows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist, fmean, median, variance

RULE = (
    "Where several hosts of one machine id measured a cell, each host's own value is one observation (of a ratio, of "
    "the hosts that measured both sides): the value is their geometric mean, and the interval, Student's on "
    "logarithms, says where the mean over hosts like these lies. With two hosts it is wide, because two hosts tell "
    "little about a third."
)

Medians = Sequence[float]


@dataclass(frozen=True)
class OverHosts:
    """A value with its interval over ``hosts`` hosts, the least sure of which had ``processes`` processes."""

    value: float
    low: float
    high: float
    hosts: int
    processes: int


def time(medians: Mapping[str, Medians], level: float) -> OverHosts:
    """The time of a call from the process medians by host."""
    logs = [[math.log(value) for value in own] for own in medians.values()]
    found = [(median(own), _noise(own)) for own in logs]
    return _over(found, level, min(map(len, logs)))


def ratio(above: Mapping[str, Medians], below: Mapping[str, Medians], level: float) -> OverHosts:
    """How many times the time ``below`` the one ``above`` is: both sides of each host beside each other."""
    found, fewest = [], []
    for host in sorted(above.keys() & below.keys()):
        a, b = ([math.log(value) for value in side[host]] for side in (above, below))
        found.append((median(x - y for x in a for y in b), _noise(a) + _noise(b)))
        fewest.append(min(len(a), len(b)))
    return _over(found, level, min(fewest))


def _noise(logs: Sequence[float]) -> float:
    """The variance that a host's own processes leave in its estimate; 0 of one process, which says nothing of it."""
    return variance(logs) / len(logs) if len(logs) > 1 else 0.0


def _over(hosts: Sequence[tuple[float, float]], level: float, processes: int) -> OverHosts:
    values = [value for value, _ in hosts]
    centre, count = fmean(values), len(values)
    between = student(count - 1, level) * math.sqrt(variance(values) / count)
    within = NormalDist().inv_cdf((1 + level) / 2) * math.sqrt(fmean(noise for _, noise in hosts) / count)
    half = max(between, within)
    return OverHosts(math.exp(centre), _exp(centre - half), _exp(centre + half), count, processes)


def _exp(value: float) -> float:
    """Two hosts that differ a hundredfold have an interval beyond what a float can hold."""
    return math.exp(max(-700.0, min(700.0, value)))


@cache
def student(freedom: int, level: float) -> float:
    """Half the width of Student's ``level`` interval, in standard errors."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + level) / 2))
