"""Naive leaf FFF in torch: route level by level, gather every token's leaf blocks, two bmm over them."""

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
    """Leaf form only; otherwise only a missing device stops it."""
    if not workload.shape.leaf_width:
        return "cmm_leaf_gather computes leaf blocks; this tree's nodes are neurons"
    return None


def prepare(weights: Weights, workload: Workload) -> Layer:
    """View the weights as blocks; nothing is copied, the gathers inside the call are what this implementation is."""
    import torch

    shape = workload.shape
    w1 = weights.w1
    leaves = shape.trees * shape.leaves
    w1_blocks = w1[shape.routers :].view(leaves, shape.leaf_width, shape.d)
    w2_blocks = weights.w2.view(leaves, shape.leaf_width, shape.d)
    roots = torch.arange(shape.trees, device=w1.device) * (2**shape.levels - 1)
    first_leaves = torch.arange(shape.trees, device=w1.device) * shape.leaves - (2**shape.levels - 1)

    def forward(x: torch.Tensor) -> torch.Tensor:
        batch = x.shape[0]
        column = x.unsqueeze(2)
        node = torch.zeros((batch, shape.trees), dtype=torch.int64, device=x.device)
        for _ in range(shape.levels):
            logit = torch.bmm(w1[roots + node], column).squeeze(2)
            node = 2 * node + 1 + (logit > 0)
        leaf = first_leaves + node
        hidden = torch.bmm(w1_blocks[leaf].flatten(1, 2), column)
        activation = torch.nn.functional.gelu(hidden).transpose(1, 2)
        return torch.bmm(activation, w2_blocks[leaf].flatten(1, 2)).squeeze(1)

    def bind(x: torch.Tensor, y: torch.Tensor) -> Callable[[], object]:
        return lambda: y.copy_(forward(x))

    return Layer(forward, bind)
