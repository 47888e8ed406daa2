"""What must the C++ dense layers give? Inputs of a shape, and the layer in float64."""

from __future__ import annotations

import numpy as np
from scipy.special import erf

GUARD = 64


def make(batch, d, n):
    """``x (batch, d)``, ``w1`` and ``w2 (n, d)`` in fp32, logits and outputs of about 1."""
    rng = np.random.default_rng([batch, d, n])
    x, w1, w2 = (rng.standard_normal((rows, d), dtype=np.float32) for rows in (batch, n, n))
    return x, w1 * np.float32(d**-0.5), w2 * np.float32(n**-0.5)


def reference(x, w1, w2):
    """``gelu(x w1^T) w2`` in float64, ``(batch, d)``."""
    x, w1, w2 = (a.astype(np.float64) for a in (x, w1, w2))
    z = x @ w1.T
    return (z * 0.5 * (1 + erf(z / 2**0.5))) @ w2


class Guarded:
    """An output ``y`` of the shape of ``x`` with elements on either side that nobody may touch."""

    def __init__(self, x):
        self._buffer = np.empty(x.size + 2 * GUARD, np.float32)
        self.y = self._buffer[GUARD : GUARD + x.size].reshape(x.shape)

    def spoil(self):
        """Make everything NaN."""
        self._buffer[:] = np.nan

    def untouched(self):
        """Whether the elements around ``y`` are what ``spoil`` made them."""
        return np.isnan(self._buffer[:GUARD]).all() and np.isnan(self._buffer[GUARD + self.y.size :]).all()


def packed(w1, w2, panel, block, levels=0):
    """The order that ``GemmJob`` asks for, in blocks of ``block`` neurons, of whole trees where ``levels`` says so.

    By NumPy: the sanitizers' environment has no torch.
    """
    if levels:
        w1, w2 = (whole_trees(w, levels, panel, block) for w in (w1, w2))
    n, d = w1.shape
    rows, columns = (-(-size // panel) * panel for size in (n, d))
    w1, w2 = np.pad(w1, ((0, rows - n), (0, 0))), np.pad(w2, ((0, rows - n), (0, columns - d)))
    parts = []
    for begin in range(0, rows, block):
        first, second = (w[begin : begin + block] for w in (w1, w2))
        parts += [first[i : i + panel].T.ravel() for i in range(0, len(first), panel)]
        parts += [second[:, i : i + panel].ravel() for i in range(0, columns, panel)]
    return np.concatenate(parts)


def whole_trees(w, levels, panel, block):
    """Rows of ``w`` with zeros after the last tree that ends in a block; the last block ends with a panel."""
    rows = block // (2**levels - 1) * (2**levels - 1)
    parts = [w[begin : begin + rows] for begin in range(0, len(w), rows)]
    sizes = [block] * (len(parts) - 1) + [-(-len(parts[-1]) // panel) * panel]
    return np.concatenate([np.pad(one, ((0, size - len(one)), (0, 0))) for one, size in zip(parts, sizes, strict=True)])
