"""How long do the results of 500 machines take to merge and to render, and in how much memory?

    python -m benchmarks.studies.many_machines --machines 500 --preset headline

Makes result files of imaginary machines (every cell of the preset that a machine of its kind can run, six processes of
five samples, times that follow each machine's own speed), one tar.gz for each machine, and runs ``fffbench merge`` and
``fffbench report`` on them. The numbers are about this project's reading side; nothing in them is a measurement of a
kernel, and they go nowhere but to the terminal.
"""

import argparse
import json
import math
import os
import random
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from synthetic import run_json

from fffbench.implementations.registry import implementations
from fffbench.plan.blocks import by_block
from fffbench.plan.matrix import Axes, Names, cells, preset
from fffbench.plan.workload import Cell

THREADS = 16
Blocks = dict[str, list[Cell]]  # by the name of a block


def planned(name: str, device: str) -> Blocks:
    """The blocks of a preset on one device that its implementations say they can run, as lists of cell ids."""
    known = implementations()
    names = Names({n: i.family for n, i in known.items()}, {n: i.devices for n, i in known.items()})
    found = [c for c in cells(preset(name), Axes(), names, THREADS, THREADS // 2) if c.workload.device == device]
    return {
        block: [cell for cell in held if names.run_on(cell.implementation, device)]
        for block, held in by_block(found).items()
    }


def seconds_of(cell: Cell, speed: float) -> float:
    """A plausible time of one call: operations over a rate, and a microsecond."""
    work, shape = cell.workload, cell.workload.shape
    rows = shape.active if shape.is_tree and not cell.implementation.startswith("dense") else shape.n
    return 1e-6 + 4.0 * work.batch * shape.d * rows / (5e10 * speed * math.pow(work.threads, 0.8))


def pack(folder: Path, number: int, blocks: dict[str, Blocks], rng: random.Random) -> tuple[Path, int]:
    """One machine's results as a tar.gz."""
    device = "cuda" if number % 4 == 3 else "cpu"
    machine, speed = f"imaginary-{device}-m{number:04d}", rng.lognormvariate(0, 0.4) * (20 if device == "cuda" else 1)
    source = folder / "sources" / machine / "matrix" / machine
    source.mkdir(parents=True)
    cell_count = 0
    for index, held in enumerate(blocks[device].values()):
        run = f"synthetic-20260102-03{index:02d}00-{number:06x}"
        times = {cell.id: seconds_of(cell, speed) for cell in held}
        value = run_json(
            times,
            machine=machine,
            run=run,
            started=f"2026-01-02T03:{index:02d}:00Z",
            stable={"cpu": f"Imaginary {number}", "cores": str(THREADS), "os": "Linux"},
        )
        (source / f"{run}.json").write_text(json.dumps(value, separators=(",", ":")))
        cell_count += len(times)
    archive = folder / f"{machine}.tar.gz"
    with tarfile.open(archive, "w:gz", compresslevel=1) as out:
        out.add(source.parent, arcname="results/matrix")
    return archive, cell_count


def timed(*command: object) -> tuple[float, float, int]:
    """Wall seconds, peak memory in MB and lines of complaint of one command."""
    start = time.monotonic()
    with tempfile.TemporaryFile("w+") as said:
        whole = [sys.executable, "-m", "fffbench", *map(str, command)]
        process = subprocess.Popen(whole, stdout=subprocess.DEVNULL, stderr=said)
        _, status, used = os.wait4(process.pid, 0)
        said.seek(0)
        lines = said.read().splitlines()
    if status:
        sys.exit(f"fffbench {command[0]} ended with {status}: {lines[-1:]}")
    return time.monotonic() - start, used.ru_maxrss / 1024, len(lines)


def main() -> None:
    """Make, merge, render and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--machines", type=int, default=500)
    parser.add_argument("--preset", default="headline")
    parser.add_argument("--keep", type=Path, help="leave results and page in this folder")
    given = parser.parse_args()
    rng = random.Random(23)
    blocks = {device: planned(given.preset, device) for device in ("cpu", "cuda")}
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        packs = [pack(folder, number, blocks, rng) for number in range(given.machines)]
        results, archives = folder / "results", [archive for archive, _ in packs]
        files = list((folder / "sources").rglob("*.json"))
        size = sum(path.stat().st_size for path in files)
        packed = sum(path.stat().st_size for path in archives)
        print(
            f"{given.machines} machines, preset {given.preset}: {sum(n for _, n in packs)} cells in {len(files)} files"
        )
        print(f"{size / 1e6:.0f} MB, packed {packed / 1e6:.0f} MB", flush=True)
        steps = [
            ("merge", ("merge", *archives, "--results", results)),
            ("merge again", ("merge", *archives, "--results", results)),
            ("report", ("report", "--results", results, "--out", folder / "reports")),
        ]
        for name, command in steps:
            seconds, memory, left_out = timed(*command)
            print(f"{name}: {seconds:.1f} s, {memory:.0f} MB, {left_out} files left out", flush=True)
        page = folder / "reports" / "index.html"
        print(f"page: {page.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
