"""Naive CMM as the published model runs it: the whole dense layer, then a mask that keeps each token's path."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fffbench.implementations.registry import Layer, Weights
from fffbench.plan.workload import Workload

if TYPE_CHECKING:
    import torch

FAMILY = "cmm"
DEVICES = ("cpu", "cuda")
DTYPES = ("fp32", "tf32", "bf16", "fp16")


def unsupported(workload: Workload) -> str | None:
    """Tree form only; otherwise only a missing device stops it."""
    if workload.shape.leaf_width:
        return "cmm_masked computes the tree form, not leaf blocks"
    return None


def prepare(weights: Weights, workload: Workload) -> Layer:
    """Nothing is copied beforehand."""
    import torch

    shape = workload.shape
    w1_t, w2 = weights.w1.t(), weights.w2
    roots = torch.arange(shape.trees, device=w2.device) * (2**shape.levels - 1)

    def forward(x: torch.Tensor) -> torch.Tensor:
        logits = torch.mm(x, w1_t)
        kept = torch.zeros_like(logits)
        node = torch.zeros((x.shape[0], shape.trees), dtype=torch.int64, device=x.device)
        for _ in range(shape.levels):
            row = roots + node
            kept.scatter_(1, row, 1.0)
            node = 2 * node + 1 + (logits.gather(1, row) > 0)
        return torch.mm(torch.nn.functional.gelu(logits) * kept, w2)

    def bind(x: torch.Tensor, y: torch.Tensor) -> Callable[[], object]:
        return lambda: y.copy_(forward(x))

    return Layer(forward, bind)
