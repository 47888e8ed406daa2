"""Dense FF with the neurons padded by zero rows to a multiple of 64: exact, and GEMM libraries like it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fffbench.implementations.registry import Layer, Weights
from fffbench.implementations.torchlib import gelu_in_place, hidden_buffer, pad_rows, round_up
from fffbench.plan.workload import Workload

if TYPE_CHECKING:
    import torch

FAMILY = "dense"
DEVICES = ("cpu", "cuda")
DTYPES = ("fp32", "tf32", "bf16", "fp16")

# 64 elements are 128 bytes in bf16: every row starts on a tensor-core-friendly and cache-line boundary.
# gelu(0) = 0, so a padded neuron adds nothing.
NEURON_MULTIPLE = 64


def unsupported(workload: Workload) -> str | None:
    """It computes every layer."""
    del workload
    return None


def prepare(weights: Weights, workload: Workload) -> Layer:
    """Copy both matrices to ``round_up(n, 64)`` rows; W2 stays (n, d), so both products read rows."""
    import torch

    rows = round_up(weights.w1.shape[0], NEURON_MULTIPLE)
    w1, w2 = pad_rows(weights.w1, rows), pad_rows(weights.w2, rows)
    w1_t = w1.t()

    def forward(x: torch.Tensor) -> torch.Tensor:
        return torch.mm(torch.nn.functional.gelu(torch.mm(x, w1_t)), w2)

    hidden_of = hidden_buffer(workload)

    def bind(x: torch.Tensor, y: torch.Tensor) -> Callable[[], object]:
        hidden = hidden_of(x, rows)

        def run() -> None:
            torch.mm(x, w1_t, out=hidden)
            gelu_in_place(hidden)
            torch.mm(hidden, w2, out=y)

        return run

    return Layer(forward, bind, resident=(w1, w2))
