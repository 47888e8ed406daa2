"""Does our clock agree with others, on the CPU with torch.utils.benchmark, on a GPU with Triton's and CUPTI?

``python -m benchmarks.studies.agreement [--device cuda] [--out results/agreement/MACHINE.json]`` prints a table, writes
it where asked, and exits 1 if a cell that counts differs by more than 5 %. Both
clocks time the same bound kernels in one process, hot (torch's timer rotates
nothing and evicts nothing), in many short turns whose order alternates. The
difference of a cell is the median over the turns of ours over theirs: a drift
of a shared machine affects both timers of a turn alike. ``agreement_gpu`` says how it is on a GPU.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.studies import agreement_gpu
from benchmarks.studies.agreement_gpu import Reading
from fffbench.devices import HOST, cuda
from fffbench.devices.clock import Effort, time_calls
from fffbench.errors import UserError
from fffbench.implementations.registry import implementation
from fffbench.measure import cellrun, environment, fingerprint, inputs, lock
from fffbench.plan.workload import Cell, Protocol, Shape, Workload, parse_cell
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

    cell.workload.place.configure(cell.workload.dtype, cell.workload.threads)
    pool = inputs.make_pool(cell, cell.workload.draw(cellrun.data_tokens(cell)))
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


def by_torch() -> Iterator[Reading]:
    """The rows as readings of the clock called ``torch.utils.benchmark``."""
    for row in rows():
        yield Reading(row.cell.id, "torch.utils.benchmark", row.ours, row.theirs, row.difference)


def write(path: Path, device: str, taken: list[Reading], worst: float) -> None:
    """The committed table: machine (never its name), what was allowed, every reading."""
    facts = fingerprint.stable()
    table = {
        "machine": fingerprint.machine_id(facts),
        "facts": facts,
        "observed": fingerprint.observed(),
        "device": device,
        "allowed": ALLOWED,
        "largest": worst if taken else None,
        "readings": [asdict(reading) for reading in taken],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


def table(written: dict[str, Any]) -> str:
    """What ``write`` wrote, as a Markdown table."""
    lines = ["| cell | other clock | ours | theirs | difference |", "|---|---|--:|--:|--:|"]
    lines += [
        f"| `{row['cell']}` | {row['clock']} | {seconds(row['ours'])} | {seconds(row['theirs'])} | "
        f"{100 * row['difference']:+.2f} % |"
        for row in written["readings"]
    ]
    return "\n".join(lines)


def counts(reading: Reading) -> bool:
    """Whether the cell is long enough to be judged: on the GPU all are."""
    return not parse_cell(reading.cell).workload.place.host_memory or max(reading.ours, reading.theirs) > SHORTEST


def main(arguments: list[str] | None = None) -> int:
    """Print the table; 1 if a cell that counts disagrees, or if there was none."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--device", choices=(HOST, cuda.NAME), default=HOST)
    parser.add_argument("--out", type=Path, help="write the table here, as JSON")
    parser.add_argument("--table", type=Path, metavar="FILE", help="compare nothing; print this file as Markdown")
    chosen = parser.parse_args(arguments)
    if chosen.table is not None:
        print(table(json.loads(chosen.table.read_text(encoding="utf-8"))))
        return 0
    if chosen.device == cuda.NAME and not cuda.gpu_names():
        print("no NVIDIA GPU here: nothing to compare")
        return 0
    try:
        environment.clean()
        with lock.machine(f"fffbench agreement --device {chosen.device}"):
            return _measure(chosen.device, chosen.out)
    except UserError as error:  # somebody measures already
        print(f"fffbench: {error}", file=sys.stderr)
        return 2


def _measure(device: str, out: Path | None) -> int:
    taken = []
    for reading in agreement_gpu.readings() if device == cuda.NAME else by_torch():
        taken.append(reading)
        print(
            f"{reading.cell:<72} ours {seconds(reading.ours):>9}  {reading.clock} {seconds(reading.theirs):>9}  "
            f"{'+' if reading.difference > 0 else '-'}{percent(abs(reading.difference))}"
            f"{'' if counts(reading) else '  (under 1 ms, not judged)'}",
            flush=True,
        )
    judged = [abs(reading.difference) for reading in taken if counts(reading)]
    worst = max(judged, default=float("inf"))
    print(f"largest difference that counts: {percent(worst) if judged else 'none'}; allowed {percent(ALLOWED)}")
    if out is not None:
        write(out, device, taken, worst)
    return int(worst > ALLOWED)


if __name__ == "__main__":
    sys.exit(main())
