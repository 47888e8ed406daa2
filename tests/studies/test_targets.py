"""The table of what was asked of the kernels: who answers a target, and when is it reached?"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.studies import targets
from fffbench.errors import UserError
from fffbench.plan.workload import Workload
from fffbench.problems import parse_problem

ONE = targets.Target("h100", "cuda", "d768-n4095-t1x12", 16384, "bf16", 9.0, ("waiting", "tiles"))


def row(low: float, **other: object) -> SimpleNamespace:
    """A row of ``fffbench speedup`` about that target."""
    given = {
        "machine": "nvidia-h100-x", "device": "cuda", "implementation": "fff_cuda", "shape": ONE.shape, "batch": 16384,
        "dtype": "bf16", "cache": "cold", "call": "graph", "routing": "uniform", "baseline_threads": "fastest",
        "low": low, "speedup": low + 0.1, "high": low + 0.2, "roofline_share": 0.5, "baseline_time": 328e-6,
        "record": f"run/fff_cuda@{ONE.shape}-b16384-bf16-uniform-cuda-1th-s0@cold-graph",
    }  # fmt: skip
    return SimpleNamespace(**given | other)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch):
    """Puts rows in the place of results, on a machine of 800 TFLOP/s and 3 TB/s."""
    rate = SimpleNamespace(
        peak=lambda *_: SimpleNamespace(value=8e14), bandwidth=lambda *_: SimpleNamespace(value=3e12)
    )
    monkeypatch.setattr(targets, "TARGETS", (ONE,))
    monkeypatch.setattr(targets, "ceilings_of", lambda _: rate)
    return lambda *rows: monkeypatch.setattr(targets, "over_own_width", lambda _: rows)


def test_every_target_names_a_layer_and_is_asked_once() -> None:
    keys = [(t.machine, t.device, t.shape, t.batch, t.dtype) for t in targets.TARGETS]
    assert len(keys) == len(set(keys))
    assert all(parse_problem(t.shape).id == t.shape and t.least > 0 for t in targets.TARGETS)


def test_the_low_end_decides_and_only_under_the_protocol(measured) -> None:
    measured(row(9.5, cache="hot"), row(9.5, implementation="fff_triton"), row(9.5, call="kernel"), row(7.3), row(7.0))
    text = targets.table("cuda", None)
    assert text.startswith("Of 1 targets 0 are reached")
    assert "| 768x4095 1x12, bf16, 16384 | 9x | 14.8x |" in text
    assert "| 7.4x [7.3x, 7.5x] | waiting | tiles |" in text
    measured(row(9.0))
    assert targets.table("cuda", None) == "Of 1 targets 1 are reached in the results here.\n"
    measured()
    assert "Not measured under this protocol: 768x4095 1x12, bf16, 16384 (9x)." in targets.table("cuda", None)


def test_what_is_predicted_is_the_work_of_the_launches_that_are_chosen(measured) -> None:
    layout = targets.Layout(768, 1, 12, "bf16")
    made = targets.plan.choose(layout, targets.Gpu(), 16384)
    work = Workload(parse_problem(ONE.shape), 16384, "bf16", device="cuda")
    top, bottom = (targets.cost(step, made, layout, work) for step in made.steps)
    assert top == (2.0 * 16384 * 768 * 128, 16384 * 768 * 2, True)
    assert bottom == (4.0 * 16384 * 768 * 32, 2 * 16384 * 768 * 2, True)
    seconds = sum(max(operations / 8e14, moved / 3e12) for operations, moved, _ in (top, bottom))
    assert targets.predicted(row(7.3), targets.ceilings_of(None)) == pytest.approx(328e-6 / seconds)


def test_a_page_without_its_markers_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "docs" / "notebook"
    folder.mkdir(parents=True)
    (folder / "kernels-cuda.md").write_text("nothing")
    with pytest.raises(UserError, match="targets-cuda:begin"):
        targets.stale(tmp_path, None)  # type: ignore[arg-type]
