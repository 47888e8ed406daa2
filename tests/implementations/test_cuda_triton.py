"""Do the Triton kernels compute the tree FFF? On the CPU, through Triton's interpreter, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

SCRIPT = """
import torch
from fffbench.implementations import cmm_triton_levels, fff_triton, reference
from fffbench.implementations.registry import Weights
from fffbench.plan.workload import Shape, Workload

for shape in (Shape.tree(24, 1, 4), Shape.tree(7, 3, 2), Shape.tree(16, 1, 1)):
    for batch in (0, 5):
        workload = Workload(shape, batch, device="cuda")
        drawn = workload.draw(max(batch, 1))
        x = torch.from_numpy(drawn.x[:batch])
        weights = Weights(torch.from_numpy(drawn.w1), torch.from_numpy(drawn.w2))
        exact = torch.from_numpy(reference.tree(*(t.double().numpy() for t in (x, weights.w1, weights.w2)), shape).y)
        for module in (fff_triton, cmm_triton_levels):
            layer = module.prepare(weights, workload)
            y = torch.full_like(x, float("nan"))
            layer.bind(x, y)()
            for got in (y, layer.forward(x)):
                assert got.shape == exact.shape
                assert torch.allclose(got.double(), exact, atol=2e-6), (module.__name__, shape, batch)
print("agree")
"""


@pytest.mark.skipif(find_spec("triton") is None or find_spec("torch") is None, reason="needs triton and torch")
def test_the_triton_kernels_agree_with_float64_in_the_interpreter() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stdout.strip() == "agree", done.stderr[-2000:]
