"""What do the torch implementations share? One GELU, one tiling rule, one way to sum over trees.

Functions import torch inside, so that listing implementations stays free of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fffbench.devices import DEVICES
from fffbench.plan.workload import Workload

if TYPE_CHECKING:
    import torch


def gelu_in_place(hidden: torch.Tensor) -> None:
    """Exact (erf) GELU, written over ``hidden``."""
    import torch

    torch.ops.aten.gelu_(hidden)


def tile_tokens(device: str, batch: int) -> int:
    """How many tokens one tile of a batch-tiled layer holds."""
    return max(1, min(batch, DEVICES[device].tile_tokens))


def hidden_buffer(workload: Workload) -> Callable[[torch.Tensor, int], torch.Tensor]:
    """How a layer gets the buffer ``(batch, rows)`` of its activations for ``x`` when it binds.

    On a GPU all bound calls of a layer share one: they run one after another, and ten of 16384 x 2**20 in bf16 are
    340 GB. On a CPU each has its own, as its caches would else hold the buffer from the call before.
    """
    kept: dict[tuple[int, int], torch.Tensor] = {}

    def buffer(x: torch.Tensor, rows: int) -> torch.Tensor:
        shape = (x.shape[0], rows)
        if workload.place.host_memory:
            return x.new_empty(shape)
        if shape not in kept:
            kept[shape] = x.new_empty(shape)
        return kept[shape]

    return buffer


def pad_rows(matrix: torch.Tensor, rows: int) -> torch.Tensor:
    """A contiguous copy of ``matrix (n, d)`` with zero rows appended up to ``rows``."""
    padded = matrix.new_zeros((rows, matrix.shape[1]))
    padded[: matrix.shape[0]] = matrix
    return padded


def round_up(value: int, multiple: int) -> int:
    """The smallest multiple of ``multiple`` that is at least ``value``."""
    return -(-value // multiple) * multiple
