"""Could another layer be the baseline, had it been measured as thoroughly as the one that is?

A budget gives some dense layers one process where others get six, and a process on a small virtual machine can meet a
bad moment: on 2 cores of Zen 4 the fastest layer at batch 16384 once took 2.02 s instead of 1.03 s in its only process,
and a slower one became the baseline, which flatters FFF. So a layer with fewer processes than the baseline is judged by
the fastest process it ever had on that machine. Times of other runs only raise the doubt; no ratio is taken with them.
"""

from __future__ import annotations

from collections.abc import Iterable

from fffbench.analysis.rows import Timed
from fffbench.results.record import FULL_PROCESSES
from fffbench.units import seconds


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
