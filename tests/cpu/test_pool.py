"""Do the kernels' workers share the items of a phase, or does one claim what another could compute?"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("pool_items.cpp")
POOL = Path(__file__).parents[2] / "fffbench" / "implementations" / "cpu"  # an installed package has no sources
pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")


def _build(folder: Path, pool: Path) -> Path:
    built = folder / "pool_items"
    command = ["g++", "-O1", "-std=c++20", "-pthread", f"-I{pool}", str(SOURCE), str(POOL / "runtime" / "pool.cpp")]
    subprocess.run([*command, "-o", str(built)], check=True, timeout=120)
    return built


def _run(program: Path, threads: int, patience: int = 10) -> str:
    command = [str(program), str(threads), str(patience)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _build(tmp_path_factory.mktemp("pool"), POOL)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_as_many_items_as_threads_are_computed_by_all_of_them(program: Path, threads: int) -> None:
    assert "shared 1\n" in _run(program, threads)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_every_item_is_computed_once_and_the_next_one_is_foretold_truly(program: Path, threads: int) -> None:
    rows = re.findall(r"items (\d+) done (\d+) announced (\d+) wrong (\d+)", _run(program, threads))
    assert len(rows) == 5
    for count, done, announced, wrong in rows:
        assert (done, wrong) == (count, "0")
        if int(count) <= threads:
            assert announced == "0"
    assert int(rows[-1][2]) > 0  # of fifty items a thread


def test_a_worker_that_claims_ahead_without_looking_is_found(tmp_path: Path) -> None:
    header = (POOL / "runtime" / "pool.hpp").read_text()
    greedy = header.replace("const bool ahead = i + threads < count;", "const bool ahead = true;")
    assert greedy != header
    (tmp_path / "runtime").mkdir()
    (tmp_path / "runtime" / "pool.hpp").write_text(greedy)
    assert "shared 0\n" in _run(_build(tmp_path, tmp_path), threads=2, patience=1)
