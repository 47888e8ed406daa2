"""How do the tokens spread over the leaves, and from which data?

``uniform``: normal weights and inputs, so every turn is close to an even coin.
``single-path``: random data in which every token takes one and the same path,
as in the published benchmark (there because its weights were never written).
``zipf``: tokens choose leaves independently, the r-th most popular leaf of a
tree with probability proportional to 1/r, leaves ranked in random order.
Logits have unit scale in all, so no activation is degenerate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fffbench.plan.workload import Shape, Workload

Array = npt.NDArray[np.float32]

# single-path and zipf: a logit that decides a turn is +-1 with this much noise, ten standard deviations from the other
PATH_NOISE = 0.1
ZIPF_EXPONENT = 1.0  # of the rank: word frequencies and expert popularities lie around it


@dataclass(frozen=True)
class Data:
    """Inputs and weights in float32: ``x (tokens, d)``, ``w1`` and ``w2`` ``(n, d)``.

    In the leaf form ``w1`` is ``(routers + n, d)``: first the routers, tree ``t`` from row
    ``t * (2**levels - 1)`` in breadth-first order, then the neurons, leaf ``j`` of tree ``t`` from row
    ``(t * 2**levels + j) * leaf_width`` of theirs. ``w2`` has the neurons only, in the same order.
    """

    x: Array
    w1: Array
    w2: Array
    law: Law | None = None  # of ``zipf``


@dataclass(frozen=True)
class Law:
    """What ``zipf`` wrote into the weights: inputs that carry turns ``(groups, turns)``, leaves by rank per group."""

    carriers: npt.NDArray[np.int64]
    leaf_of_rank: npt.NDArray[np.int64]


def tokens_needed(workload: Workload) -> int:
    """Distinct tokens of a pool: at least one batch, and at least as many tokens as leaves."""
    batches = max(1, -(-workload.shape.leaves // max(1, workload.batch)))
    return batches * workload.batch


def make(workload: Workload, tokens: int) -> Data:
    """Draw the data of ``workload`` with ``tokens`` rows of x.

    Weights depend on shape, routing and seed only, so implementations, batches and thread counts share
    them. W1 is scaled by 1/sqrt(d) (unit logits), W2 by 1/sqrt(neurons that contribute) (unit outputs).
    """
    shape = workload.shape
    weights = np.random.default_rng([workload.seed, shape.d, shape.n, 1])
    inputs = np.random.default_rng([workload.seed, shape.d, tokens, 2])
    contributing = shape.trees * shape.leaf_width if shape.leaf_width else shape.active
    w1 = weights.standard_normal((shape.routers + shape.n, shape.d), dtype=np.float32)
    w1 *= np.float32(shape.d**-0.5)
    w2 = weights.standard_normal((shape.n, shape.d), dtype=np.float32)
    w2 *= np.float32(contributing**-0.5)
    x = inputs.standard_normal((tokens, shape.d), dtype=np.float32)
    law = None
    if workload.routing == "single-path" and shape.is_tree:
        _force_one_path(shape, weights, w1)
    if workload.routing == "zipf" and shape.is_tree:
        law = _force_leaves(shape, weights, w1)
    impose(workload, law, x, inputs)
    return Data(x, w1, w2, law)


def impose(workload: Workload, law: Law | None, x: Array, rng: np.random.Generator) -> None:
    """Make standard normal inputs ``x (tokens, d)`` take the paths of the routing, in place; ``law`` from its weights.

    Fresh inputs for the weights of ``make`` are drawn so: nothing about them follows from the workload's seed.
    """
    if workload.routing == "single-path" and workload.shape.is_tree:
        x += (1 - x.mean(axis=1, keepdims=True)).astype(np.float32)  # component along u: sqrt(d) * mean = sqrt(d)
    if law is not None:
        shape, bit = workload.shape, np.arange(workload.shape.turns - 1, -1, -1)  # the root's turn is the highest bit
        ranks = zipf_ranks(shape, rng, len(x))
        for group, carriers in enumerate(law.carriers):
            right = law.leaf_of_rank[group][ranks[:, group], None] >> bit & 1
            x[:, carriers] = 2 * right - 1


def zipf_probabilities(leaves: int) -> npt.NDArray[np.float64]:
    """Probability of each rank, most popular first."""
    weight = np.arange(1, leaves + 1, dtype=np.float64) ** -ZIPF_EXPONENT
    return np.asarray(weight / weight.sum())


def zipf_ranks(shape: Shape, rng: np.random.Generator, tokens: int) -> npt.NDArray[np.int64]:
    """Each token's draw in each independent group of trees: ``(tokens, groups)`` ranks from 0."""
    edges = zipf_probabilities(shape.leaves).cumsum()
    drawn = np.searchsorted(edges, rng.random((tokens, independent_trees(shape))), side="right")
    return np.minimum(drawn, shape.leaves - 1).astype(np.int64)  # the last edge may be a rounding below 1


def independent_trees(shape: Shape) -> int:
    """How many trees can have leaves of their own choice under ``zipf``: half of the inputs carry turns, at most.

    Further trees repeat the draw of an earlier one, over leaves in an order of their own.
    """
    return max(1, min(shape.trees, shape.d // 2 // max(1, shape.turns)))


def _force_leaves(shape: Shape, rng: np.random.Generator, w1: Array) -> Law | None:
    """Write into ``w1``, in place, so that inputs that obey the law returned reach the leaf of their rank everywhere.

    Input j carries one turn (a level of a group of trees): it is +1 in tokens that turn right and -1 in the others.
    A deciding node has the weight +-1 at its level's input and what remains of the random weights elsewhere, shrunk.
    Trees of a group differ by the sign of that weight, a level each: leaf xor mask, so the law holds in each.
    """
    turns, groups = shape.turns, independent_trees(shape)
    if turns == 0:
        return None
    carriers = rng.permutation(shape.d)[: groups * turns].reshape(groups, turns)
    leaf_of_rank = np.array([rng.permutation(shape.leaves) for _ in range(groups)])
    nodes_per_tree = 2**shape.levels - 1
    for tree in range(shape.trees):
        own = carriers[tree % groups]
        signs = np.ones(turns) if tree < groups else rng.choice((-1.0, 1.0), turns)
        for level in range(turns):
            first = tree * nodes_per_tree + 2**level - 1
            rows = w1[first : first + 2**level]
            rows *= np.float32(PATH_NOISE)
            rows[:, own] = 0
            rows[:, own[level]] = signs[level]
    return Law(carriers, leaf_of_rank)


def _force_one_path(shape: Shape, rng: np.random.Generator, w1: Array) -> None:
    """Write into ``w1``, in place, so that every token follows one randomly drawn path per tree; for ``impose``'s x.

    Along the unit vector u = 1/sqrt(d) every token gets the component sqrt(d) and every path node the
    weight +-1/sqrt(d): the logit is +-1 plus what the remaining, shrunk random weights add.
    """
    root = np.float32(shape.d**0.5)
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
