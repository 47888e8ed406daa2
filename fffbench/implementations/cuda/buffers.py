"""Where do the CUDA programs of one layer keep packed weights, and what is handed from launch to launch?"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from fffbench.implementations.cuda.base import Packed

if TYPE_CHECKING:
    import torch


@lru_cache(maxsize=64)
def _rows(rows: tuple[int, ...], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Which rows to take, and where none is: kept, as a layer that is prepared anew at every call asks again."""
    import torch

    index = torch.tensor(rows, device=device)
    return index.clamp_min(0), index < 0


class Copy:
    """A packed copy of a matrix of weights."""

    def __init__(self, recipe: Packed, source: torch.Tensor) -> None:
        """Make it, filled."""
        self._source = source
        self._rows, self._missing = _rows(recipe.rows, source.device)
        self.tensor = source.new_empty((len(recipe.rows), *source.shape[1:]))
        self.fill()

    def fill(self) -> None:
        """Pack what the weights are now."""
        import torch

        torch.index_select(self._source, 0, self._rows, out=self.tensor)
        self.tensor.masked_fill_(self._missing.view(-1, *[1] * (self.tensor.ndim - 1)), 0)


class Buffers:
    """What the programs of one layer share: packed copies of its weights, and matrices between a call's products."""

    def __init__(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Nothing is made before it is asked for; ``weights`` are by name: w1, w2 and the biases that there are."""
        self.weights = {name: tensor.detach() for name, tensor in weights.items()}
        self.copies: dict[Packed, Copy] = {}
        self._scratch: dict[tuple[int, int, int], torch.Tensor] = {}

    def packed(self, recipe: Packed) -> torch.Tensor:
        """The copy that ``recipe`` asks for."""
        if recipe not in self.copies:
            self.copies[recipe] = Copy(recipe, self.weights[recipe.source])
        return self.copies[recipe].tensor

    def matrix(self, shape: tuple[int, int], stream: int) -> torch.Tensor:
        """A matrix of that shape; calls on one stream run one after another and share it.

        Batches up to the next power of two share one, so that many batch sizes take at most twice the largest's memory.
        """
        rows, columns = shape
        key = (1 << max(0, rows - 1).bit_length(), columns, stream)
        if key not in self._scratch:
            self._scratch[key] = self.weights["w1"].new_empty(key[:2])
        return self._scratch[key][:rows]

    def zeros(self, size: int) -> torch.Tensor:
        """A workspace of ``size`` bytes, for one program."""
        import torch

        return torch.zeros(-(-size // 4), dtype=torch.int32, device=self.weights["w1"].device)
