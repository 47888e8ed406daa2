"""What had been measured, and is it still there?

A small real run is made once per campaign, killed at its first outcome, and filled up with copies of that outcome: a
complete journal, with which the same command exports without measuring.
"""

from __future__ import annotations

import fcntl
import json
import math
import shutil
import time
from pathlib import Path
from typing import Any

from tools.hostile import oracle
from tools.hostile.stage import Stage

# two cells, two processes: a run of some seconds
RUN = (
    "run", "--implementations", "fff_cpu,dense_linear", "--batches", "4", "--levels", "4", "--d", "32",
    "--threads", "1",
    "--seconds", "0.02", "--processes", "2", "--cache", "hot", "--call", "kernel", "--routing", "uniform",
)  # fmt: skip
COUNT = 4  # outcomes of it
WAIT_SECONDS = 60.0


def outcomes(text: str) -> list[dict[str, Any]]:
    """The outcomes among the lines of a journal; damaged lines do not count."""
    found = []
    for line in text.split("\n"):
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict) and isinstance(entry.get("outcome"), dict):
            found.append(entry["outcome"])
    return found


def held(results: Path) -> list[dict[str, Any]]:
    """The outcomes in all journals below ``results``."""
    return [one for path in sorted(results.glob("matrix/*/*.journal")) for one in outcomes(text_of(path))]


def good(results: Path) -> list[dict[str, Any]]:
    """The outcomes with a time among them."""
    return [one for one in held(results) if one.get("failure") is None and one.get("samples")]


def text_of(path: Path) -> str:
    """What a journal holds; nothing where it is gone or is no file."""
    try:
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    except OSError:
        return ""


def journal(stage: Stage) -> tuple[str, str, list[str]]:
    """Machine, file name and lines of the complete journal."""
    kept = stage.place.parent / "journal.json"
    with (stage.place.parent / "journal.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            kept.write_text(json.dumps(_made(stage)))
    machine, name, lines = json.loads(kept.read_text())
    return machine, name, lines


def _made(stage: Stage) -> tuple[str, str, list[str]]:
    results = stage.place / "template"
    process = stage.start(*RUN, "--results", str(results))
    deadline = time.monotonic() + WAIT_SECONDS
    while not good(results):
        if time.monotonic() > deadline or process.ended():
            raise RuntimeError(f"the small run gave nothing: {process.wait(0).said[-300:]}")
        time.sleep(0.02)
    process.send_all(9)
    process.wait()
    [path] = results.glob("matrix/*/*.journal")
    lines = [line for line in path.read_text().split("\n")[:-1] if line]
    # an outcome that failed in passing on a busy machine would be tried again by every case
    lines = [line for line in lines if (json.loads(line).get("outcome") or {}).get("failure") is None]
    header, first = json.loads(lines[0]), next(json.loads(line) for line in lines if "outcome" in json.loads(line))
    there = {(one["cell"], one["process"]) for one in outcomes("\n".join(lines))}
    for process_number in range(header["processes"]):
        for cell in header["cells"]:
            if (cell, process_number) not in there:
                samples = [value * (1 + 0.01 * len(lines)) for value in first["outcome"]["samples"]]
                outcome = first["outcome"] | {"cell": cell, "process": process_number, "samples": samples}
                lines.append(json.dumps({**first, "outcome": outcome}, separators=(",", ":")))
    shutil.rmtree(results)
    return path.parent.name, path.name, lines


def lay(stage: Stage, data: bytes | None = None, results: Path | None = None) -> Path:
    """Put the complete journal, or ``data`` in its place, where the small run finds it."""
    machine, name, lines = journal(stage)
    path = (results or stage.results) / "matrix" / machine / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(line + "\n" for line in lines).encode() if data is None else data)
    return path


def lost(results: Path, measured: list[dict[str, Any]]) -> list[str]:
    """Those of the ``measured`` outcomes whose samples are in no result file and in no journal any more."""
    kept: list[list[float]] = []
    for path in results.rglob("*"):
        if not path.is_file():
            continue
        if path.suffix == ".json":
            kept += _stored(path)
        else:
            kept += [one.get("samples") or [] for one in outcomes(text_of(path))]
    return [
        f"{one['cell']} process {one['process']}"
        for one in measured
        if one.get("samples") and not any(_same(one["samples"], other) for other in kept)
    ]


def _stored(path: Path) -> list[list[float]]:
    try:
        return [
            samples for benchmark in json.loads(path.read_bytes())["benchmarks"] for samples in processes(benchmark)
        ]
    except (ValueError, KeyError, TypeError):
        return []


def processes(benchmark: dict[str, Any]) -> list[list[float]]:
    """The samples of a benchmark of a result file by process."""
    found: list[list[float]] = benchmark["extra_info"]["fffbench"]["processes"]
    return found


def _same(one: Any, other: Any) -> bool:
    """Whether both are the same samples; a result file keeps six digits of them."""
    try:
        return len(one) == len(other) and all(math.isclose(a, b, rel_tol=2e-5) for a, b in zip(one, other, strict=True))
    except TypeError:
        return False


def invalid(results: Path) -> list[str]:
    """Records in result files that no honest run can have written."""
    found = []
    for path in results.glob("matrix/*/*.json"):
        read = oracle.read(path.read_bytes())
        if read is None:
            found.append(f"{path.name} is no result file")
        else:
            valid = {record.split("/", 1)[1] for record in read[0]}
            found += [f"{path.name} holds {cell} with samples or a check that cannot be" for cell in read[1] - valid]
    return found


def finished(stage: Stage, results: Path | None = None) -> None:
    """The run ended well: one result file of it with all cells, no journal, nothing invalid."""
    results = results or stage.results
    for said in invalid(results):
        stage.fault("wrong value", said)
    if left := list(results.glob("matrix/*/*.journal")):
        stage.fault("journal left", f"{left[0].name} is there beside its result file")
