"""What did one run find: every cell's time, over the best dense layer and over the project's own kernel?

Both sides are of that run, on the same threads. The dense layers stand in it too, so that a reader sees what the best
of them is the best of.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from fffbench.analysis.evidence import interval, only
from fffbench.analysis.rows import Speedup, Timed
from fffbench.analysis.speedup import Found
from fffbench.analysis.stats import Estimate, ratio_of_medians
from fffbench.plan.workload import FAULTY
from fffbench.results.record import Record
from fffbench.results.store import Results


@dataclass(frozen=True)
class Measured:
    """One cell of the run: its row over the best dense layer, and its ratio over the project's kernel."""

    row: Speedup
    over_kernel: Estimate | None
    low: float | None
    high: float | None
    is_best_dense: bool


def measured(results: Results, run: str, over: str = "") -> list[Measured]:
    """The cells of ``run``, those of one work together, the fastest first; ``over`` replaces the project's kernel."""
    own = tuple(record for record in results.records if record.run == run and record.info.family != FAULTY)
    found = Found(only(results, own))
    items = {record.id: Timed(record) for record in found.results.records if record.info.family != FAULTY}
    kernels = {_work(item.record): item for item in items.values() if _is_kernel(item.record, over)}
    groups: dict[tuple[Any, ...], list[Measured]] = defaultdict(list)
    for item in items.values():
        [row] = [row for row in found.rows([item], "same") if row.baseline == "best-dense"]
        work = item.record.cell.workload
        shape, protocol = work.shape, item.record.cell.protocol
        place = (work.device, shape.d, shape.n, work.batch, work.dtype, work.threads, protocol)
        groups[place].append(_over_kernel(item, row, kernels.get(_work(item.record))))
    return [one for _, group in sorted(groups.items()) for one in sorted(group, key=lambda one: one.row.time or 0)]


def _over_kernel(item: Timed, row: Speedup, kernel: Timed | None) -> Measured:
    best = row.baseline_record == item.record.id
    if kernel is None or kernel.record.id == item.record.id:
        return Measured(row, None, None, None, best)
    gain = ratio_of_medians(kernel.medians, item.medians)
    low, high = interval(gain, kernel.medians, item.medians)
    return Measured(row, gain, low, high, best)


def _is_kernel(record: Record, over: str) -> bool:
    return record.cell.implementation == (over or record.cell.workload.place.kernel)


def _work(record: Record) -> object:
    """What a conditional cell shares with the project's kernel: all but the implementation."""
    return record.cell.workload, record.cell.protocol
