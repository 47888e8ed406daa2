"""Dense FF over tiles of the batch through the BLAS inside numpy's wheel (OpenBLAS), GELU by torch."""

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
DEVICES = ("cpu",)
DTYPES = ("fp32",)


def _blas() -> str:
    """Name and version of the BLAS that numpy calls, or an empty string."""
    import numpy as np  # noqa: F401  (loads the library that threadpoolctl then finds)
    from threadpoolctl import threadpool_info

    for library in threadpool_info():
        if library["user_api"] == "blas" and "numpy" in library["filepath"]:
            return f"{library['internal_api']} {library['version']} ({library.get('architecture', 'unknown kernel')})"
    return ""


def unsupported(workload: Workload) -> str | None:
    """Needs a numpy that carries its own BLAS, as the wheels on PyPI do."""
    del workload
    return None if _blas() else "numpy here carries no BLAS of its own"


def prepare(weights: Weights, workload: Workload) -> Layer:
    """Pad the neurons; W1 transposed (d, n), so that both products are plain row-major."""
    import numpy as np
    import torch

    rows = round_up(weights.w1.shape[0], NEURON_MULTIPLE)
    w1_t, w2 = pad_rows(weights.w1, rows).t().contiguous(), pad_rows(weights.w2, rows)
    w1_array, w2_array = w1_t.numpy(), w2.numpy()
    tile = tile_tokens("cpu", workload.batch)
    hidden = w2.new_empty((tile, rows))
    hidden_array = hidden.numpy()

    def fill(x: torch.Tensor, y: torch.Tensor) -> None:
        x_array, y_array = x.numpy(), y.numpy()
        for start in range(0, x.shape[0], tile):
            part = x_array[start : start + tile]
            np.matmul(part, w1_array, out=hidden_array[: len(part)])
            gelu_in_place(hidden[: len(part)])
            np.matmul(hidden_array[: len(part)], w2_array, out=y_array[start : start + tile])

    def forward(x: torch.Tensor) -> torch.Tensor:
        y = torch.empty_like(x)
        fill(x, y)
        return y

    def bind(x: torch.Tensor, y: torch.Tensor) -> Callable[[], object]:
        return lambda: fill(x, y)

    return Layer(forward, bind, resident=(w1_t, w2), notes=(_blas(),))
