"""Does the author's own package give what the kernels here give, and is it refused with its reason where it cannot?"""

from __future__ import annotations

import pytest

from fffbench.implementations import cmm_fastfeedforward
from fffbench.implementations.registry import Weights, implementation
from fffbench.plan.presets import presets
from fffbench.plan.workload import Shape, Workload


@pytest.mark.parametrize(("shape", "batch"), [((768, 1, 7, 32), 512), ((768, 1, 3, 512), 64), ((33, 1, 5, 17), 2048)])
def test_every_token_is_as_the_kernels_have_it(shape: tuple[int, int, int, int], batch: int) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("fastfeedforward")
    pytest.importorskip("fffbench._cpu", reason="the C++ kernels are not built")
    workload = Workload(Shape.leaf(*shape), batch, threads=1)
    drawn = workload.draw(batch)
    x, w1, w2 = (torch.from_numpy(a) for a in (drawn.x, drawn.w1, drawn.w2))
    theirs = implementation("cmm_fastfeedforward").prepare(Weights(w1, w2), workload)
    ours = implementation("fff_cpu").prepare(Weights(w1, w2), workload).forward(x)
    y = torch.full_like(x, float("nan"))
    theirs.bind(x, y)()
    assert "fastfeedforward 0." in theirs.notes[0]
    for found in (y, theirs.forward(x)):
        assert found.dtype == x.dtype
        assert int(((found - ours).abs().amax(1) > 1e-3).sum()) == 0


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        (Shape.tree(768, 1, 12), "nodes are neurons"),
        (Shape.leaf(768, 2, 7, 32), "one tree, not 2"),
        (Shape.leaf(768, 1, 0, 32), "without routers"),
    ],
)
def test_what_its_module_has_not_is_said(shape: Shape, reason: str) -> None:
    assert reason in str(cmm_fastfeedforward.unsupported(Workload(shape, 4)))


def test_without_the_package_the_reason_names_it_and_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cmm_fastfeedforward, "PACKAGE", "not_installed_here")
    cmm_fastfeedforward._missing.cache_clear()
    reason = cmm_fastfeedforward.unsupported(Workload(Shape.leaf(8, 1, 2, 3), 4))
    cmm_fastfeedforward._missing.cache_clear()
    assert (
        reason == "needs the package not_installed_here (pip install --no-deps not_installed_here, or the extra peers)"
    )


def test_the_leaf_preset_times_it_as_it_can_be_called() -> None:
    blocks = [block for block in presets()["leaf"].blocks if "cmm_fastfeedforward" in block.implementations]
    assert {(device, call) for block in blocks for device in block.devices for call in block.calls} == {
        ("cpu", "kernel"),
        ("cuda", "torch"),
    }
