"""Dense FF by BLAS level 2: two sgemv for every token, GELU by torch over a tile of tokens in between."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fffbench import blaslib
from fffbench.implementations.registry import Layer, Weights
from fffbench.implementations.torchlib import gelu_in_place, tile_tokens
from fffbench.plan.workload import Workload

if TYPE_CHECKING:
    import torch

FAMILY = "dense"
DEVICES = ("cpu",)
DTYPES = ("fp32",)


def unsupported(workload: Workload) -> str | None:
    """Needs a BLAS with a C interface and the compiled loop around it."""
    del workload
    return blaslib.missing(loops=True)


def prepare(weights: Weights, workload: Workload) -> Layer:
    """Nothing is copied. As published but for its mistakes, and with the activations of a tile, not of the batch."""
    import torch

    from fffbench import _cpu

    blas = blaslib.use(workload.threads)
    gemv = blas.address("sgemv")
    w1, w2 = weights.w1, weights.w2
    n, d = w1.shape
    tile = tile_tokens(workload.device, workload.batch)
    hidden = w1.new_empty((tile, n))
    hidden_at = hidden.data_ptr()

    def fill(x: torch.Tensor, y: torch.Tensor) -> None:
        x_at, y_at, batch = x.data_ptr(), y.data_ptr(), x.shape[0]
        for start in range(0, batch, tile):
            tokens, offset = min(tile, batch - start), start * d * x.element_size()
            _cpu.blas_gemv_each(blas.wide, gemv, False, w1.data_ptr(), x_at + offset, hidden_at, tokens, n, d)  # noqa: FBT003
            gelu_in_place(hidden[:tokens])
            _cpu.blas_gemv_each(blas.wide, gemv, True, w2.data_ptr(), hidden_at, y_at + offset, tokens, n, d)  # noqa: FBT003

    def forward(x: torch.Tensor) -> torch.Tensor:
        y = torch.empty_like(x)
        fill(x, y)
        return y

    def bind(x: torch.Tensor, y: torch.Tensor) -> Callable[[], object]:
        return lambda: fill(x, y)

    return Layer(forward, bind, notes=(blas.note(workload.threads),))
