"""The command that runs one cell alone under a profiler: ``profile``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fffbench.cli.shared import Levels, Threads, Trees, Width
from fffbench.errors import UserError
from fffbench.plan import options

if TYPE_CHECKING:
    from fffbench.plan.workload import Cell

EXIT_USAGE = 2


def profile(
    cell: Annotated[str, typer.Argument(metavar="CELL", help="a cell's id as results have it, or an implementation")],
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="-- COMMAND", help="the profiler: perf stat, ncu, nsys profile; nothing: without one"),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, max=options.MAX_BATCH, help="with an implementation")] = 128,
    d: Width = 768,
    levels: Levels = 12,
    trees: Trees = 1,
    dtype: Annotated[str, typer.Option()] = "fp32",
    device: Annotated[str | None, typer.Option(help="the implementation's first where not given")] = None,
    threads: Threads = 1,
    seconds: Annotated[
        float, typer.Option(min=0.01, max=600, callback=options.finite("--seconds"), help="of calls, at the least")
    ] = 3.0,
) -> None:
    """Run one cell alone in one process, under a profiler that sees its calls and not their preparation.

    `fffbench profile fff_cpu --batch 128 -- perf stat -e cycles,instructions`. perf's events are on during the calls
    only; for ncu add `--profile-from-start off`, for nsys `--capture-range=cudaProfilerApi`.
    """
    from fffbench.measure import lock

    chosen = _cell(cell, batch, (d, trees, levels), dtype, device, threads)
    own = [sys.executable, "-P", "-m", "fffbench.measure.alone", chosen.id, f"{seconds:g}"]
    tool = list(command or ())
    if tool and shutil.which(tool[0]) is None:
        raise UserError(f"no program {tool[0]!r} here; after -- stands a profiler: perf stat, ncu, nsys profile")
    with lock.machine(f"fffbench profile {chosen.implementation}"), tempfile.TemporaryDirectory() as scratch:
        environment = dict(os.environ)
        if tool and Path(tool[0]).name == "perf" and tool[1:2] and tool[1] in ("stat", "record"):
            control, acknowledged = (Path(scratch) / name for name in ("control", "acknowledged"))
            for fifo in (control, acknowledged):
                os.mkfifo(fifo)
            tool[2:2] = ["--delay=-1", f"--control=fifo:{control},{acknowledged}"]
            environment |= {"FFFBENCH_PERF_CONTROL": str(control), "FFFBENCH_PERF_ACK": str(acknowledged)}
        done = subprocess.run([*tool, *own], check=False, env=environment)
    if done.returncode != 0:
        raise typer.Exit(EXIT_USAGE if done.returncode < 0 else done.returncode)


def _cell(text: str, batch: int, shape: tuple[int, int, int], dtype: str, device: str | None, threads: int) -> Cell:
    """The cell called ``text``, or the one of the implementation ``text`` at a workload."""
    from fffbench.devices import device as device_of
    from fffbench.implementations import registry
    from fffbench.measure.fingerprint import usable_cores
    from fffbench.plan.workload import Cell, Protocol, Shape, Workload, parse_cell

    if "@" in text:
        found = parse_cell(text)
    else:
        place = device or registry.implementation(text).devices[0]
        counts = threads if device_of(place).threaded else 1
        work = Workload(Shape.tree(*shape), batch, dtype, threads=counts, device=place)
        found = Cell(text, work, Protocol("warm", "kernel"))
    chosen, work = registry.implementation(found.implementation), found.workload
    if device_of(work.device).threaded and work.threads > usable_cores():
        raise UserError(f"{found.id}: {work.threads} threads asked for; this machine allows 1 to {usable_cores()}")
    if (reason := chosen.unsupported(work)) is not None:
        raise UserError(f"{found.id}: {reason}")
    return found
