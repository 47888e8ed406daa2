"""How long do the results of 500 machines take to merge and to render, and in how much memory?

    python -m benchmarks.studies.many_machines --machines 500 --preset headline --write
    python -m benchmarks.studies.many_machines --guide            # write the guide's figures; --check compares them

Makes result files of imaginary machines (every cell of the presets that a machine of its kind can run, six processes of
five samples, times that follow each machine's own speed; a tenth of them without a time), one tar.gz for each machine,
and runs ``fffbench merge`` and ``fffbench report`` on them. The numbers are about this project's reading side; nothing
in them is a measurement of a kernel. ``--write`` keeps them in ``results/many-machines/``, from where the guide has
its figures.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import random
import re
import subprocess
import sys
import tarfile
import tempfile
import textwrap
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
import psutil
from synthetic import run_json

from fffbench.implementations.registry import implementations
from fffbench.plan.blocks import by_block
from fffbench.plan.matrix import Axes, Names, cells, preset
from fffbench.plan.workload import Cell
from fffbench.results.record import OUT_OF_BUDGET
from fffbench.units import number

SAMPLE = 0.5  # seconds between two looks at the memory of a command
THREADS = 16
SKIPPED = 10  # every tenth cell of a machine has no time
ROOT = Path(__file__).parents[2]
KEPT = ROOT / "results" / "many-machines"
GUIDE = ROOT / "docs" / "guide" / "fleet.md"
BLOCK = re.compile(r"(<!-- many-machines:begin[^\n]*-->\n)(.*?)(<!-- many-machines:end -->)", re.DOTALL)


def planned(names: str, device: str) -> list[Cell]:
    """The cells of presets (joined by commas) on one device that their implementations say they can run."""
    known = implementations()
    of = Names(*({n: getattr(i, what) for n, i in known.items()} for what in ("family", "devices", "kinds")))
    found = (cell for name in names.split(",") for cell in cells(preset(name), Axes(), of, THREADS, THREADS // 2))
    there = (
        cell for cell in found if cell.workload.device == device and of.computes(cell.implementation, cell.workload)
    )
    return list(dict.fromkeys(there))


def seconds_of(cell: Cell, speed: float) -> float:
    """A plausible time of one call: operations over a rate, and a microsecond."""
    work, shape = cell.workload, cell.workload.shape
    rows = shape.active if shape.is_tree and not cell.implementation.startswith("dense") else shape.n
    return 1e-6 + 4 * work.batch * shape.d * rows / (5e10 * speed * math.pow(work.threads, 0.8))


def templates(names: str) -> dict[str, list[dict[str, Any]]]:
    """For each device a result file for each block, of a machine of speed 1."""
    found: dict[str, list[dict[str, Any]]] = {}
    for device, speed in (("cpu", 1.0), ("cuda", 20.0)):
        found[device] = []
        for held in by_block(planned(names, device)).values():
            times = {cell.id: seconds_of(cell, speed) for cell in held}
            skipped = {name: OUT_OF_BUDGET for index, name in enumerate(times) if index % SKIPPED == SKIPPED - 1}
            measured = {name: time for name, time in times.items() if name not in skipped}
            found[device].append(run_json(measured, machine="imaginary", skipped=skipped))
    return found


def pack(folder: Path, index: int, files: list[dict[str, Any]], device: str, rng: random.Random) -> Path:
    """One machine's results as a tar.gz; ``files`` are changed in place, since copies would take most of the time."""
    machine, speed = f"imaginary-{device}-m{index:04d}", rng.lognormvariate(0, 0.4)
    source = folder / "sources" / machine / "matrix" / machine
    source.mkdir(parents=True)
    for block, value in enumerate(files):
        run = f"synthetic-20260102-03{block:02d}00-{index:06x}"
        value["fffbench"] |= {"run": run, "started": f"2026-01-02T03:{block:02d}:00Z"}
        value["fffbench"]["machine"] |= {
            "id": machine,
            "stable": {"cpu": f"Imaginary {index}", "cores": str(THREADS), "os": "Linux"},
        }
        text = dict(value, benchmarks=[_on(benchmark, speed, rng) for benchmark in value["benchmarks"]])
        (source / f"{run}.json").write_text(json.dumps(text, separators=(",", ":")))
    archive = folder / f"{machine}.tar.gz"
    with tarfile.open(archive, "w:gz", compresslevel=1) as out:
        out.add(source.parent, arcname="results/matrix")
    return archive


def _on(benchmark: dict[str, Any], speed: float, rng: random.Random) -> dict[str, Any]:
    """One cell on a machine of another speed, with a per cent of noise between its processes."""
    info = benchmark["extra_info"]["fffbench"]
    scale = [math.exp(rng.gauss(0, 0.01)) / speed for _ in info["processes"]]
    processes = [[sample * by for sample in own] for own, by in zip(info["processes"], scale, strict=True)]
    flat = [sample for own in processes for sample in own]
    return benchmark | {
        "extra_info": {"fffbench": info | {"processes": processes}},
        "stats": {"data": flat, "min": min(flat), "max": max(flat), "rounds": len(flat)},
    }


def timed(*command: object) -> dict[str, float]:
    """Wall and processor seconds, peak memory in MB, and files left out, of one command and all its processes."""
    start = time.monotonic()
    peak = 0.0
    with tempfile.TemporaryFile("w+") as said:
        whole = [sys.executable, "-m", "fffbench", *map(str, command)]
        process = subprocess.Popen(whole, stdout=subprocess.DEVNULL, stderr=said)
        while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
            peak = max(peak, _memory(process.pid))
            time.sleep(SAMPLE)
        _, status, used = ended
        wall = time.monotonic() - start
        said.seek(0)
        lines = [line for line in said.read().splitlines() if "left out" in line]
    if status:
        sys.exit(f"fffbench {command[0]} ended with {status}")
    return {
        "seconds": round(wall, 2),
        "processor seconds": round(used.ru_utime + used.ru_stime, 2),
        "memory MB": round(max(peak, used.ru_maxrss * 1024) / 1e6),
        "left out": len(lines),
    }


def _memory(pid: int) -> float:
    """Bytes that a process and those it started have now, what several share counted once."""
    found = 0.0
    try:
        command = psutil.Process(pid)
        for one in (command, *command.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                found += one.memory_full_info().pss
    except psutil.Error:
        return found
    return found


def study(machines: int, names: str, folder: Path) -> dict[str, Any]:
    """Make, merge and render; the figures, which are printed as they come."""
    rng = random.Random(23)
    files = templates(names)
    kinds = ["cuda" if index % 4 == 3 else "cpu" for index in range(machines)]
    archives = [pack(folder, index, files[kind], kind, rng) for index, kind in enumerate(kinds)]
    made = list((folder / "sources").rglob("*.json"))
    found: dict[str, Any] = {
        "machines": machines,
        "presets": names,
        "cells": sum(len(value["benchmarks"]) for kind in kinds for value in files[kind]),
        "skipped": sum(len(value["fffbench"]["skipped"]) for kind in kinds for value in files[kind]),
        "files": len(made),
        "bytes": sum(path.stat().st_size for path in made),
        "packed bytes": sum(path.stat().st_size for path in archives),
        "processor": _processor(),
    }
    print(json.dumps(found), flush=True)
    results = folder / "results"
    steps = {
        "merge": ("merge", *archives, "--results", results),
        "merge again": ("merge", *archives, "--results", results),
    }
    for step, command in steps.items():
        found[step] = timed(*command)
        print(step, json.dumps(found[step]), flush=True)
    return found | rendered(folder)


def rendered(folder: Path) -> dict[str, Any]:
    """Render the results in ``folder``; the figures of that."""
    found: dict[str, Any] = {}
    reports = folder / "reports"
    found["report"] = timed("report", "--results", folder / "results", "--out", reports)
    print("report", json.dumps(found["report"]), flush=True)
    found["pages"] = {path.name: path.stat().st_size for path in sorted(reports.glob("*.html"))}
    found["tables bytes"] = sum(path.stat().st_size for path in reports.glob("*.csv"))
    print(json.dumps(found["pages"]))
    return found


def _processor() -> str:
    from fffbench.measure import fingerprint

    return fingerprint.machine_id(fingerprint.stable())


def block(kept: Path) -> str:
    """The guide's figures: a table of every study in ``kept``, the largest first."""
    studies = sorted((json.loads(path.read_text()) for path in kept.glob("*.json")), key=lambda item: -item["cells"])
    head = "| machines, presets | cells, files | bytes, packed | merge | again | page and tables | memory | page |"
    lines = [head, "|" + "---|" * (head.count("|") - 1)]
    for item in studies:
        report = item["report"]
        pages = ", ".join(f"`{name}` {size / 1e6:.1f} MB" for name, size in item["pages"].items())
        complete = "" if not report["left out"] else f", {report['left out']} files left out"
        lines.append(
            f"| {item['machines']} x {item['presets'].replace(',', ', ')} | {item['cells']}, {item['files']} "
            f"| {item['bytes'] / 1e6:.0f} MB, {item['packed bytes'] / 1e6:.0f} MB | {_time(item['merge'])} "
            f"| {_time(item['merge again'])} | {_time(report)} | {report['memory MB']} MB{complete} | {pages} |"
        )
    on = ", ".join(sorted({item["processor"] for item in studies}))
    said = (
        f"Processor seconds of all processes on {on}, and in brackets those of the clock, on a machine that other "
        "programs used as well; memory is the most that all processes had together."
    )
    return "\n".join([*lines, "", *textwrap.wrap(said, 120), ""])


def _time(step: dict[str, float]) -> str:
    return f"{number(step['processor seconds'])} s ({number(step['seconds'])} s)"


def guided(text: str, kept: Path = KEPT) -> str:
    """The guide's ``text`` with the figures of the studies in ``kept``."""
    return BLOCK.sub(lambda found: found[1] + block(kept) + found[3], text)


def main() -> int:
    """Make, merge, render and print; or write the guide's figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--machines", type=int, default=500)
    parser.add_argument("--preset", default="headline", help="presets, joined by commas")
    parser.add_argument("--keep", type=Path, help="leave results and page in this folder")
    parser.add_argument("--again", type=Path, help="only render again what --keep left in this folder")
    parser.add_argument("--write", action="store_true", help="keep the figures in results/many-machines/")
    parser.add_argument("--guide", action="store_true", help="write the figures that are kept into docs/guide/fleet.md")
    parser.add_argument("--check", action="store_true", help="exit 1 where the guide has other figures")
    given = parser.parse_args()
    if given.guide or given.check:
        text = GUIDE.read_text(encoding="utf-8")
        stale = guided(text) != text
        if stale and given.check:
            print(f"{GUIDE.name} is stale: python -m benchmarks.studies.many_machines --guide")
            return 1
        GUIDE.write_text(guided(text), encoding="utf-8")
        return 0
    place = KEPT / f"{given.machines}-{given.preset.replace(',', '-')}.json"
    if given.again:
        found = json.loads(place.read_text()) | rendered(given.again)
    else:
        with tempfile.TemporaryDirectory() as temporary:
            found = study(given.machines, given.preset, given.keep or Path(temporary))
    if given.write:
        KEPT.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
