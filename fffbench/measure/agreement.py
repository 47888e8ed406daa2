"""Does our clock agree with torch.utils.benchmark?

Both time the same bound kernels in one process, in turns, hot (torch's timer
rotates nothing and evicts nothing). Run as a module: prints a table, exits 1
if a cell over 1 ms differs by more than 5 %.
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
TURNS = 7  # the median of seven alternating turns each: a slow moment of a shared machine hits both or is outvoted
TURN_SECONDS = 0.4
SHORTEST = 1e-3  # below it, one reading of either timer is not worth 5 % on a shared machine

CELLS = tuple(
    Cell(name, Workload(Shape.tree(768, 1, 12), batch, threads=1), Protocol("hot", "kernel"))
    for name, batch in (
        ("dense_linear", 16),
        ("dense_padded", 64),
        ("dense_tiled", 1024),
        ("dense_bmm", 2),
        ("cmm_gather_bmm", 64),
        ("fff_cpu", 4096),
        ("fff_cpu", 16384),
    )
)


@dataclass(frozen=True)
class Row:
    """One cell by both timers, seconds per call."""

    cell: Cell
    ours: float
    theirs: float

    @property
    def difference(self) -> float:
        """Ours over theirs, minus one."""
        return self.ours / self.theirs - 1


def compare(cell: Cell) -> Row:
    """Time ``cell`` by both timers in alternating turns; the medians over the turns."""
    from torch.utils.benchmark import Timer

    cellrun.set_threads(cell.workload.threads)
    pool = inputs.make_pool(cell, routing.make(cell.workload, cellrun.data_tokens(cell)))
    layer = implementation(cell.implementation).prepare(pool.weights, cell.workload)
    run = layer.bind(pool.x[0], pool.y[0])
    timer = Timer("run()", globals={"run": run}, num_threads=cell.workload.threads)
    ours, theirs = [], []
    for _ in range(TURNS):
        ours.append(statistics.median(time_calls([run], Effort(TURN_SECONDS), None)))
        theirs.append(timer.blocked_autorange(min_run_time=TURN_SECONDS).median)
    return Row(cell, statistics.median(ours), statistics.median(theirs))


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
