"""A run is continued only in the surroundings it began in, and a GPU without a name is not measured."""

import pytest

from fffbench.devices import cuda
from fffbench.errors import UserError
from fffbench.measure import environment, provenance
from fffbench.measure.session import Plan
from fffbench.plan.workload import Cell, Protocol, Shape, Workload
from fffbench.runs import planning as bench
from fffbench.runs.sources import Sources


def key():
    return bench.plan_key(PLAN, Sources.of([]), bench.Options("quick"))


PLAN = Plan((Cell("fff_cpu", Workload(Shape.tree(16, 1, 3), 1), Protocol("hot")),), 2, 0.01)


def test_the_same_surroundings_give_the_same_key():
    assert key() == key()


@pytest.mark.parametrize(
    ("where", "name", "value"),
    [
        (provenance, "_version", lambda package: "9.9" if package == "torch" else "1.0"),
        (provenance.platform, "python_version", lambda: "3.99.0"),
        (provenance, "_plugins", lambda: {"fff_mine": "mine 1.0 0123"}),
        (provenance, "sources_digest", lambda: "0" * 16),
        (provenance, "ENVIRONMENT", {"MALLOC_MMAP_MAX_": "7"}),
        (environment, "remaining", lambda: "LD_PRELOAD=.../libjemalloc.so"),
        (environment, "inherited", lambda: "OMP_DYNAMIC=true"),
    ],
)
def test_another_torch_python_plugin_source_or_variable_gives_another_key(monkeypatch, where, name, value):
    before = key()
    monkeypatch.setattr(where, name, value)
    assert key() != before


def test_a_plugins_edit_is_seen_without_importing_it(tmp_path, monkeypatch):
    info = tmp_path / "planted-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: planted\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fffbench.implementations]\nfff_planted = planted_kernel\n")
    (tmp_path / "planted_kernel.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    before = provenance.versions()["plugin fff_planted"]
    assert before.startswith("planted 1.0 ")
    (tmp_path / "planted_kernel.py").write_text("raise SystemExit('imported, edited')\n")
    assert provenance.versions()["plugin fff_planted"] != before


def test_a_commit_that_is_none_is_refused_in_one_line(monkeypatch):
    monkeypatch.setenv("FFFBENCH_COMMIT", "main branch")
    with pytest.raises(UserError, match="FFFBENCH_COMMIT='main branch': allowed are"):
        provenance.current()


def test_the_commit_info_has_the_runs_commit_and_nothing_of_the_current_folder():
    found = provenance.commit_info("0123456789-dirty")
    assert (found["id"], found["dirty"], found["project"]) == ("0123456789", True, "fffbench")
    assert found["branch"] == "(unknown)"
    assert provenance.commit_info("0123456789")["dirty"] is False


def test_a_gpu_of_rocm_is_never_filed_under_the_host(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(cuda, "gpu_names", list)
    monkeypatch.setattr(torch.version, "hip", "6.4.1", raising=False)
    assert "ROCm 6.4.1" in cuda.DEVICE.unnamed()
    monkeypatch.setattr(torch.version, "hip", None, raising=False)
    assert "NVML" in cuda.DEVICE.unnamed()
    monkeypatch.setattr(cuda, "gpu_names", lambda: ["NVIDIA H100"])
    assert cuda.DEVICE.unnamed() is None


def test_a_plan_skips_every_cell_of_a_gpu_without_a_name(monkeypatch):
    from fffbench.plan.matrix import Axes

    pytest.importorskip("torch")
    monkeypatch.setattr(cuda.Cuda, "unnamed", lambda _: "no name")
    monkeypatch.setattr(bench, "registry_reasons", lambda questions: [None for _ in questions])
    axes = Axes(implementations=("dense_linear",), devices=("cpu", "cuda"), batches=(1,), threads=(1,))
    plan, skipped = bench.runnable(bench.Options("headline", axes))
    assert {cell.workload.device for cell in plan.cells} == {"cpu"}
    assert {reason for _, reason in skipped} == {"no name"}
