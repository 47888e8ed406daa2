"""A .cu file in a folder of its own and the Step that names it are a CUDA op; compiling it needs no GPU."""

import shutil

import pytest

from fffbench.implementations.cuda import build
from fffbench.implementations.cuda.base import Layout, Step
from fffbench.regress import planted_cuda, sources
from fffbench.regress.sources import Revision

PATH = "ops/toy/toy.cu"
SOURCE = """#include "common.cuh"

extern "C" __global__ void __launch_bounds__(32)
toy(const scalar* __restrict__ x, const scalar* __restrict__ w1, const scalar* __restrict__ w2, scalar* y, int levels) {
    const i64 token = blockIdx.x;
    i64 node = 0;
    for (int level = 0; level < levels; ++level) {
        float z = 0.0f;
        for (int i = 0; i < kD; ++i) z += to_float(x[token * kD + i]) * to_float(w1[node * kD + i]);
        const float activation = activate(z);
        for (int i = threadIdx.x; i < kD; i += 32) {
            const float before = level == 0 ? 0.0f : to_float(y[token * kD + i]);
            y[token * kD + i] = to_scalar(before + activation * to_float(w2[node * kD + i]));
        }
        node = 2 * node + 1 + (z > 0.0f);
    }
}
"""


@pytest.fixture
def step(tmp_path, monkeypatch):
    """The sources with the toy among them, and its launch for 64 tokens."""
    folder = tmp_path / "cuda"
    shutil.copytree(build.SOURCES, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / PATH).parent.mkdir(parents=True)
    (folder / PATH).write_text(SOURCE)
    monkeypatch.setattr(build, "SOURCES", folder)
    monkeypatch.setenv("FFFBENCH_CACHE", str(tmp_path / "cache"))
    macros = Layout(768, 1, 12, "bf16", aligned=False).macros()
    return Step(PATH, "toy", macros, 64, 32, ("x", "w1", "w2", "y", 12))


@pytest.mark.skipif(build.missing() is not None, reason=str(build.missing()))
@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
def test_it_compiles_where_no_gpu_is(step, arch):
    assert step.entry.encode() in build.cubin(step.source, step.macros, arch)


@pytest.mark.skipif(build.missing() is not None, reason=str(build.missing()))
def test_its_first_error_is_named_by_its_file(step):
    (build.SOURCES / PATH).write_text(SOURCE.replace("kD", "kNothing"))
    with pytest.raises(build.BuildError, match=r"ops/toy/toy.cu does not compile for sm_90: .*kNothing"):
        build.cubin(step.source, step.macros, "sm_90")


def test_regress_takes_its_source_and_plants_into_it():
    path = planted_cuda.FOLDER + PATH
    assert sources.CUDA.holds(path)
    [(_, slowed)] = planted_cuda.plant(Revision("x", "", ((path, SOURCE.encode()),)), 10).files
    assert slowed.count(b"Planted planted;") == 1
