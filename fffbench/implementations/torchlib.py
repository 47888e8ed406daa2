"""What do the torch implementations share? One GELU, one tiling rule, one way to sum over trees.

Functions import torch inside, so that listing implementations stays free of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fffbench.plan.workload import Workload

if TYPE_CHECKING:
    import torch

# Tokens in a tile of the batch-tiled dense layers: 512 x 4095 fp32 activations are 8 MiB, resident in a
# last-level cache, while 512 rows keep a GEMM at its large-batch rate on 1 to 16 cores.
TILE_TOKENS = 512
CUDA_TILE_TOKENS = 16384  # a GPU needs more rows for full waves; 16384 x 4096 bf16 activations are 128 MiB


def gelu_in_place(hidden: torch.Tensor) -> None:
    """Exact (erf) GELU, written over ``hidden``."""
    import torch

    torch.ops.aten.gelu_(hidden)


def tile_tokens(device: str, batch: int) -> int:
    """How many tokens one tile of a batch-tiled layer holds."""
    return max(1, min(batch, CUDA_TILE_TOKENS if device == "cuda" else TILE_TOKENS))


def hidden_buffer(workload: Workload) -> Callable[[torch.Tensor, int], torch.Tensor]:
    """How a layer gets the buffer ``(batch, rows)`` of its activations for ``x`` when it binds.

    On a GPU all bound calls of a layer share one: they run one after another, and ten of 16384 x 2**20 in bf16 are
    340 GB. On a CPU each has its own, as its caches would else hold the buffer from the call before.
    """
    kept: dict[tuple[int, int], torch.Tensor] = {}

    def buffer(x: torch.Tensor, rows: int) -> torch.Tensor:
        shape = (x.shape[0], rows)
        if workload.device != "cuda":
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


def accelerator_missing(device: str) -> str | None:
    """A sentence if ``device`` is not here, else None."""
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            return "no CUDA device here"
    return None
