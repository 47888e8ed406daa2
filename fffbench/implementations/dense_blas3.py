"""Dense FF over tiles of the batch by BLAS level 3: two sgemm of whatever BLAS is found, GELU by torch.

A tile of one token is two sgemv.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fffbench import blaslib
from fffbench.implementations.dense_padded import NEURON_MULTIPLE
from fffbench.implementations.registry import Layer, Weights
from fffbench.implementations.torchlib import pad_rows, round_up, tile_tokens
from fffbench.plan.workload import Workload

if TYPE_CHECKING:
    import torch

FAMILY = "dense"
DEVICES = ("cpu",)
DTYPES = ("fp32",)


def unsupported(workload: Workload) -> str | None:
    """Needs a BLAS with a C interface."""
    del workload
    return blaslib.missing()


def prepare(weights: Weights, workload: Workload) -> Layer:
    """Pad the neurons; W1 transposed (d, n), so that both products are plain row-major."""
    import torch

    from fffbench import _cpu

    blas = blaslib.use(workload.threads)
    d, rows = workload.shape.d, round_up(weights.w1.shape[0], NEURON_MULTIPLE)
    w1_t, w2 = pad_rows(weights.w1, rows).t().contiguous(), pad_rows(weights.w2, rows)
    tile = tile_tokens(workload.device, workload.batch)
    hidden = w2.new_empty((tile, rows))
    products = {
        tokens: (blas.product(tokens, d, rows), blas.product(tokens, rows, d))
        for tokens in {min(tile, workload.batch), workload.batch % tile}
        if tokens
    }

    def fill(x: torch.Tensor, y: torch.Tensor) -> None:
        # addresses are read in the call, so that whoever holds it holds the tensors too
        w1_at, w2_at, hidden_at = w1_t.data_ptr(), w2.data_ptr(), hidden.data_ptr()
        x_at, y_at, batch = x.data_ptr(), y.data_ptr(), x.shape[0]
        for start in range(0, batch, tile):
            tokens, offset = min(tile, batch - start), start * d * x.element_size()
            first, second = products[tokens]
            first(x_at + offset, w1_at, hidden_at)
            # torch's OpenMP threads spin on after a GELU of theirs and keep the cores from the BLAS: with them
            # batch 128 took 22 ms on 2 threads and 19 ms on 1
            _cpu.gelu(hidden_at, tokens * rows, workload.threads)
            second(hidden_at, w2_at, y_at + offset)

    def forward(x: torch.Tensor) -> torch.Tensor:
        y = torch.empty_like(x)
        fill(x, y)
        return y

    def bind(x: torch.Tensor, y: torch.Tensor) -> Callable[[], object]:
        return lambda: fill(x, y)

    return Layer(forward, bind, resident=(w1_t, w2), notes=(blas.note(workload.threads),))
