"""Does our clock agree with torch.utils.benchmark?

Both time the same bound kernels in one process, hot (torch's timer rotates
nothing and evicts nothing), in many short turns whose order alternates. The
difference of a cell is the median over the turns of ours over theirs: a drift
of a shared machine meets both timers of a turn alike. Run as a module: prints
a table, exits 1 if a cell over 1 ms differs by more than 5 %.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from fffbench.implementations.registry import implementation
from fffbench.measure import cellrun, inputs
from fffbench.measure.clock import Effort, time_calls
from fffbench.plan import routing
from fffbench.plan.workload import Cell, Protocol, Shape, Workload
from fffbench.units import percent, seconds

ALLOWED = 0.05
TURNS = 40  # the median of 40 paired ratios of noise 10 % each is good to 2 %
TURN_SECONDS = 0.03  # short: two timers side by side see the same machine
SHORTEST = 1e-3  # below it, one reading of either timer is not worth 5 % on a shared machine

CELLS = tuple(
    Cell(name, Workload(Shape.tree(d, 1, levels), batch, threads=1), Protocol("hot", "kernel"))
    for name, d, levels, batch in (
        ("dense_linear", 768, 12, 4),
        ("dense_padded", 768, 12, 16),
        ("dense_tiled", 128, 8, 1024),
        ("dense_bmm", 768, 12, 2),
        ("cmm_gather_bmm", 768, 12, 64),
        ("fff_cpu", 768, 12, 1024),
        ("fff_cpu", 768, 12, 4096),
    )
)


@dataclass(frozen=True)
class Row:
    """One cell by both timers: medians in seconds per call, and the median of their paired ratios minus one."""

    cell: Cell
    ours: float
    theirs: float
    difference: float


def compare(cell: Cell) -> Row:
    """Time ``cell`` by both timers in short turns of alternating order."""
    from torch.utils.benchmark import Timer

    cellrun.set_threads(cell.workload.threads)
    pool = inputs.make_pool(cell, routing.make(cell.workload, cellrun.data_tokens(cell)))
    layer = implementation(cell.implementation).prepare(pool.weights, cell.workload)
    run = layer.bind(pool.x[0], pool.y[0])
    timer = Timer("run()", globals={"run": run}, num_threads=cell.workload.threads)
    calls = max(1, int(TURN_SECONDS / timer.timeit(3).median))
    ours, theirs = [], []
    for turn in range(TURNS):
        for ours_now in (turn % 2 == 0, turn % 2 == 1):
            if ours_now:
                ours.append(statistics.median(time_calls([run], Effort(TURN_SECONDS), None)))
            else:
                theirs.append(timer.timeit(calls).median)
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    return Row(cell, statistics.median(ours), statistics.median(theirs), ratio - 1)


def rows() -> Iterator[Row]:
    """Every cell of the comparison."""
    for cell in CELLS:
        if implementation(cell.implementation).unsupported(cell.workload) is None:
            yield compare(cell)


def main() -> int:
    """Print the table; 1 if a cell over 1 ms disagrees."""
    worst = 0.0
    for row in rows():
        counts = max(row.ours, row.theirs) > SHORTEST
        worst = max(worst, abs(row.difference) if counts else 0.0)
        print(
            f"{row.cell.implementation:<16} batch {row.cell.workload.batch:<6} ours {seconds(row.ours):>9}  "
            f"torch.utils.benchmark {seconds(row.theirs):>9}  {'+' if row.difference > 0 else '-'}"
            f"{percent(abs(row.difference))}{'' if counts else '  (under 1 ms, not judged)'}",
            flush=True,
        )
    print(f"largest difference over 1 ms: {percent(worst)}; allowed {percent(ALLOWED)}")
    return int(worst > ALLOWED)


if __name__ == "__main__":
    sys.exit(main())
