"""Is work planted into every CUDA kernel, once, behind its waits, and does the planted source still compile?"""

from pathlib import Path

import pytest

import fffbench
from fffbench.errors import UserError
from fffbench.implementations.cuda import build
from fffbench.implementations.cuda.plan import Gpu, Layout, choose
from fffbench.regress import planted_cuda, sources
from fffbench.regress.sources import Revision

ROOT = Path(fffbench.__file__).parents[1]


@pytest.fixture(scope="module")
def planted():
    before = sources.read_working_tree(ROOT, sources.CUDA)
    return dict(before.files), dict(planted_cuda.plant(before, 20).files)


def test_every_kernel_is_planted_once_and_nothing_but_cuda_sources_is_changed(planted):
    before, after = planted
    assert before.keys() == after.keys()
    for path, content in before.items():
        kernels = content.count(b'extern "C" __global__') if path.endswith(".cu") else 0
        assert after[path].count(b"    Planted planted;\n") == kernels
        assert (after[path] != content) == bool(kernels), path
    assert sum(text.count(b"    Planted planted;\n") for text in after.values()) >= 7


def test_time_spent_waiting_for_the_kernel_before_is_not_counted(planted):
    for content in planted[1].values():
        assert content.count(b"    planted.again();\n") == content.count(b"griddepcontrol.wait;")


def test_the_share_is_the_one_asked_for(planted):
    assert b"0.2 * double(end - start)" in planted[1]["fffbench/implementations/cuda/latency.cu"]


def test_nothing_to_plant_into_is_said():
    with pytest.raises(UserError, match="no CUDA kernel"):
        planted_cuda.plant(Revision("x", "", (("fffbench/implementations/cuda/a.cu", b"int x;\n"),)), 10)


@pytest.mark.skipif(build.missing() is not None, reason=str(build.missing()))
@pytest.mark.parametrize(("dtype", "batch"), [("bf16", 16384), ("fp32", 16384), ("bf16", 1), ("fp32", 1)])
def test_planted_kernels_compile(planted, tmp_path, monkeypatch, dtype, batch):
    for path, content in planted[1].items():
        if path.startswith(planted_cuda.FOLDER) and path.endswith((".cu", ".cuh")):
            (tmp_path / Path(path).name).write_bytes(content)
    monkeypatch.setattr(build, "SOURCES", tmp_path)
    monkeypatch.setenv("FFFBENCH_CACHE", str(tmp_path / "cache"))
    for step in choose(Layout(768, 1, 12, dtype), Gpu(), batch).steps:
        assert build.cubin(step.source, step.macros, "sm_90")
