"""Naive CMM in torch: at each level gather every token's row of W1, one bmm a level, one bmm for the output."""

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
        return "cmm_gather_bmm computes the tree form, not leaf blocks"
    return None


def prepare(weights: Weights, workload: Workload) -> Layer:
    """Nothing is copied beforehand; the gathers inside the call are what this implementation is."""
    import torch

    shape = workload.shape
    w1, w2 = weights.w1, weights.w2
    roots = torch.arange(shape.trees, device=w1.device) * (2**shape.levels - 1)

    def forward(x: torch.Tensor) -> torch.Tensor:
        batch = x.shape[0]
        column = x.unsqueeze(2)
        node = torch.zeros((batch, shape.trees), dtype=torch.int64, device=x.device)
        rows, logits = [], []
        for _ in range(shape.levels):
            row = roots + node
            logit = torch.bmm(w1[row], column).squeeze(2)
            rows.append(row)
            logits.append(logit)
            node = 2 * node + 1 + (logit > 0)
        activation = torch.nn.functional.gelu(torch.cat(logits, dim=1)).unsqueeze(1)
        return torch.bmm(activation, w2[torch.cat(rows, dim=1)]).squeeze(1)

    def bind(x: torch.Tensor, y: torch.Tensor) -> Callable[[], object]:
        return lambda: y.copy_(forward(x))

    return Layer(forward, bind)
