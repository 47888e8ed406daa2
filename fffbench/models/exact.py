"""What must a layer give for these inputs, in float64?

Trees with biases, plain layers and mixtures of experts, with each activation. A token of a tree may leave the
reference path where a logit is within rounding of zero, as in ``measure.check``; one of a mixture may have
other experts where two scores are. The error that a type allows is ``measure.tolerance``'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.special import erf, expit, ndtr

from fffbench.problems import judging as tolerance

if TYPE_CHECKING:
    from torch import Tensor

Array = npt.NDArray[np.float64]

MOST_PATHS = 64  # of one token through one tree; 6 logits near zero
_TANH_SCALE, _TANH_CUBE = (2 / np.pi) ** 0.5, 0.044715


@dataclass(frozen=True)
class Expected:
    """What one token's output may be, the deviation that its type predicts, and whether it has other outputs.

    ``others`` (k, d): outputs along paths that leave the reference at near-ties.
    """

    y: Array
    std: float
    others: Array


def activation(z: Array, name: str) -> Array:
    """``z`` through the activation, in float64."""
    if name == "gelu":
        return np.asarray(0.5 * z * (1 + erf(z / 2**0.5)))
    if name == "gelu_tanh":
        return np.asarray(0.5 * z * (1 + np.tanh(_TANH_SCALE * (z + _TANH_CUBE * z**3))))
    return np.asarray(np.maximum(z, 0) if name == "relu" else z * expit(z))


def slope(z: Array, name: str) -> Array:
    """The activation's derivative; of the tanh form that of the exact GELU, which is within a thousandth."""
    if name in ("gelu", "gelu_tanh"):
        return np.asarray(ndtr(z) + z * np.exp(-0.5 * z * z) / (2 * np.pi) ** 0.5)
    if name == "relu":
        return np.asarray((z > 0).astype(np.float64))
    return np.asarray(expit(z) * (1 + z * expit(-z)))


class Layer:
    """A layer's weights, of which rows are widened to float64 when they are asked for.

    ``w1`` and ``w2`` ``(n, d)``, ``b1 (n,)`` and ``b2 (d,)`` or None.
    """

    def __init__(
        self, w1: Tensor, w2: Tensor, b1: Tensor | None, b2: Tensor | None, activation: str, dtype: str
    ) -> None:
        """Nothing is copied."""
        self._w1, self._w2, self._b1, self._b2 = w1, w2, b1, b2
        self.activation, self.dtype, self.d = activation, dtype, w1.shape[1]

    def rows(self, which: slice | npt.NDArray[np.int64]) -> tuple[Array, Array, Array]:
        """Rows of W1 and W2, and their biases."""
        import torch

        index = which if isinstance(which, slice) else torch.from_numpy(which).to(self._w1.device)
        first, second = (w[index].double().cpu().numpy() for w in (self._w1, self._w2))
        bias = np.zeros(len(first)) if self._b1 is None else self._b1[index].double().cpu().numpy()
        return first, second, np.asarray(bias)

    @property
    def start(self) -> Array:
        """What every token's sum starts from."""
        return np.zeros(self.d) if self._b2 is None else np.asarray(self._b2.double().cpu().numpy())

    def logit_std(self, z: Array, x: Array, w1: Array, bias: Array) -> Array:
        """Deviation of the computed logits of one token; the bias is one more term of the sum."""
        x_norm = np.hypot(np.linalg.norm(x), 1.0)
        w_norm = np.hypot(np.linalg.norm(w1, axis=1), bias)
        return np.asarray(tolerance.logit_std(z, x_norm, w_norm, self.d + 1, self.dtype))

    def expected(self, x: Array, w1: Array, w2: Array, bias: Array, weight: float = 1.0) -> tuple[Array, float]:
        """Output of one token over these neurons, less the start, and its deviation."""
        z = w1 @ x + bias
        a = activation(z, self.activation)
        y = a @ w2
        std, _ = tolerance.output_std(
            z[None],
            a[None],
            self.logit_std(z, x, w1, bias)[None],
            np.linalg.norm(w2, axis=1),
            np.asarray([np.linalg.norm(y + self.start)]),
            self.dtype,
            slope(z, self.activation)[None],
        )
        return weight * y, weight * float(std[0])


def dense(layer: Layer, x: Array) -> Iterator[Expected]:
    """A plain layer on ``x (tokens, d)``."""
    w1, w2, bias = layer.rows(slice(None))
    for token in x:
        y, std = layer.expected(token, w1, w2, bias)
        yield Expected(layer.start + y, std, np.empty((0, len(token))))


def tree(layer: Layer, x: Array, trees: int, levels: int) -> Iterator[Expected]:
    """Trees on ``x (tokens, d)``: every token walks every tree."""
    roots = np.arange(trees, dtype=np.int64) * (2**levels - 1)
    for token in x:
        rows, tied = _walk(layer, token, roots, levels)
        w1, w2, bias = layer.rows(rows.reshape(-1))
        y, std = layer.expected(token, w1, w2, bias)
        others = []
        for t in tied:
            reference = rows[t]
            for path in _paths(layer, token, int(roots[t]), levels)[1 : MOST_PATHS + 1]:
                first, second, b = layer.rows(np.concatenate([path, reference]))
                a = activation(first @ token + b, layer.activation)
                others.append(a[:levels] @ second[:levels] - a[levels:] @ second[levels:])
        yield Expected(layer.start + y, std, layer.start + y + _sums(others, len(token)))


def _walk(layer: Layer, x: Array, roots: npt.NDArray[np.int64], levels: int) -> tuple[npt.NDArray[np.int64], list[int]]:
    """Rows that one token visits, ``(trees, levels)``, and the trees in which it passes a near-tie."""
    node, tie = np.zeros_like(roots), np.zeros(len(roots), dtype=bool)
    rows = np.empty((len(roots), levels), dtype=np.int64)
    for level in range(levels):
        rows[:, level] = roots + node
        if level == levels - 1:
            break
        w1, _, bias = layer.rows(rows[:, level])
        z = w1 @ x + bias
        tie |= np.abs(z) <= tolerance.LOGIT_SIGMAS * layer.logit_std(z, x, w1, bias)
        node = 2 * node + 1 + (z > 0)
    return rows, np.flatnonzero(tie).tolist()


def _sums(changes: list[Array], d: int) -> Array:
    """Every one of the changes, every pair, and all; near-ties are rare, and three in one token rarer still."""
    sums = [*changes, *(a + b for i, a in enumerate(changes) for b in changes[i + 1 :])]
    return np.asarray(sums[: MOST_PATHS * 4]).reshape(-1, d)


def _paths(layer: Layer, x: Array, root: int, levels: int) -> list[npt.NDArray[np.int64]]:
    """Rows of the reference path through one tree, then those of the paths that leave it at near-ties."""
    found: list[tuple[int, list[int]]] = [(0, [])]
    for level in range(levels):
        following: list[tuple[int, list[int]]] = []
        for node, before in found[:MOST_PATHS]:
            path = [*before, root + node]
            if level == levels - 1:
                following.append((node, path))
                continue
            w1, _, bias = layer.rows(np.asarray(path[-1:]))
            z = w1 @ x + bias
            right = int(z[0] > 0)
            following.append((2 * node + 1 + right, path))
            if abs(z[0]) <= tolerance.LOGIT_SIGMAS * float(layer.logit_std(z, x, w1, bias)[0]):
                following.append((2 * node + 2 - right, path))
        found = following
    return [np.asarray(path) for _, path in found]


def mixture(layer: Layer, x: Array, router: Array, width: int, top: int) -> Iterator[Expected]:
    """A mixture of experts: neurons of expert ``e`` are ``width`` rows from ``e * width`` on; ``router (experts, d)``.

    The shares are softmax over the chosen experts' scores. Scores come from a router in the layer's type, so they are
    rounded to it, and the shares with them.
    """
    unit = tolerance.ARITHMETIC[layer.dtype].store
    blocks: dict[int, tuple[Array, Array, Array]] = {}  # of the experts that were asked for
    for token in x:
        scores = router @ token
        order = np.argsort(-scores, kind="stable")
        spread = tolerance.LOGIT_SIGMAS * (
            unit * np.abs(scores).max()
            + float(
                tolerance.logit_std(
                    scores, np.asarray(np.linalg.norm(token)), np.linalg.norm(router, axis=1), layer.d, layer.dtype
                ).max()
            )
        )
        sets = [order[:top]]
        near = [e for e in order[top:] if scores[order[top - 1]] - scores[e] <= spread]
        for e in near[:4]:
            sets += [np.asarray([*np.delete(order[:top], drop), e]) for drop in range(top)]
        outputs = []
        for chosen in sets:
            share = np.exp(scores[chosen] - scores[chosen].max())
            share /= share.sum()
            y, variance = np.zeros(layer.d), 0.0
            for e, weight in zip(chosen, share, strict=True):
                if int(e) not in blocks:
                    blocks[int(e)] = layer.rows(slice(int(e) * width, (int(e) + 1) * width))
                w1, w2, bias = blocks[int(e)]
                part, std = layer.expected(token, w1, w2, bias, float(weight))
                # the share carries the scores' rounding, and is rounded; so is each expert's part, and the sum of them
                rounding = 4 * unit + 2 * spread / tolerance.LOGIT_SIGMAS
                y, variance = y + part, variance + std**2 + (rounding * float(np.linalg.norm(part))) ** 2
            outputs.append((y, variance**0.5))
        yield Expected(outputs[0][0], outputs[0][1], np.asarray([y for y, _ in outputs[1:]]).reshape(-1, layer.d))
