"""The scripts of docs/examples run as they are, on less work."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

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


def test_an_example_is_short():
    code = (EXAMPLES / "swap_bert.py").read_text().split('"""', 2)[2].splitlines()
    assert len([line for line in code if line.strip() and not line.startswith(("import", "from"))]) <= 12
