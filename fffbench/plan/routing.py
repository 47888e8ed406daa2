"""How do the tokens spread over the leaves, and from which data?

``uniform``: normal weights and inputs, so every turn is close to an even coin.
``single-path``: random data in which every token takes one and the same path,
as in the published benchmark (there because its weights were never written).
Logits have unit scale in both, so no activation is degenerate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fffbench.plan.workload import Shape, Workload

Array = npt.NDArray[np.float32]

# single-path: the logit on the path is +-1 with this much noise, ten standard deviations from a turn
PATH_NOISE = 0.1


@dataclass(frozen=True)
class Data:
    """Inputs and weights in float32: ``x (tokens, d)``, ``w1 (n, d)``, ``w2 (n, d)``."""

    x: Array
    w1: Array
    w2: Array


def tokens_needed(workload: Workload) -> int:
    """Distinct tokens of a pool: at least one batch, and at least as many tokens as leaves."""
    batches = max(1, -(-workload.shape.leaves // max(1, workload.batch)))
    return batches * workload.batch


def make(workload: Workload, tokens: int) -> Data:
    """Draw the data of ``workload`` with ``tokens`` rows of x.

    Weights depend on shape, routing and seed only, so implementations, batches and thread counts share
    them. W1 is scaled by 1/sqrt(d) (unit logits), W2 by 1/sqrt(active) (unit outputs).
    """
    shape = workload.shape
    weights = np.random.default_rng([workload.seed, shape.d, shape.n, 1])
    inputs = np.random.default_rng([workload.seed, shape.d, tokens, 2])
    w1 = weights.standard_normal((shape.n, shape.d), dtype=np.float32)
    w1 *= np.float32(shape.d**-0.5)
    w2 = weights.standard_normal((shape.n, shape.d), dtype=np.float32)
    w2 *= np.float32(shape.active**-0.5)
    x = inputs.standard_normal((tokens, shape.d), dtype=np.float32)
    if workload.routing == "single-path" and shape.is_tree:
        _force_one_path(shape, weights, x, w1)
    return Data(x, w1, w2)


def _force_one_path(shape: Shape, rng: np.random.Generator, x: Array, w1: Array) -> None:
    """Write into ``w1`` and ``x`` so that every token follows one randomly drawn path a tree, in place.

    Along the unit vector u = 1/sqrt(d) every token gets the component sqrt(d) and every path node the
    weight +-1/sqrt(d): the logit is +-1 plus what the remaining, shrunk random weights add.
    """
    root = np.float32(shape.d**0.5)
    x += (1 - x.mean(axis=1, keepdims=True)).astype(np.float32)  # component along u: sqrt(d) * mean = sqrt(d)
    nodes_per_tree = 2**shape.levels - 1
    for tree in range(shape.trees):
        node = 0
        for _ in range(shape.levels):
            right = int(rng.integers(2))
            row = w1[tree * nodes_per_tree + node]
            row -= row.mean()
            row *= np.float32(PATH_NOISE)
            row += np.float32(2 * right - 1) / root / root
            node = 2 * node + 1 + right
