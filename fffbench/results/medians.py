"""What is one number per fresh process, and in which run and on which host was each process?

A machine id stands for a kind of machine; two hosts of it have the same id. Which host measured is an anonymous word of
the record (never its name), empty where nobody knows; processes of unknown hosts count as those of one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from statistics import median

import numpy as np

Unit = tuple[str, str]  # host and run: what the processes of one record have in common


class Medians(tuple[float, ...]):  # noqa: SLOT001 - a tuple with attributes cannot have slots
    """The median of each process, in seconds, with the ``units`` they were measured in.

    ``spread`` is what is known of runs of that machine (``analysis.spread``); without it the processes stand alone.
    """

    units: Mapping[Unit, tuple[float, ...]]
    spread: object = None
    # what ``analysis.stats`` made of them, which a report asks for again and again: their time, and their ratio over
    # others by the address of those, which stand beside it so that the address stays theirs
    estimate: object = None
    ratios: dict[int, tuple[Medians, object]] | None = None

    @classmethod
    def of(cls, processes: Iterable[Sequence[float]], hosts: Sequence[str] = (), run: str = "") -> Medians:
        """The medians of samples by process of one run; ``hosts`` names the host of each process, or nothing."""
        return cls.on(map(median, processes), hosts, run)

    @classmethod
    def on(cls, medians: Iterable[float], hosts: Sequence[str], run: str = "") -> Medians:
        """``medians`` of processes of one ``run`` on ``hosts``."""
        found = cls(medians)
        if len(set(hosts)) < 2:
            found.units = {(hosts[0] if hosts else "", run): tuple(found)}
            return found
        units: dict[Unit, list[float]] = {}
        for value, host in zip(found, hosts, strict=True):
            units.setdefault((host, run), []).append(value)
        found.units = {unit: tuple(values) for unit, values in units.items()}
        return found

    @classmethod
    def together(cls, parts: Sequence[Medians], spread: object) -> Medians:
        """The processes of several runs, or of one with what is known of runs of its machine."""
        found = cls(parts[0]) if len(parts) == 1 else cls(chain.from_iterable(parts))
        found.units = parts[0].units
        if len(parts) > 1:
            found.units = {unit: values for part in parts for unit, values in part.units.items()}
        found.spread = spread
        return found

    @property
    def hosts(self) -> frozenset[str]:
        """The hosts that measured."""
        return frozenset(host for host, _ in self.units)


def middles(every: Sequence[Sequence[float]]) -> list[float]:
    """The median of each, computed for all of a length at once, in a fifth of the time of as many calls."""
    found = [0.0] * len(every)
    places: dict[int, list[int]] = defaultdict(list)
    for place, values in enumerate(every):
        places[len(values)].append(place)
    for count, own in places.items():
        flat = np.fromiter(chain.from_iterable(every[place] for place in own), np.float64, count * len(own))
        ordered = np.sort(flat.reshape(len(own), count), axis=1)
        left, right = ordered[:, (count - 1) // 2], ordered[:, count // 2]
        for place, value in zip(own, np.where(left == right, left, (left + right) / 2).tolist(), strict=True):
            found[place] = value
    return found


def beside(above: Medians, below: Medians) -> list[Unit]:
    """The units that hold processes of both sides, in a fixed order; empty where the sides never met in a run."""
    if len(above.units) == len(below.units) == 1:  # most comparisons, by far
        return list(above.units) if above.units.keys() == below.units.keys() else []
    return sorted(above.units.keys() & below.units.keys())
