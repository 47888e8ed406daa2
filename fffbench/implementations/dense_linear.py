"""Dense FF as every user writes it: two torch linear layers around an exact GELU, unpadded."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fffbench.implementations.registry import Layer, Weights
from fffbench.implementations.torchlib import gelu_in_place
from fffbench.plan.workload import Workload

if TYPE_CHECKING:
    import torch

FAMILY = "dense"
DEVICES = ("cpu", "cuda")
DTYPES = ("fp32", "tf32", "bf16", "fp16")


def unsupported(workload: Workload) -> str | None:
    """It computes every layer."""
    del workload
    return None


def prepare(weights: Weights, workload: Workload) -> Layer:
    """Store W2 as ``torch.nn.Linear`` does, (d, n)."""
    import torch

    del workload
    w1 = weights.w1
    output_weight = weights.w2.t().contiguous()

    def forward(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(torch.nn.functional.gelu(torch.nn.functional.linear(x, w1)), output_weight)

    def bind(x: torch.Tensor, y: torch.Tensor) -> Callable[[], object]:
        hidden = x.new_empty((x.shape[0], w1.shape[0]))
        w1_t, w2_t = w1.t(), output_weight.t()

        def run() -> None:
            torch.mm(x, w1_t, out=hidden)
            gelu_in_place(hidden)
            torch.mm(hidden, w2_t, out=y)

        return run

    return Layer(forward, bind, resident=(output_weight,))
