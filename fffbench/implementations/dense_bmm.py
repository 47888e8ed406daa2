"""Dense FF as one vector-matrix product a token through torch.bmm: the published batched baseline."""

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
    """Nothing is copied: the weights are expanded views, one a token."""
    import torch

    del workload
    w1_t, w2 = weights.w1.t(), weights.w2

    def forward(x: torch.Tensor) -> torch.Tensor:
        batch = x.shape[0]
        hidden = torch.nn.functional.gelu(torch.bmm(x.unsqueeze(1), w1_t.expand(batch, -1, -1)))
        return torch.bmm(hidden, w2.expand(batch, -1, -1)).squeeze(1)

    def bind(x: torch.Tensor, y: torch.Tensor) -> Callable[[], object]:
        batch = x.shape[0]
        hidden = x.new_empty((batch, 1, w2.shape[0]))
        rows, output = x.unsqueeze(1), y.unsqueeze(1)
        w1_all, w2_all = w1_t.expand(batch, -1, -1), w2.expand(batch, -1, -1)

        def run() -> None:
            torch.bmm(rows, w1_all, out=hidden)
            gelu_in_place(hidden)
            torch.bmm(hidden, w2_all, out=output)

        return run

    return Layer(forward, bind)
