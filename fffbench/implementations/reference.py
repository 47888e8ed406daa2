"""The float64 reference: dumb, obviously right, and the judge of every other implementation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.special import erf

from fffbench.implementations.registry import Layer, Weights
from fffbench.plan.workload import Shape, Workload

if TYPE_CHECKING:
    import torch

FAMILY = "reference"
DEVICES = ("cpu",)
DTYPES = ("fp32", "bf16", "fp16")

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


def gelu(z: Array) -> Array:
    """Exact GELU, ``z * (1 + erf(z / sqrt(2))) / 2``, in float64."""
    return np.asarray(0.5 * z * (1 + erf(z / np.sqrt(2.0))), dtype=np.float64)


@dataclass(frozen=True)
class Walk:
    """What a tree FFF computes: output ``y (batch, d)``, visited ``rows`` and their ``logits`` (batch, trees * levels)."""

    y: Array
    rows: Indices
    logits: Array


def dense(x: Array, w1: Array, w2: Array) -> Array:
    """``gelu(x @ W1.T) @ W2`` for ``x (batch, d)``, ``w1`` and ``w2`` ``(n, d)``."""
    return np.asarray(gelu(x @ w1.T) @ w2)


def tree(x: Array, w1: Array, w2: Array, shape: Shape) -> Walk:
    """Every token walks every tree, level by level: one dot product, one turn, one row added."""
    batch = x.shape[0]
    y = np.zeros_like(x)
    rows = np.zeros((batch, shape.trees * shape.levels), dtype=np.int64)
    logits = np.zeros(rows.shape)
    for t in range(shape.trees):
        node = np.zeros(batch, dtype=np.int64)
        for level in range(shape.levels):
            row = t * (2**shape.levels - 1) + node
            z = np.einsum("bd,bd->b", x, w1[row])
            y += gelu(z)[:, None] * w2[row]
            rows[:, t * shape.levels + level] = row
            logits[:, t * shape.levels + level] = z
            node = 2 * node + 1 + (z > 0)
    return Walk(y, rows, logits)


def unsupported(workload: Workload) -> str | None:
    """Tree and dense form; leaf blocks have no reference yet."""
    return "the reference computes dense and tree form, not leaf blocks" if workload.shape.leaf_width else None


def prepare(weights: Weights, workload: Workload) -> Layer:
    """Widen the weights to float64."""
    w1, w2 = weights.w1.double().numpy(), weights.w2.double().numpy()
    shape = workload.shape

    def forward(x: torch.Tensor) -> torch.Tensor:
        import torch

        wide = x.double().numpy()
        y = tree(wide, w1, w2, shape).y if shape.is_tree else dense(wide, w1, w2)
        return torch.from_numpy(y).to(x.dtype)

    def bind(x: torch.Tensor, y: torch.Tensor) -> Callable[[], object]:
        return lambda: y.copy_(forward(x))

    return Layer(forward, bind)
