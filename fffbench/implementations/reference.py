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
    """What a conditional layer computes: output ``y (batch, d)``, and what it went through.

    ``rows`` of W1 and their ``logits`` are those of the nodes on the paths, ``(batch, trees * levels)``.
    ``neurons``, rows of W2, and ``inputs``, their logits, are what the output is made of: in the tree form the
    same, in the leaf form the blocks, ``(batch, trees * leaf_width)``.
    """

    y: Array
    rows: Indices
    logits: Array
    neurons: Indices
    inputs: Array


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
    return Walk(y, rows, logits, rows, logits)


def leaf(x: Array, w1: Array, w2: Array, shape: Shape) -> Walk:
    """Every token is routed down every tree, then evaluates the neurons of the leaf it reaches."""
    batch = x.shape[0]
    y = np.zeros_like(x)
    rows = np.zeros((batch, shape.trees * shape.levels), dtype=np.int64)
    logits = np.zeros(rows.shape)
    neurons = np.zeros((batch, shape.trees * shape.leaf_width), dtype=np.int64)
    inputs = np.zeros(neurons.shape)
    for t in range(shape.trees):
        node = np.zeros(batch, dtype=np.int64)
        for level in range(shape.levels):
            row = t * (2**shape.levels - 1) + node
            z = np.einsum("bd,bd->b", x, w1[row])
            rows[:, t * shape.levels + level] = row
            logits[:, t * shape.levels + level] = z
            node = 2 * node + 1 + (z > 0)
        first = first_neuron(shape, t, node)
        for k in range(shape.leaf_width):
            neuron = first + k
            z = np.einsum("bd,bd->b", x, w1[shape.routers + neuron])
            y += gelu(z)[:, None] * w2[neuron]
            neurons[:, t * shape.leaf_width + k] = neuron
            inputs[:, t * shape.leaf_width + k] = z
    return Walk(y, rows, logits, neurons, inputs)


def first_neuron(shape: Shape, t: int, node: Indices) -> Indices:
    """The first neuron, a row of W2, of the leaf block that ``node`` (below the last routers) of tree ``t`` is."""
    return np.asarray((t * 2**shape.levels + node - (2**shape.levels - 1)) * shape.leaf_width)


def walk(x: Array, w1: Array, w2: Array, shape: Shape) -> Walk:
    """The form of ``shape``: tree or leaf."""
    return (leaf if shape.leaf_width else tree)(x, w1, w2, shape)


def unsupported(workload: Workload) -> str | None:
    """It computes every form."""
    del workload
    return None


def prepare(weights: Weights, workload: Workload) -> Layer:
    """Widen the weights to float64."""
    copies = weights.w1.double(), weights.w2.double()
    w1, w2 = (copy.numpy() for copy in copies)
    shape = workload.shape

    def forward(x: torch.Tensor) -> torch.Tensor:
        import torch

        wide = x.double().numpy()
        y = walk(wide, w1, w2, shape).y if shape.is_tree else dense(wide, w1, w2)
        return torch.from_numpy(y).to(x.dtype)

    def bind(x: torch.Tensor, y: torch.Tensor) -> Callable[[], object]:
        return lambda: y.copy_(forward(x))

    return Layer(forward, bind, resident=copies)
