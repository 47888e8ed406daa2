"""On a GPU: does a duel compare CUDA kernels, and does a profile run one alone? Skipped where there is none.

A block forks three children one after another, and each starts CUDA, loads its kernels and captures its graphs: seconds
a block, ten blocks a duel, and the first one compiles too. So the duels are slow tests, each within its budget of 100 s
(it ends where the next block would not), and a block that hangs ends after two minutes, not five.
"""

import json
import re
import shutil

import pytest

from fffbench.cli import run
from fffbench.regress import cuda

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")

SMALL = ["--device", "cuda", "--dtype", "bf16", "--budget", "100s", "--blocks", "10"]
SAID = re.compile(r"(\d+) calls of (\S+) in ")


@pytest.fixture(autouse=True)
def _no_block_hangs(monkeypatch):
    monkeypatch.setattr(cuda, "LIMIT_SECONDS", 120.0)


def told(capsys, *arguments):
    code = run(["duel", *arguments, *SMALL, "--json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.slow
def test_a_kernel_beside_itself_is_neither_faster_nor_slower(capsys):
    code, found = told(capsys, "fff_cuda", "fff_cuda", "--batch", "1,128")
    assert code in (0, 3)
    assert found["answer"] in ("same", "inconclusive")
    assert found["refused"] == {}
    for row in found["rows"]:
        assert 0.9 < row["ratio"] < 1.1
        assert 1e-6 < row["a_seconds"] < 1e-2


@pytest.mark.slow
def test_a_dense_layer_is_slower_than_the_kernel_at_a_large_batch(capsys):
    code, found = told(capsys, "fff_cuda", "dense_linear", "--batch", "16384")
    [row] = found["rows"]
    assert row["ratio"] > 3
    assert (code, found["answer"]) in ((1, "slower"), (3, "inconclusive"))


def test_a_layer_whose_calls_cannot_be_captured_is_refused_in_words(capsys):
    """A call that waits for the device, as ``.item()`` does, is in no graph."""
    from fffbench.devices import DEVICES
    from fffbench.regress import duel_worker

    one = torch.ones(1, device="cuda")
    with pytest.raises(ValueError, match="cannot be captured in a graph"):
        duel_worker.runner(DEVICES["cuda"], [one.item])


@pytest.mark.parametrize(
    "named",
    [
        ["fff_cuda", "--device", "cuda", "--batch", "128", "--dtype", "bf16"],
        ["fff_cuda@d768-n4095-t1x12-b1-fp32-uniform-cuda-1th-s0@cold-graph"],
    ],
)
def test_a_profile_runs_one_cell_alone(capfd, named):
    assert run(["profile", *named, "--seconds", "0.2"]) == 0
    said = SAID.search(capfd.readouterr().err)
    assert int(said[1]) > 10
    assert "cuda" in said[2]


@pytest.mark.skipif(shutil.which("nsys") is None, reason="no nsys here")
def test_nsys_sees_the_calls(capfd, tmp_path):
    tool = ["nsys", "profile", "--capture-range=cudaProfilerApi", "--output", str(tmp_path / "report")]
    assert run(["profile", "fff_cuda", "--device", "cuda", "--seconds", "0.1", "--", *tool]) == 0
    assert list(tmp_path.glob("report*"))
    capfd.readouterr()
