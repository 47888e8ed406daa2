"""Where do the tokens of a tree go that has learnt something? Weights and inputs of a layer trained on MNIST-1D.

``trained.npz`` is the tree of 9 levels of the accuracy study (``benchmarks.studies.accuracy``; of the two recipes the
more accurate one by validation, first seed): its W1 and b1, samples that it was trained on, and the linear layer that
makes its inputs of them, which are then normalised. The bias becomes a part of the weights: inputs sum to zero, so with
1 added to every input and the mean taken from every row, an addition of b1/d to all weights of a row is an addition of
b1 to its logit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from fffbench.problems.base import Array

D, LEVELS = 128, 9
FILE = Path(__file__).with_name("trained.npz")
JITTER = 0.01  # of an input's size: no input is known beforehand


@dataclass(frozen=True)
class Recorded:
    """``w1 (n, d)``, the bias within, and inputs ``x (samples, d)``."""

    w1: Array
    x: Array


@cache
def recorded() -> Recorded:
    """What the file has."""
    with np.load(FILE) as kept:
        w1, b1, embed, embed_bias, samples, scale = (
            kept[name].astype(np.float32) for name in ("w1", "b1", "embed", "embed_bias", "samples", "scale")
        )
    u = (samples * scale) @ embed + embed_bias
    u -= u.mean(axis=1, keepdims=True)
    u /= u.std(axis=1, keepdims=True)
    rows = w1.T - w1.T.mean(axis=1, keepdims=True) + b1[:, None] / D
    return Recorded(np.ascontiguousarray(rows, dtype=np.float32), np.asarray(u + 1, dtype=np.float32))
