"""Dense FF over tiles of the batch, padded, with one preallocated hidden tile and in-place GELU."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fffbench.implementations.dense_padded import NEURON_MULTIPLE
from fffbench.implementations.registry import Layer, Weights
from fffbench.implementations.torchlib import gelu_in_place, pad_rows, round_up, tile_tokens
from fffbench.plan.workload import Workload

if TYPE_CHECKING:
    import torch

FAMILY = "dense"
DEVICES = ("cpu", "cuda")
DTYPES = ("fp32", "tf32", "bf16", "fp16")


def unsupported(workload: Workload) -> str | None:
    """A batch of one tile is the padded layer already."""
    if workload.batch <= tile_tokens(workload.device, workload.batch):
        return f"a batch of {workload.batch} is a single tile: this is dense_padded"
    return None


def prepare(weights: Weights, workload: Workload) -> Layer:
    """Pad the weights, and store W1 transposed (d, n): the faster operand order of MKL on long tiles."""
    import torch

    rows = round_up(weights.w1.shape[0], NEURON_MULTIPLE)
    w1_t, w2 = pad_rows(weights.w1, rows).t().contiguous(), pad_rows(weights.w2, rows)
    tile = tile_tokens(workload.device, workload.batch)
    hidden = w2.new_empty((tile, rows))

    def fill(x: torch.Tensor, y: torch.Tensor) -> None:
        for start in range(0, x.shape[0], tile):
            part = x[start : start + tile]
            active = hidden[: part.shape[0]]
            torch.mm(part, w1_t, out=active)
            gelu_in_place(active)
            torch.mm(active, w2, out=y[start : start + tile])

    def forward(x: torch.Tensor) -> torch.Tensor:
        y = torch.empty_like(x)
        fill(x, y)
        return y

    def bind(x: torch.Tensor, y: torch.Tensor) -> Callable[[], object]:
        return lambda: fill(x, y)

    return Layer(forward, bind, resident=(w1_t, w2))
