"""Could another layer be the baseline, had it been measured as thoroughly as the one that is?

A budget gives some dense layers one process where others get six, and a process on a small virtual machine can meet a
bad moment: on 2 cores of Zen 4 the fastest layer at batch 16384 once took 2.02 s instead of 1.03 s in its only process,
and a slower one became the baseline, which flatters FFF. So a layer with fewer processes than the baseline is judged by
the fastest process it ever had on that machine. Times of other runs only raise the doubt; no ratio is taken with them.

A layer that was never tried on a machine leaves no time there, so it is judged by other machines: where it is clearly
the fastest of one of them in the same cell, a machine without it has a baseline in doubt. On 16 cores of a Xeon the
layer written last took a third off the speed-up at large batches; a machine measured before it must not look better.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from fffbench.analysis.rows import Timed
from fffbench.plan.workload import Cell
from fffbench.results.record import FULL_PROCESSES, OUT_OF_BUDGET
from fffbench.results.store import Results
from fffbench.units import percent, seconds

Key = tuple[object, ...]
TELLING = 0.05  # faster by less than that elsewhere says nothing about here: processes of one cell differ by more


def doubt(chosen: Timed, rivals: Iterable[Timed]) -> str | None:
    """Which of ``rivals`` (layers that fit too, from any run on that machine) may be faster than ``chosen``, and why.

    Null where none with fewer processes in the run of ``chosen`` has ever been faster than its median. Other runs speak
    of layers of the same shape only: a wider one is no more than another run's stand-in for it.
    """
    record = chosen.record
    enough = min(FULL_PROCESSES, len(record.info.processes))
    fitting = [
        item
        for item in rivals
        if item.record.cell != record.cell
        and (item.record.run == record.run or item.record.cell.workload.shape == record.cell.workload.shape)
    ]
    here = {item.record.cell: len(item.record.info.processes) for item in fitting if item.record.run == record.run}
    thin = [item for item in fitting if here.get(item.record.cell, 0) < enough]
    fastest = min(thin, key=lambda item: min(item.medians), default=None)
    if fastest is None or min(fastest.medians) >= chosen.time.value:
        return None
    cell, run = fastest.record.cell, fastest.record.run
    count = here.get(cell, 0)
    measured = f"{count} process{'es' * (count != 1)}" if count else "no process"
    where = "" if run == record.run else f" in run {run}"
    return (
        f"{cell.implementation} may be the faster baseline: {measured} in this run, {seconds(min(fastest.medians))} "
        f"in its fastest{where}"
    )


class Untried:
    """Which dense layer beats, on another machine, all that were tried on this one in the same cell?"""

    def __init__(self, results: Results) -> None:
        """Read the dense times of every machine, and which layers a machine said it cannot run."""
        self._known: dict[tuple[str, Key], set[str]] = defaultdict(set)
        self._runs: dict[Key, dict[tuple[str, str], list[Timed]]] = defaultdict(lambda: defaultdict(list))
        for record in results.records:
            if record.info.family == "dense":
                key = _cell_of(record.cell)
                self._known[record.machine, key].add(record.cell.implementation)
                self._runs[key][record.machine, record.run].append(Timed(record))
        for item in results.skipped:
            if item.reason != OUT_OF_BUDGET:
                self._known[item.machine, _cell_of(item.cell)].add(item.cell.implementation)

    def doubt(self, chosen: Timed) -> str | None:
        """The reason why a layer other than ``chosen`` may be its machine's fastest, or null.

        Times are compared within a run; of a machine's runs the one with the most processes on both sides speaks.
        """
        machine, key = chosen.record.machine, _cell_of(chosen.record.cell)
        known = self._known[machine, key]
        said: dict[str, tuple[int, float, str]] = {}  # by machine: processes, share of the time, implementation
        for (other, _), items in sorted(self._runs[key].items()):
            tried = [item for item in items if item.record.cell.implementation in known]
            untried = [item for item in items if item.record.cell.implementation not in known]
            if tried and untried:
                best, rival = (min(side, key=lambda item: item.time.value) for side in (tried, untried))
                count = min(len(item.record.info.processes) for item in (best, rival))
                found = (count, rival.time.value / best.time.value, rival.record.cell.implementation)
                said[other] = max(said.get(other, found), found, key=lambda told: told[0])
        for other, (_, share, name) in said.items():
            if share < 1 - TELLING:
                return (
                    f"{name} may be the faster baseline: never measured here, and on {other} it takes "
                    f"{percent(share)} of the time of the fastest layer that was"
                )
        return None


def _cell_of(cell: Cell) -> Key:
    """What a dense layer's times on two machines share; threads are one or several."""
    work = cell.workload
    return work.shape, work.batch, work.dtype, work.device, work.threads > 1, cell.protocol
