"""An example of somebody else's kernel: the tree FFF, an einsum a level, with its output added up as it goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fffbench.implementations.registry import Layer, Weights
from fffbench.plan.workload import Workload

if TYPE_CHECKING:
    import torch

FAMILY = "fff"
DEVICES = ("cpu", "cuda")
DTYPES = ("fp32",)


def unsupported(workload: Workload) -> str | None:
    """Say in a sentence what this kernel cannot do; None where it can."""
    if workload.shape.leaf_width:
        return "example_einsum computes the tree form, not leaf blocks"
    return None


def prepare(weights: Weights, workload: Workload) -> Layer:
    """Untimed: pack, compile, allocate. It sees weights and shapes, never inputs."""
    import torch

    shape, w1, w2 = workload.shape, weights.w1, weights.w2

    def fill(x: torch.Tensor, y: torch.Tensor) -> None:
        y.zero_()
        for tree in range(shape.trees):
            row = torch.full((x.shape[0],), tree * (2**shape.levels - 1), device=x.device)
            first = row.clone()
            for _ in range(shape.levels):
                logit = torch.einsum("bd,bd->b", x, w1[row])
                y.addcmul_(torch.nn.functional.gelu(logit)[:, None], w2[row])
                row = first + 2 * (row - first) + 1 + (logit > 0)

    def forward(x: torch.Tensor) -> torch.Tensor:
        y = torch.empty_like(x)
        fill(x, y)
        return y

    def bind(x: torch.Tensor, y: torch.Tensor) -> Callable[[], object]:
        return lambda: fill(x, y)

    return Layer(forward, bind, notes=("an example",))
