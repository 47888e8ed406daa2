"""Do the guarded runs of the CUDA kernels take every strategy, and say which machine they need?"""

from __future__ import annotations

import pytest

from fffbench.implementations.cuda import leaf_plan, plan
from fffbench.implementations.cuda.base import Gpu, Layout
from tools.cuda import bounds


def test_every_strategy_has_a_guarded_run() -> None:
    taken: dict[bool, set[str]] = {False: set(), True: set()}
    for d, trees, levels, width, batch, dtype in bounds.SMALL:
        layout = Layout(d, trees, levels, dtype, d * (4 if dtype == "fp32" else 2) % 16 == 0, width)
        table = leaf_plan.STRATEGIES if width else plan.STRATEGIES
        taken[width > 0] |= {name for name, make in table.items() if make(layout, Gpu(), batch)}
    assert taken == {False: set(plan.STRATEGIES), True: set(leaf_plan.STRATEGIES)}


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(bounds.fff_cuda, "machine_reason", lambda: "no CUDA device here")
    monkeypatch.setattr("sys.argv", ["bounds"])
    assert bounds.main() == 2
    assert "no CUDA device here" in capsys.readouterr().err
