"""Which of several layers is the fastest, where not all were measured in the same runs?

Absolute times of different runs are never compared: a run has an effect of its own, and a slow hour would choose the
layer. Times are compared within a run, or through a third layer that both were measured beside: on logarithms, each
time is the layer's own part plus its run's part, fitted by least squares over all runs of a place (weights are
processes). Two things are compared by the times of their own runs all the same, because to leave one out would lose the
faster and flatter whatever is compared with the rest: numbers of threads of one layer that were measured apart, and a
layer that no chain of runs connects but whose time is less by more than a tie. No run has both sides of such a ratio,
so it is provisional, and its interval is that of times of different runs.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from statistics import median

import numpy as np

from fffbench.analysis.rows import Timed
from fffbench.analysis.thin import FULL_PROCESSES, FULL_RUNS
from fffbench.results.medians import Unit

TIE = 0.05  # of the time: nearer to each other than this, two layers are equals; processes of one cell differ by more
NEARLY = math.log(1 - TIE)


class Relative:
    """Layers of one place on one scale: ``own`` has the logarithm of each by record, ``part`` of which chain it is.

    They are ``connected`` where there is one chain.
    """

    def __init__(self, items: Iterable[Timed]) -> None:
        """Fit the parts of layers and runs."""
        items = list(items)
        self.own: dict[str, float] = {}
        self.part: dict[str, int] = {}
        self._runs: dict[Unit, float] = {}
        units = {unit for item in items for unit in item.medians.units}
        if len(units) == 1:  # most places of most machines
            self._runs = dict.fromkeys(units, 0.0)
            self.own = {item.id: math.log(median(item.medians)) for item in items}
            self.part = dict.fromkeys(self.own, 0)
        else:
            for number, chain in enumerate(_chains(items)):
                self._fit(chain, number)
        self._order = {item.id: (self.own[item.id], _name(item)) for item in items}
        self.connected = len(set(self.part.values())) < 2

    def _fit(self, chain: Sequence[Timed], number: int) -> None:
        units = sorted({unit for item in chain for unit in item.medians.units})
        column = {unit: len(chain) + index for index, unit in enumerate(units)}
        seen = [(row, unit, own) for row, item in enumerate(chain) for unit, own in sorted(item.medians.units.items())]
        matrix, values = np.zeros((len(seen), len(chain) + len(units))), np.zeros(len(seen))
        for index, (row, unit, own) in enumerate(seen):
            weight = math.sqrt(min(len(own), FULL_PROCESSES))
            matrix[index, row] = matrix[index, column[unit]] = weight
            values[index] = weight * math.log(median(own))
        solved = np.linalg.lstsq(matrix, values, rcond=None)[0]
        hour = float(np.mean(solved[len(chain) :]))  # the usual one: of two chains each has its own
        self._runs |= {unit: float(solved[column[unit]]) - hour for unit in units}
        for row, item in enumerate(chain):
            self.own[item.id], self.part[item.id] = float(solved[row]) + hour, number

    def best_process(self, item: Timed) -> float:
        """The fastest process of ``item``, on the scale of ``own``."""
        return min(math.log(min(own)) - self._runs[unit] for unit, own in item.medians.units.items())

    def beside(self, item: Timed, items: Iterable[Timed]) -> list[Timed]:
        """Which of ``items`` can be compared with ``item``."""
        if self.connected:
            return list(items)
        part = self.part[item.id]
        return [other for other in items if self.part[other.id] == part]

    def fastest(self, items: Sequence[Timed], anchor: Timed | None = None) -> Timed:
        """The fastest, or a tie's fastest with more evidence: a lucky process may have made one that has little.

        Of those that can be compared with ``anchor``; where none can, of the chain with the most processes.
        """
        found = self.beside(anchor, items) if anchor is not None else []
        if not found:
            chains: dict[int, list[Timed]] = defaultdict(list)
            for item in items:
                chains[self.part[item.id]].append(item)
            found = max(chains.values(), key=lambda chain: (sum(len(item.medians) for item in chain), _name(chain[0])))
        if len(found) < len(items):
            names = {item.record.cell.implementation for item in found}
            counts = {item.record.cell.workload.threads for item in found}
            found = [*found, *(item for item in items if _another_count(item, names, counts))]
        own, order = self.own, self._order
        best = min(found, key=lambda item: order[item.id])
        if len(found) < len(items):
            limit = own[best.id] + NEARLY
            near = {item.id for item in found}
            apart = [item for item in items if item.id not in near and own[item.id] < limit]
            if apart:
                return min(apart, key=lambda item: order[item.id])
        enough = best.amount
        if enough == (FULL_PROCESSES, FULL_RUNS):
            return best
        limit = own[best.id] - NEARLY
        more = [item for item in found if item.amount > enough and own[item.id] <= limit]
        return min(more, key=lambda item: (*(-part for part in item.amount), *order[item.id]), default=best)


def fastest(items: Sequence[Timed]) -> Timed:
    """The fastest of ``items``, by the runs that they have in common."""
    return items[0] if len(items) == 1 else Relative(items).fastest(items)


def _another_count(item: Timed, names: Collection[str], counts: Collection[int]) -> bool:
    """Whether ``item`` is one of the layers ``names`` on a number of threads that is not among ``counts``."""
    cell = item.record.cell
    return cell.implementation in names and cell.workload.threads not in counts


def _name(item: Timed) -> str:
    return item.record.cell.id


def _chains(items: Sequence[Timed]) -> list[list[Timed]]:
    """``items`` by which of them a chain of runs connects, in a fixed order."""
    chains: list[tuple[set[Unit], list[Timed]]] = []
    for item in sorted(items, key=lambda item: (item.record.machine, _name(item))):
        units, members = set(item.medians.units), [item]
        apart = []
        for chain in chains:
            if units & chain[0]:
                units |= chain[0]
                members = chain[1] + members
            else:
                apart.append(chain)
        chains = [*apart, (units, members)]
    return [sorted(members, key=_name) for _, members in chains]
