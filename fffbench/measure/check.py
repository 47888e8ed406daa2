"""Is this output right, and along which paths?

A token passes if its output matches the float64 output along the reference
path, or along a path that leaves it solely at near-ties: nodes whose logit is
within the rounding bound of zero, where a correct kernel may turn either way.
How many tokens did so is counted and capped by the number that have a near-tie.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fffbench.implementations import reference as exact
from fffbench.measure import tolerance as model
from fffbench.plan.counts import ROUTER_ROW
from fffbench.plan.workload import Shape, Workload

Array = npt.NDArray[np.float64]

# A token with more alternatives than this (6 near-ties) is checked against the first 64 of them only.
MOST_ALTERNATIVES = 64
# float64 operations spent on one dense reference; above it a random sample of the tokens is checked.
DENSE_REFERENCE_OPERATIONS = 1.0e11
_DENSE_CHUNK = 1024  # tokens a chunk: 1024 x 4095 float64 logits are 34 MB


@dataclass(frozen=True)
class Reference:
    """What the outputs of the tokens ``index`` must be. All arrays are over those tokens.

    ``alternatives`` maps a position in ``index`` to the outputs along its other admissible paths.
    """

    index: npt.NDArray[np.int64]
    y: Array
    scale: Array  # size of y, the denominator of every error
    std: Array  # standard deviation of the error norm that the dtype predicts
    distinct_rows: float  # distinct neurons a batch visits, mean over the batches; routers as plan.counts says
    alternatives: Mapping[int, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """The outcome of one comparison; ``failure`` is None when every token passed.

    ``harm``: the failure is about memory that is not the output's, which nothing may touch, on purpose or not.
    """

    error: float
    tolerance: float
    tokens: int
    diverged: int
    diverged_cap: int
    failure: str | None = None
    harm: bool = False


def expecting(verdict: Verdict, wrong: str) -> Verdict:
    """``verdict`` on an implementation that is wrong on purpose (``wrong`` says how): it must be, and do no harm.

    An empty batch has no output that could be wrong.
    """
    if not wrong or verdict.harm:
        return verdict
    if verdict.failure is None and verdict.tokens > 0:
        return replace(verdict, failure=f"its output is right, though it is registered as wrong on purpose ({wrong})")
    return replace(verdict, failure=None)


def make_reference(workload: Workload, x: Array, w1: Array, w2: Array, *, conditional: bool) -> Reference:
    """The reference for inputs ``x (tokens, d)`` and weights ``(n, d)``, all float64 and already rounded to the dtype.

    ``conditional`` asks for the tree or leaf FFF, otherwise the dense layer with all n neurons.
    """
    return (_tree_reference if conditional else _dense_reference)(workload, x, w1, w2)


def _dense_reference(workload: Workload, x: Array, w1: Array, w2: Array) -> Reference:
    """The reference of the dense layer, on a random sample of tokens where all would take too long."""
    w1 = w1[workload.shape.routers :]
    n, d = w1.shape
    affordable = max(1, int(DENSE_REFERENCE_OPERATIONS / (4 * n * d)))
    index = np.arange(len(x))
    if affordable < len(x):
        index = np.sort(np.random.default_rng(workload.seed).choice(len(x), affordable, replace=False))
    w1_norm, w2_norm = np.linalg.norm(w1, axis=1), np.linalg.norm(w2, axis=1)
    outputs, stds, scales = [np.empty((0, d))], [np.empty(0)], [np.empty(0)]
    for start in range(0, len(index), _DENSE_CHUNK):
        part = x[index[start : start + _DENSE_CHUNK]]
        z = part @ w1.T
        activation = exact.gelu(z)
        y = activation @ w2
        z_std = model.logit_std(z, np.linalg.norm(part, axis=1)[:, None], w1_norm, d, workload.dtype)
        std, scale = model.output_std(z, activation, z_std, w2_norm, np.linalg.norm(y, axis=1), workload.dtype)
        outputs.append(y)
        stds.append(std)
        scales.append(scale)
    return Reference(
        index, np.concatenate(outputs), np.concatenate(scales), np.concatenate(stds), float(n if len(x) else 0)
    )


def _tree_reference(workload: Workload, x: Array, w1: Array, w2: Array) -> Reference:
    shape = workload.shape
    walk = exact.walk(x, w1, w2, shape)
    x_norm = np.linalg.norm(x, axis=1)[:, None]
    w1_norm, w2_norm = np.linalg.norm(w1, axis=1), np.linalg.norm(w2, axis=1)
    turn_std = model.logit_std(walk.logits, x_norm, w1_norm[walk.rows], shape.d, workload.dtype)
    z_std = model.logit_std(walk.inputs, x_norm, w1_norm[shape.routers + walk.neurons], shape.d, workload.dtype)
    y_norm = np.linalg.norm(walk.y, axis=1)
    std, scale = model.output_std(
        walk.inputs, exact.gelu(walk.inputs), z_std, w2_norm[walk.neurons], y_norm, workload.dtype
    )
    near = np.flatnonzero((np.abs(walk.logits) <= model.LOGIT_SIGMAS * turn_std).any(axis=1))
    others = Alternatives(workload, near.tolist(), x, w1, w2)
    distinct = _distinct_rows(walk.neurons, workload.batch)
    if shape.routers:
        distinct += ROUTER_ROW * _distinct_rows(walk.rows, workload.batch)
    return Reference(np.arange(len(x)), walk.y, scale, std, distinct, others)


def _distinct_rows(rows: npt.NDArray[np.int64], batch: int) -> float:
    counts = [len(np.unique(rows[start : start + batch])) for start in range(0, len(rows), max(1, batch))]
    return float(np.mean(counts)) if counts else 0.0


class Rows(Protocol):
    """A matrix of which some rows are asked for: an array, or one that lies elsewhere."""

    def __getitem__(self, rows: Any, /) -> Any:
        """The rows with the given numbers, or a slice of rows, as float64."""


class Alternatives(Mapping[int, Array]):
    """For each token of ``near``, which has a near-tie: its outputs along its other admissible paths.

    They are computed when one is asked for: a comparison asks for the tokens that differ, a tenth of those near.
    """

    def __init__(self, workload: Workload, near: Sequence[int], x: Rows, w1: Rows, w2: Rows) -> None:
        """Of inputs ``x (tokens, d)`` and weights as ``make_reference`` takes them."""
        self._of = (x, w1, w2, workload.dtype, workload.shape)
        self._near = dict.fromkeys(near)

    def __iter__(self) -> Iterator[int]:
        """The tokens."""
        return iter(self._near)

    def __len__(self) -> int:
        """How many tokens have a near-tie."""
        return len(self._near)

    def __contains__(self, token: object) -> bool:
        """Whether ``token`` has a near-tie."""
        return token in self._near

    def __getitem__(self, token: int) -> Array:
        """Outputs (paths, d) of ``token``; KeyError where it has no near-tie."""
        if token not in self._near:
            raise KeyError(token)
        x, w1, w2, dtype, shape = self._of
        return _alternatives(np.asarray(x[token : token + 1])[0], w1, w2, dtype, shape)


def _alternatives(x: Array, w1: Rows, w2: Rows, dtype: str, shape: Shape) -> Array:
    """Outputs of one token along every admissible path but the reference's own: (paths, d).

    All trees are walked together, a level at a time; a tree's first path is the reference's own.
    """
    x_norm = np.asarray(np.linalg.norm(x))
    tree, node = np.arange(shape.trees), np.zeros(shape.trees, dtype=np.int64)
    y = np.zeros((shape.trees, len(x)))
    for _ in range(shape.levels):
        rows = tree * (2**shape.levels - 1) + node
        weights = np.asarray(w1[rows])
        z = weights @ x
        if not shape.routers:
            y += exact.gelu(z)[:, None] * np.asarray(w2[rows])
        spread = model.logit_std(z, x_norm, np.linalg.norm(weights, axis=1), shape.d, dtype)
        tied = np.flatnonzero(np.abs(z) <= model.LOGIT_SIGMAS * spread)
        left, right = 2 * node + 1 + (z > 0), 2 * node[tied] + 1 + (z[tied] <= 0)
        tree, node, y = np.concatenate([tree, tree[tied]]), np.concatenate([left, right]), np.concatenate([y, y[tied]])
        kept = _first_of_each(tree, MOST_ALTERNATIVES)
        tree, node, y = tree[kept], node[kept], y[kept]
    if shape.leaf_width:
        y = np.array([_block(x, w1, w2, shape, int(t), int(at)) for t, at in zip(tree, node, strict=True)])
    alone = np.bincount(tree, minlength=shape.trees)[tree] == 1
    totals = [(y[alone].sum(axis=0), False)]  # an output, and whether it left the reference's path
    for t in np.unique(tree[~alone]):
        paths = y[tree == t]
        totals = [
            (total + path, was or k > 0) for total, was in totals[:MOST_ALTERNATIVES] for k, path in enumerate(paths)
        ]
    return np.array([total for total, was in totals if was]).reshape(-1, len(x))


def _first_of_each(group: npt.NDArray[np.int64], most: int) -> npt.NDArray[np.int64]:
    """Positions of the first ``most`` members of every group, in their order."""
    order = np.argsort(group, kind="stable")
    ordered = group[order]
    rank = np.arange(len(group)) - np.searchsorted(ordered, ordered)
    return np.sort(order[rank < most])


def _block(x: Array, w1: Rows, w2: Rows, shape: Shape, t: int, node: int) -> Array:
    """What the leaf block that ``node`` of tree ``t`` leads to makes of one token."""
    first = int(exact.first_neuron(shape, t, np.asarray(node)))
    inputs = w1[shape.routers + first : shape.routers + first + shape.leaf_width]
    return np.asarray(exact.gelu(inputs @ x) @ w2[first : first + shape.leaf_width])


def compare(reference: Reference, y: Array) -> Verdict:
    """Judge outputs ``y (tokens, d)`` of the whole batch against the reference."""
    tokens, cap = len(reference.index), len(reference.alternatives)
    unwritten = int((~np.isfinite(y)).sum())
    if unwritten:
        where = int(np.argwhere(~np.isfinite(y))[0][0])
        return Verdict(
            np.inf,
            0.0,
            tokens,
            0,
            cap,
            f"{unwritten} elements are not finite or were never written, first at token {where}",
        )
    if tokens == 0:
        return Verdict(0.0, 0.0, 0, 0, 0)
    chosen = y[reference.index]
    share = error_share(chosen, reference.y, reference.std)
    diverged = 0
    for token in np.flatnonzero(share > 1):
        for other in reference.alternatives.get(int(token), ()):
            one = slice(token, token + 1)
            along = error_share(chosen[one], other[None], reference.std[one])[0]
            if along <= 1:
                share[token] = along
                diverged += 1
                break
    worst = int(np.argmax(share))
    allowed = float(model.NORM_SIGMAS * reference.std[worst] / max(reference.scale[worst], np.finfo(float).tiny))
    wrong = int((share > 1).sum())
    failure = None
    if wrong:
        failure = (
            f"{wrong} of {tokens} tokens differ from the float64 reference; "
            f"worst is token {reference.index[worst]}, {share[worst]:.3g} times its tolerance"
        )
    return Verdict(float(share[worst]) * allowed, allowed, tokens, diverged, cap, failure)


def error_share(y: Array, expected: Array, std: Array) -> Array:
    """Each token's error over what is allowed: the larger of its norm's and of its worst element's share."""
    tiny = np.finfo(float).tiny
    error = y - expected
    d = error.shape[1]
    norm = np.linalg.norm(error, axis=1) / np.maximum(model.NORM_SIGMAS * std, tiny)
    element = np.abs(error).max(axis=1) / np.maximum(model.ELEMENT_SIGMAS * std / d**0.5, tiny)
    return np.asarray(np.maximum(norm, element))


def save(reference: Reference, path: Path) -> None:
    """Write a reference where other processes can read it."""
    tokens = np.array([token for token, outputs in reference.alternatives.items() for _ in outputs], dtype=np.int64)
    outputs = [output for group in reference.alternatives.values() for output in group]
    np.savez(
        path,
        index=reference.index,
        y=reference.y,
        scale=reference.scale,
        std=reference.std,
        distinct_rows=reference.distinct_rows,
        near=np.array(list(reference.alternatives), dtype=np.int64),
        alternative_token=tokens,
        alternative_y=np.array(outputs).reshape(len(outputs), reference.y.shape[1]),
    )


def load(path: Path) -> Reference:
    """Read what ``save`` wrote."""
    with np.load(path) as file:
        tokens, outputs = file["alternative_token"], file["alternative_y"]
        alternatives = {int(token): outputs[tokens == token] for token in file["near"]}
        return Reference(
            file["index"], file["y"], file["scale"], file["std"], float(file["distinct_rows"]), alternatives
        )
