"""The scripts of docs/examples run as they are, on less work."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from synthetic import quick_cells, write_run

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"

pytest.importorskip("fffbench._cpu", reason="the C++ kernels are not built")
pytest.importorskip("torch")


def run(name, *args):
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *args],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_run_here():
    tested = set(re.findall(r'run\("(\w+\.py)"', Path(__file__).read_text()))
    assert tested == {path.name for path in EXAMPLES.glob("*.py")}


def test_swapping_the_layers_of_bert():
    pytest.importorskip("transformers")
    out = run("swap_bert.py", "1")
    assert "1 feedforward layer of 768/3072 are now TreeFFF(d=768, trees=1, levels=12" in out
    assert len(re.findall(r"\d+\.\d ms for 128 tokens", out)) == 2


def test_one_layer_and_its_visited_neurons():
    out = run("use_fff.py")
    difference = float(re.search(r"difference from plain torch: (\S+)", out)[1])
    assert difference < 1e-5
    visited = [int(node) for node in re.search(r"visits \[(.*)\]", out)[1].split(", ")]
    assert len(visited) == 12
    assert all(child in (2 * node + 1, 2 * node + 2) for node, child in pairwise(visited))


def test_results_are_read_with_pandas(tmp_path):
    write_run(tmp_path, cells=quick_cells())
    out = run("read_results.py", str(tmp_path))
    assert re.search(r"test-cpu-2c-0001 cpu +fp32 +[\d.]+ +[\d.]+ +[\d.]+\n", out)
    assert re.search(r"provisional rows: \d+ of 3\n", out)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_is_short(path):
    code = path.read_text().split('"""', 2)[2].splitlines()
    assert len([line for line in code if line.strip() and not line.startswith(("import", "from", "#"))]) <= 12
