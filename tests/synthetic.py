"""How does a test get result files without measuring anything?

``write_run`` writes one file exactly as the matrix suite's exporter does.
"""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fffbench.plan.workload import Cell, Protocol, Shape, Workload, parse_cell
from fffbench.results.identity import misnamed
from fffbench.results.record import Machine

MACHINE = "test-cpu-2c-0001"
STARTED = "2026-01-02T03:04:05Z"
PROCESSES = 6
TOLERANCE = {"fp32": 1e-5, "tf32": 5e-3, "bf16": 2e-2, "fp16": 5e-3}
CEILINGS: dict[str, dict[str, float]] = {
    "fma_fp32": {"1": 7.5e10, "2": 1.5e11},
    "dram_read": {"1": 2.0e10, "2": 3.2e10},
    "dram_copy": {"1": 1.8e10, "2": 3.0e10},
}
STABLE = {"cpu": "Test CPU", "cores": "2", "os": "Linux"}

Times = float | Sequence[float] | Sequence[Sequence[float]]


def facts_of(machine: str, stable: Mapping[str, str]) -> dict[str, str]:
    """``stable`` with a serial number that gives them the hash at the end of the id ``machine``, if it has one."""
    if misnamed(Machine(id=machine, stable=dict(stable))) is None:
        return dict(stable)
    return {**stable, **_serial(machine, tuple(sorted(stable.items())))}


@functools.cache
def _serial(machine: str, stable: tuple[tuple[str, str], ...]) -> dict[str, str]:
    tried = ({**dict(stable), "serial": str(number)} for number in range(10**6))
    found = next(facts for facts in tried if misnamed(Machine(id=machine, stable=facts)) is None)
    return {"serial": found["serial"]}


def cell_id(
    implementation: str,
    *,
    shape: Shape | None = None,
    batch: int = 16384,
    dtype: str = "fp32",
    routing: str = "uniform",
    threads: int = 1,
    device: str = "cpu",
    cache: str = "cold",
    call: str = "kernel",
) -> str:
    """The id of a cell, by default of the published shape, cold, kernel, one thread."""
    workload = Workload(shape or Shape.tree(768, 1, 12), batch, dtype, routing, threads, device)
    return Cell(implementation, workload, Protocol(cache, call)).id


def family_of(implementation: str) -> str:
    """The family by the name's prefix, as all implementations of this project are named."""
    prefix = implementation.split("_", maxsplit=1)[0]
    return prefix if prefix in ("dense", "cmm", "fff", "reference", "faulty") else "dense"


def processes_of(times: Times, seed: str) -> list[list[float]]:
    """Samples by process: given as they are, as one median a process, or as one time that gets 1 % of noise."""
    rng = random.Random(seed)
    if isinstance(times, int | float):
        centres = [times * rng.lognormvariate(0, 0.01) for _ in range(PROCESSES)]
        return [[centre * rng.lognormvariate(0, 0.01) for _ in range(5)] for centre in centres]
    return [list(item) if isinstance(item, Sequence) else [float(item)] for item in times]


def benchmark_of(cell: str, times: Times, **changes: Any) -> dict[str, Any]:
    """One entry of ``benchmarks``; ``changes`` replace fields of its ``CellInfo``."""
    parsed = parse_cell(cell)
    shape, tolerance = parsed.workload.shape, TOLERANCE[parsed.workload.dtype]
    rows = shape.distinct_rows(parsed.workload.batch, "uniform")
    if shape.is_tree and parsed.workload.routing == "single-path":
        rows = float(shape.active)
    processes = processes_of(times, cell)
    flat = [sample for process in processes for sample in process]
    info = {
        "cell": cell,
        "family": family_of(parsed.implementation),
        "summary": f"{parsed.implementation} for tests",
        "processes": processes,
        "check": {"error": tolerance / 4, "tolerance": tolerance, "tokens": 256, "diverged": 0, "diverged_cap": 4},
        "distinct_rows": rows,
        "prepare_seconds": 0.01,
        "extra_bytes": 0,
        "planned_processes": PROCESSES,
        "notes": [],
    } | changes
    return {
        "name": f"test_cell[{cell}]",
        "fullname": f"benchmarks/matrix/test_matrix.py::test_cell[{cell}]",
        "group": None,
        "params": {"cell": cell},
        "extra_info": {"fffbench": info},
        "stats": {"min": min(flat), "max": max(flat), "rounds": len(flat)},
    }


def _cores(cells: Mapping[str, Times]) -> int:
    """As many as the cells ask for: a machine with more has a fastest thread count that nobody measured."""
    return max((parse_cell(cell).workload.threads for cell in cells), default=2)


def run_json(
    cells: Mapping[str, Times],
    *,
    machine: str = MACHINE,
    run: str | None = None,
    started: str = STARTED,
    ended: str = "",
    skipped: Mapping[str, str] | None = None,
    ceilings: Mapping[str, Mapping[str, float]] | None = None,
    stable: Mapping[str, str] | None = None,
    observed: Mapping[str, str] | None = None,
    changes: Mapping[str, Any] | None = None,
    commit: str = "0" * 12,
    host: str = "",
) -> dict[str, Any]:
    """A whole result file as a JSON value; ``changes`` go into every cell's ``CellInfo``."""
    return {
        "machine_info": {"python_version": "3.11.7"},
        "commit_info": {"id": "0" * 40, "dirty": False},
        "benchmarks": [benchmark_of(cell, times, **(changes or {})) for cell, times in cells.items()],
        "datetime": ended or started,
        "version": "5.3.1",
        "fffbench": {
            "format": 1,
            "run": run or f"{machine}-{started[:10]}",
            "preset": "quick",
            "started": started,
            "commit": commit,
            "machine": {
                "id": machine,
                "stable": facts_of(machine, stable or STABLE | {"cores": str(_cores(cells))}),
                "observed": dict(observed or {"load_before": "0.02"}),
                "ceilings": {name: dict(by) for name, by in (CEILINGS if ceilings is None else ceilings).items()},
                "host": host,
            },
            "skipped": [
                {"cell": cell, "family": family_of(parse_cell(cell).implementation), "reason": reason}
                for cell, reason in (skipped or {}).items()
            ],
        },
    }


def write_run(results: Path, *, cells: Mapping[str, Times], machine: str = MACHINE, **rest: Any) -> Path:
    """Write one run under ``results`` (created if need be) and return the file; ``rest`` as for ``run_json``."""
    value = run_json(cells, machine=machine, **rest)
    folder = results / "matrix" / machine
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{value['fffbench']['run']}.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def quick_cells(machine_speed: float = 1.0) -> dict[str, float]:
    """Cells of the quick preset's kind with plausible times: FFF about 100x over dense at batch 16384."""
    cells: dict[str, float] = {}
    for threads in (1, 2):
        scale = machine_speed / threads**0.8
        for batch in (1, 128, 16384):
            dense = (2e-4 if batch == 1 else 0) + batch * 1.6e-4
            fff = 2e-6 + batch * 1.25e-6
            for routing, cache, call in (("uniform", "cold", "kernel"), ("single-path", "hot", "torch")):
                hot = 0.6 if cache == "hot" else 1.0
                axes = {"batch": batch, "threads": threads, "cache": cache, "call": call}
                for name, factor in (("dense_linear", 1.0), ("dense_padded", 0.97), ("dense_bmm", 8.0)):
                    cells[cell_id(name, routing="uniform", **axes)] = dense * factor * scale  # type: ignore[arg-type]
                for name, factor in (("fff_cpu", 1.0), ("cmm_gather_bmm", 20.0)):
                    cells[cell_id(name, routing=routing, **axes)] = fff * factor * scale * hot  # type: ignore[arg-type]
                bert = cell_id("dense_linear", shape=Shape.dense(768, 3072), **axes)  # type: ignore[arg-type]
                cells[bert] = dense * 0.75 * scale
    return cells


COMMITS = tuple(f"{index:02d}" + "ab" * 19 for index in range(1, 60))
OPTIMISED, CONTROL = "kernels.Optimised.time_pass", "kernels.Control.time_pass"
COLUMNS = [
    "result", "params", "version", "started_at", "duration", "stats_ci_99_a", "stats_ci_99_b", "stats_q_25",
    "stats_q_75", "stats_number", "stats_repeat", "samples", "profile",
]  # fmt: skip


def asv_json(results: Mapping[str, Sequence[float | None]], *, index: int, machine: str = MACHINE) -> dict[str, Any]:
    """One result file of asv, version 2, for the ``index``-th commit: values of (fff_cpu, dense_padded) x (1, 128)."""
    rows = {}
    for name, values in results.items():
        subject = "'dense_padded'" if name == CONTROL else "'fff_cpu'"
        known = [value if value is not None and value == value else None for value in values]  # noqa: PLR0124 - NaN
        rows[name] = [
            list(values),
            [[subject], ["1", "128"]],
            "version-1",
            1767000000000,
            1.5,
            [None if value is None else value * 0.99 for value in known],
            [None if value is None else value * 1.01 for value in known],
            *[None] * 4,
            [None if value is None else [value, value * 1.001] for value in known],
        ]
    return {
        "commit_hash": COMMITS[index],
        "env_name": "virtualenv-py3.11-torch2.13.0",
        "date": 1767225600000 + 3600_000 * index,
        "params": {"machine": machine, "os": "Linux", "python": "3.11"},
        "python": "3.11",
        "requirements": {"torch": "2.13.0"},
        "env_vars": {},
        "result_columns": COLUMNS,
        "results": rows,
        "durations": {"<build>": 15.0},
        "version": 2,
    }


def write_history(
    results: Path, series: Mapping[str, Sequence[Sequence[float | None]]], *, machine: str = MACHINE
) -> None:
    """Write asv's files: for each benchmark, the values of both batches at each commit."""
    folder = results / "asv" / machine
    folder.mkdir(parents=True, exist_ok=True)
    names = ["implementation", "batch"]
    meanings: dict[str, Any] = {
        name: {"name": name, "param_names": names, "unit": "seconds", "version": "version-1"} for name in series
    }
    (folder.parent / "benchmarks.json").write_text(json.dumps(meanings | {"version": 2}))
    (folder / "machine.json").write_text(json.dumps({"machine": machine, "version": 1}))
    for index in range(max(map(len, series.values()))):
        value = asv_json({name: values[index] for name, values in series.items()}, index=index, machine=machine)
        (folder / f"{COMMITS[index][:8]}-env.json").write_text(json.dumps(value))
