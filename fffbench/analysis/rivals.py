"""Is the fastest dense layer that was measured the fastest there is?

Three things can make it look better than it is, and each makes the row provisional with its reason:

* a rival with fewer than six processes: a process on a small virtual machine can meet a bad moment (on 2 cores of
  Zen 4 the fastest layer at batch 16384 once took 2.02 s instead of 1.03 s in its only process), so such a rival is
  judged by its fastest process;
* a rival that was never tried here and wins on another machine: there it is compared, within one run, with the
  layers that were tried here;
* a rival of which nothing is known: never tried here, nor beside these layers anywhere else.

A layer counts as tried once it has a record in the cell, as ruled out where its run says why it cannot run there, or
where on every other machine that has it beside the layers tried here it is not the fastest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable

from fffbench.analysis.rows import Speedup, Timed, Tried
from fffbench.plan.candidates import candidates
from fffbench.plan.workload import Cell
from fffbench.problems.base import DENSE
from fffbench.results.record import FULL_PROCESSES, OUT_OF_BUDGET
from fffbench.results.store import Results
from fffbench.units import percent, seconds

Key = tuple[object, ...]
TIE = 0.05  # of the time: nearer to each other than this, two layers are equals; processes of one cell differ by more
RIVALS = (
    "Best dense says of how many layers it is the best, and which that belong there were not measured. "
    f"A dense layer with fewer than {FULL_PROCESSES} processes makes the best one doubtful where its fastest process "
    f"takes more than {100 * TIE:g} % less time than the best layer's median; a layer never measured there does so "
    f"where on another machine it takes more than {100 * TIE:g} % less time than all that were, or where nothing is "
    "known of it."
)


def tried_text(count: int, missing: Collection[str]) -> str:
    """``best of 5 tried``, and how many more belong there."""
    more = f", {len(missing)} not measured: {', '.join(missing)}" if missing else ""
    return f"best of {count} tried{more}"


def provisional(row: Speedup) -> str:
    """The word for thin evidence, with the doubt about the baseline where there is one (but what stands before it)."""
    said = "" if row.tried is None else tried_text(row.tried, row.not_measured)
    doubts = [part for part in (row.reason or "").split("; ") if part and part != said]
    return f"provisional: {'; '.join(doubts)}" if doubts else "provisional"


def thin_rival(chosen: Timed, others: Iterable[Timed]) -> str | None:
    """Which of ``others``, measured in too few processes, may be faster than ``chosen``, and why; None if none."""
    cell = chosen.record.cell
    thin = [
        item
        for item in others
        if item.record.cell != cell and len(item.medians) < min(FULL_PROCESSES, len(chosen.medians))
    ]
    fastest = min(thin, key=lambda item: min(item.medians), default=None)
    if fastest is None or min(fastest.medians) >= (1 - TIE) * chosen.time.value:
        return None
    count, name = len(fastest.medians), fastest.record.cell.implementation
    threads = fastest.record.cell.workload.threads
    on = "" if threads == cell.workload.threads else f" on {threads} thread{'s' * (threads != 1)}"
    return (
        f"{name}{on} may be the faster baseline: {count} process{'es' * (count != 1)}, "
        f"{seconds(min(fastest.medians))} in its fastest"
    )


class Untried:
    """What do all results say of the dense layers that were not tried in a cell?"""

    def __init__(self, results: Results) -> None:
        """Read the dense times of every machine and run, and which layers said that they cannot run a cell."""
        self._runs: dict[Key, dict[tuple[str, str], list[Timed]]] = defaultdict(lambda: defaultdict(list))
        self._unable: dict[Key, set[str]] = defaultdict(set)
        # machines that tried the same layers ask the same; without this 500 machines take 500 times one machine's each
        self._known_shares: dict[tuple[Key, frozenset[str]], dict[str, tuple[float, str]]] = {}
        for record in results.records:
            if record.info.family == "dense":
                self._runs[_cell_of(record.cell)][record.machine, record.run].append(Timed(record))
        for item in results.skipped:
            if item.family == "dense" and item.reason != OUT_OF_BUDGET:
                self._unable[item.machine, *_cell_of(item.cell)].add(item.cell.implementation)

    def judge(self, chosen: Timed, tried: Iterable[Timed]) -> tuple[Tried, str | None]:
        """How ``chosen`` was found, and the reason why a layer that was not tried may be faster, or None."""
        record = chosen.record
        key = _cell_of(record.cell)
        known = {item.record.cell.implementation for item in tried}
        work = record.cell.workload
        plain = work.shape.seen_by(DENSE).kind == DENSE  # the candidates are layers of that kind
        belong = candidates(work.device, work.dtype, work.batch) if plain else ()
        asked = set(belong) - known - self._unable[record.machine, *key]
        asked_before = (key, frozenset(known))
        if asked_before not in self._known_shares:
            self._known_shares[asked_before] = self._shares(key, known)
        shares = self._known_shares[asked_before]
        faster = {name: found for name, found in shares.items() if found[0] < 1 - TIE}
        missing = tuple(sorted(asked.difference(shares) | asked.intersection(faster)))
        found = Tried(len(known), missing)
        reasons = [tried_text(found.count, found.missing)] if missing else []
        for name, (share, machine) in sorted(faster.items()):
            if name not in self._unable[record.machine, *key]:
                reasons.append(
                    f"{name} may be the faster baseline: never measured here, and on {machine} it takes "
                    f"{percent(share)} of the time of the fastest layer that was"
                )
        return found, "; ".join(reasons) or None

    def _shares(self, key: Key, known: set[str]) -> dict[str, tuple[float, str]]:
        """By layer not ``known``: the least share of the best known layer's time on another machine, and which.

        Times are compared within a run; of a machine's runs the one with the most processes on both sides speaks.
        """
        said: dict[tuple[str, str], tuple[int, float]] = {}  # by layer and machine: processes, share of the time
        for (other, _), items in sorted(self._runs[key].items()):
            best = min(
                (item for item in items if item.record.cell.implementation in known),
                key=lambda item: item.time.value,
                default=None,
            )
            if best is None:
                continue
            for item in items:
                name = item.record.cell.implementation
                if name not in known:
                    found = (min(len(item.medians), len(best.medians)), item.time.value / best.time.value)
                    said[name, other] = max(said.get((name, other), found), found, key=lambda known: known[0])
        least: dict[str, tuple[float, str]] = {}
        for (name, other), (_, share) in said.items():
            least[name] = min(least.get(name, (share, other)), (share, other))
        return least


def _cell_of(cell: Cell) -> Key:
    """What a dense layer's times on two machines share; threads are one or several."""
    work = cell.workload
    return work.shape, work.batch, work.dtype, work.device, work.threads > 1, cell.protocol
