"""Is the fastest dense layer that was measured the fastest there is?

A layer that belongs in a cell and may be faster was *not tried* there, and makes the row provisional, where

* nothing is known of it: it has no record there, no run says why it cannot run, and no other machine has it beside the
  layers tried here;
* it was never measured here, and beside these layers it is the fastest of another machine by more than a tie;
* it was measured in too few processes to rule it out, and its fastest is faster by more than a tie (on 2 cores of Zen 4
  the fastest layer at batch 16384 once took 2.02 s instead of 1.03 s in its only process);
* no chain of runs connects it with the layer that it would replace.

Times are compared within runs (``relative``), never across.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from fffbench.analysis.evidence import one_record_per_cell
from fffbench.analysis.once import once
from fffbench.analysis.relative import NEARLY, TIE, Relative
from fffbench.analysis.rows import Speedup, Timed, Tried
from fffbench.analysis.thin import FULL_PROCESSES, counted, few
from fffbench.plan.candidates import candidates
from fffbench.plan.workload import Cell
from fffbench.problems.base import DENSE
from fffbench.results.record import OUT_OF_BUDGET
from fffbench.results.store import Results
from fffbench.units import percent

Key = tuple[object, ...]
Placed = tuple[str, tuple[tuple[str, float, int], ...]]  # a machine, and its layers: name, logarithm, chain of runs
RIVALS = (
    "Best dense says of how many layers it is the best, and which that belong there and may be faster were not tried: "
    f"never measured there, or in fewer than {FULL_PROCESSES} processes of which the fastest takes more than "
    f"{100 * TIE:g} % less time than the best layer. A layer never measured there is ruled out where another machine "
    f"has it beside the layers that were, and it is not faster by more than {100 * TIE:g} % there. Times are compared "
    "within a run or through a layer that both were measured beside, never across runs."
)


def tried_text(count: int, missing: Collection[str]) -> str:
    """``best of 5 tried``, and how many more belong there."""
    more = f", {len(missing)} not tried: {', '.join(missing)}" if missing else ""
    return f"best of {count} tried{more}"


def provisional(row: Speedup) -> str:
    """The word for thin evidence, with what is lacking (but of the layers that were not tried their count)."""
    said = "" if row.tried is None else tried_text(row.tried, row.not_measured)
    doubts = [part for part in (row.reason or "").split("; ") if part and part != said]
    lacking = "; ".join(filter(None, (few(row.runs, row.processes), *doubts)))
    return f"provisional: {lacking}" if lacking else "provisional"


class DenseTimes:
    """The dense times of every machine, each cell's on a scale of its own."""

    def __init__(self, *parts: Mapping[Key, Sequence[Placed]]) -> None:
        """Put what ``placed`` gives of machines together."""
        self._machines: dict[Key, list[Placed]] = defaultdict(list)
        # machines that tried the same layers ask the same; without this 500 machines take 500 times one machine's each
        self._known: dict[tuple[Key, frozenset[str]], dict[str, tuple[float, str]]] = {}
        for part in parts:
            for key, found in part.items():
                self._machines[key] += found

    def shares(self, key: Key, known: frozenset[str]) -> dict[str, tuple[float, str]]:
        """By layer not ``known``: the least share of the best known layer's time on a machine, and which machine."""
        if (key, known) not in self._known:
            self._known[key, known] = self._shares(key, known)
        return self._known[key, known]

    def _shares(self, key: Key, known: frozenset[str]) -> dict[str, tuple[float, str]]:
        least: dict[str, tuple[float, str]] = {}
        for machine, items in self._machines.get(key, ()):
            strangers = [item for item in items if item[0] not in known]
            if not strangers or len(strangers) == len(items):
                continue
            for name, own, part in strangers:
                times = [time for other, time, chain in items if chain == part and other in known]
                if times:
                    share = math.exp(own - min(times))
                    least[name] = min(least.get(name, (share, machine)), (share, machine))
        return least


def placed(results: Results) -> dict[Key, list[Placed]]:
    """The dense times in ``results`` by cell: of each machine the layers, with their places on its scale."""
    machines: dict[Key, dict[str, list[Timed]]] = defaultdict(lambda: defaultdict(list))
    for record in one_record_per_cell(results).records:
        if record.info.family == "dense":
            machines[_cell_of(record.cell)][record.machine].append(Timed(record))
    return {
        key: [(machine, _on_scale(items)) for machine, items in by_machine.items()]
        for key, by_machine in machines.items()
    }


def _on_scale(items: Sequence[Timed]) -> tuple[tuple[str, float, int], ...]:
    """Name, logarithm of the time and chain of runs of each of a machine's layers."""
    relative = Relative(items)
    return tuple(
        (item.record.cell.implementation, relative.own[item.record.id], relative.part[item.record.id]) for item in items
    )


@once
def dense_times(results: Results) -> DenseTimes:
    """Those of all machines in ``results``."""
    return DenseTimes(placed(results))


class Untried:
    """What do all results say of the dense layers that were not tried in a cell?"""

    def __init__(self, results: Results) -> None:
        """Read the dense times of every machine, and which layers said that they cannot run a cell."""
        self._dense = dense_times(results)
        self._unable: dict[Key, set[str]] = defaultdict(set)
        for item in results.skipped:
            if item.family == "dense" and item.reason != OUT_OF_BUDGET:
                self._unable[item.machine, *_cell_of(item.cell)].add(item.cell.implementation)

    def judge(self, chosen: Timed, tried: Sequence[Timed], relative: Relative) -> tuple[Tried, str | None]:
        """How ``chosen`` was found, and which layers may be faster, or None; ``relative`` has the times of all tried.

        ``tried`` are the layers of its own data type.
        """
        record = chosen.record
        key = _cell_of(record.cell)
        unsure = _unsure(chosen, tried, relative)
        known = {item.record.cell.implementation for item in tried}
        work = record.cell.workload
        plain = work.shape.seen_by(DENSE).kind == DENSE  # the candidates are layers of that kind
        belong = candidates(work.device, work.dtype, work.batch) if plain else ()
        unable = self._unable[record.machine, *key]
        shares = self._dense.shares(key, frozenset(known))
        faster = {name: found for name, found in shares.items() if found[0] < 1 - TIE and name not in unable}
        asked = set(belong) - known - unable
        missing = tuple(sorted(asked.difference(shares) | asked.intersection(faster) | unsure.keys()))
        found = Tried(len(known), missing)
        if not missing and not faster:
            return found, None
        reasons = [tried_text(found.count, found.missing)] if missing else []
        reasons += [f"{name} {why}" for name, why in sorted(unsure.items())]
        reasons += [
            f"{name} was never measured here, and on {machine} it takes {percent(share)} of the time of the fastest "
            "layer that was"
            for name, (share, machine) in sorted(faster.items())
        ]
        return found, "; ".join(reasons)


def _unsure(chosen: Timed, tried: Sequence[Timed], relative: Relative) -> dict[str, str]:
    """Layers that were measured and cannot be ruled out, with why."""
    enough = min(FULL_PROCESSES, len(chosen.medians))
    if relative.connected and all(len(item.medians) >= enough for item in tried):
        return {}
    limit = relative.own[chosen.id] + NEARLY
    name = chosen.record.cell.implementation
    connected = relative.beside(chosen, tried)
    names = {item.record.cell.implementation for item in (*connected, chosen)}
    apart = {item.record.cell.implementation for item in tried} - names
    found = dict.fromkeys(apart, f"was never measured in a run with {name}")
    fullest: dict[tuple[str, int], Timed] = {}  # a wider layer of the same name is no other layer
    for item in connected:
        key = item.record.cell.implementation, item.record.cell.workload.threads
        fullest[key] = max(fullest.get(key, item), item, key=lambda one: len(one.medians))
    for (other, _), item in fullest.items():
        if other != name and len(item.medians) < enough and relative.best_process(item) < limit:
            found[other] = f"has {counted(len(item.medians))}, the fastest of which is faster than {name}"
    return found


def _cell_of(cell: Cell) -> Key:
    """What a dense layer's times on two machines share; threads are one or several."""
    shape, *_, batch, dtype, _, threads, cache, call = cell.columns
    return shape, batch, dtype, cell.workload.device, threads > 1, cache, call
