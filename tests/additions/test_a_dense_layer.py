"""One file adds a dense layer: somebody else's, which takes part in ``quick`` and can be what FFF is compared with."""

import json
import subprocess
import sys

import plugins
import pytest
import synthetic

from fffbench.analysis.speedup import speedups
from fffbench.implementations import registry
from fffbench.plan.matrix import Axes, Names, cells, preset
from fffbench.report import render
from fffbench.results.store import load

NAME = "gemm_of_theirs"  # its family is said by the module, not by the name
SOURCE = '''
"""Somebody's dense layer: two products and the GELU between them, written into buffers of its own."""
import torch
from fffbench.implementations.registry import Layer

FAMILY, DEVICES, DTYPES = "dense", ("cpu",), ("fp32",)


def unsupported(workload):
    return None


def prepare(weights, workload):
    up, down = weights.w1.t(), weights.w2
    hidden = torch.empty(workload.batch, up.shape[1])

    def fill(x, y):
        torch.mm(x, up, out=hidden[: x.shape[0]])
        torch.ops.aten.gelu_(hidden[: x.shape[0]])
        torch.mm(hidden[: x.shape[0]], down, out=y)

    def forward(x):
        y = torch.empty_like(x)
        fill(x, y)
        return y

    return Layer(forward, lambda x, y: lambda: fill(x, y))
'''


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    """Somebody's package on the import path of this process and of the command line."""
    (tmp_path / "their_package.py").write_text(SOURCE)
    plugins.install(tmp_path, {NAME: "their_package"}, monkeypatch)
    yield tmp_path
    registry._plugins.cache_clear()


def fffbench(folder, *arguments):
    command = [sys.executable, "-m", "fffbench", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_is_checked_quick_asks_for_it_and_it_counts_among_the_layers_tried(theirs):
    rows = json.loads(fffbench(theirs, "check", "--implementations", NAME, "--json"))
    assert rows
    assert all(row["failure"] is None for row in rows)
    axes = ["--batches", "32", "--d", "64", "--levels", "5", "--threads", "1", "--cache", "cold", "--call", "kernel"]
    effort = ["--routing", "uniform", "--seconds", "0.01", "--processes", "1", "--results", "results"]
    assert NAME in fffbench(theirs, "run", "--preset", "quick", "--plan", *axes)
    fffbench(theirs, "run", "--implementations", f"{NAME},dense_gemm,fff_cpu", *axes, *effort)
    rows = json.loads(fffbench(theirs, "speedup", "--results", "results", "--json"))
    [row] = [
        row
        for row in rows
        if (row["implementation"], row["baseline"], row["baseline_threads"]) == ("fff_cpu", "best-dense", "same")
    ]
    assert row["tried"] == 2
    assert row["baseline_implementation"] in (NAME, "dense_gemm")
    assert row["speedup"] is not None


def test_where_it_is_the_fastest_every_comparison_of_quick_is_with_it_on_the_page_too(theirs, tmp_path, monkeypatch):
    known = registry.implementations()
    names = Names({name: item.family for name, item in known.items()}, {n: item.devices for n, item in known.items()})
    time = {NAME: 0.5, "fff_cpu": 0.01}
    planned = [cell for cell in cells(preset("quick"), Axes(), names, 2) if cell.protocol.cache == "cold"]
    monkeypatch.setattr(synthetic, "family_of", lambda name: known[name].family)
    synthetic.write_run(
        tmp_path / "results", cells={cell.id: [time.get(cell.implementation, 1.0)] * 6 for cell in planned}
    )
    results = load(tmp_path / "results")
    best = [row for row in speedups(results) if row.implementation == "fff_cpu" and row.baseline == "best-dense"]
    kernel = [row for row in best if row.call == "kernel" and row.speedup is not None]
    assert {row.batch for row in kernel} == {1, 128, 16384}
    assert {row.baseline_implementation for row in kernel} == {NAME}
    assert [row.speedup for row in kernel] == pytest.approx([50] * len(kernel))
    assert NAME in render(results, tmp_path / "out").read_text()
