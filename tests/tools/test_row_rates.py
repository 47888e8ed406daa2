"""Does the program behind the floors of docs/notebook/kernels.md build and say what each core can move?"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from fffbench import _cpu

SOURCE = Path(__file__).parents[2] / "tools" / "cpu" / "row_rates.cpp"
pytestmark = pytest.mark.skipif(
    shutil.which("g++") is None or "avx512" not in _cpu.isas(),
    reason="needs g++ and a processor with AVX-512",
)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("rates") / "row_rates"
    subprocess.run(
        ["g++", "-O2", "-march=native", "-std=c++20", "-pthread", str(SOURCE), "-o", str(built)],
        check=True,
        timeout=120,
    )
    return built


def test_every_way_to_move_rows_is_timed_on_one_thread_and_on_two(program: Path) -> None:
    ran = subprocess.run(
        [str(program), "1", "2"],
        env={**os.environ, "ROWS": "64"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    rows = re.findall(r"^ ?(\d+) threads +(.+?) +min [\d.]+ +median [\d.]+ ms +\d+ GB/s$", ran.stdout, re.MULTILINE)
    assert len(rows) == len(ran.stdout.splitlines()) == 14
    assert {name for threads, name in rows if threads == "1"} == {name for threads, name in rows if threads == "2"}


def test_a_thread_count_that_does_not_divide_the_rows_is_refused(program: Path) -> None:
    ran = subprocess.run(
        [str(program), "3"], check=False, env={**os.environ, "ROWS": "64"}, capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 2
    assert "'3' must divide" in ran.stderr
