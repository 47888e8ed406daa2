"""What did a wrong implementation do instead, and what is special about the case that shows it?

For the author of a kernel: the values that were expected and got, and the mistake that explains the output, if one of
those that people make does: a turn the other way (at which level), a level or a tree left out, another GELU, an output
added to what was there. Only an output that such a mistake reproduces within the tolerance is explained by it.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator

import numpy as np
import numpy.typing as npt

from fffbench.implementations import reference as exact
from fffbench.measure.check import error_share
from fffbench.plan.workload import Shape, Workload
from fffbench.problems.judging import Reference

Array = npt.NDArray[np.float64]
Activation = Callable[[Array], Array]
VECTOR = 8  # floats of the shortest vector that kernels are written for
ROUTED = {"single-path": "every token on one path", "zipf": "few leaves get most tokens"}


def special(workload: Workload) -> str:
    """What is out of the ordinary about a workload: ``batch 3, 2 trees, d=5 is no multiple of 8``."""
    shape = workload.shape
    said = [f"batch {workload.batch}"]
    if shape.trees > 1:
        said.append(f"{shape.trees} trees")
    if shape.leaf_width:
        said.append(f"leaf blocks of {shape.leaf_width}")
    if shape.is_tree:
        said.append("1 level" if shape.levels == 1 else f"{shape.levels} levels")
    if shape.d % VECTOR:
        said.append(f"d={shape.d} is no multiple of {VECTOR}")
    if not shape.is_tree and shape.n % VECTOR:
        said.append(f"n={shape.n} is no multiple of {VECTOR}")
    if workload.routing != "uniform":
        said.append(ROUTED.get(workload.routing, f"{workload.routing} routing"))
    if workload.threads == 1:
        said.append("1 thread")
    return ", ".join(said)


def diagnose(shape: Shape, x: Array, w1: Array, w2: Array, reference: Reference, y: Array) -> str:
    """Expected and got of the worst token of ``y (tokens, d)``, and the mistake that explains it; empty if it is right.

    ``shape`` is what should be computed: a tree, or a plain layer. ``x (tokens, d)`` and the weights are those of the
    reference, in float64.
    """
    if len(reference.index) == 0 or y.shape != x.shape:
        return ""
    import torch

    index, expected = reference.index.numpy(), reference.y.numpy()
    got = y[index]
    unwritten = ~np.isfinite(got)
    if unwritten.any():
        token, element = np.argwhere(unwritten)[0]
        said = f"expected {expected[token, element]:.4g}, got {got[token, element]}"
        return f"token {index[token]}, element {element}: {said}"
    share = error_share(torch.from_numpy(got), reference.y, reference.std)
    token = int(share.argmax())
    if share[token] <= 1:
        return ""
    element = int(np.argmax(np.abs(got[token] - expected[token])))
    said = f"element {element}: expected {expected[token, element]:.4g}, got {got[token, element]:.4g}"
    one = slice(token, token + 1)
    for mistake, output in mistakes(shape, x[index[token]], w1, w2):
        if error_share(torch.from_numpy(got[one]), torch.from_numpy(output[None]), reference.std[one])[0] <= 1:
            return f"{said}: {mistake}"
    return said


def mistakes(shape: Shape, x: Array, w1: Array, w2: Array) -> Iterator[tuple[str, Array]]:
    """What people do instead, with the output of one token ``x (d,)`` that it gives."""
    yield "nothing was added to the output", np.zeros(shape.d)
    right = _output(shape, x, w1, w2)
    yield "the output was added to what it held, and not set", 2 * right
    for name, activation in _ACTIVATIONS.items():
        yield f"as with {name}", _output(shape, x, w1, w2, activation)
    if not shape.is_tree:
        return
    if shape.trees > 1:
        yield "only the first tree was evaluated", _output(shape, x, w1, w2, trees=range(1))
        yield "the last tree was left out", _output(shape, x, w1, w2, trees=range(shape.trees - 1))
    for level in range(shape.turns):
        yield f"it turned the other way at level {level}", _output(shape, x, w1, w2, flipped={level})
    yield "left and right are exchanged at every level", _output(shape, x, w1, w2, flipped=set(range(shape.turns)))
    if not shape.leaf_width:
        for level in range(shape.levels):
            yield f"level {level} was left out", _output(shape, x, w1, w2, left_out={level})
        for level in range(1, shape.levels):
            beyond = set(range(level, shape.levels))
            yield f"it stopped before level {level}", _output(shape, x, w1, w2, left_out=beyond)


def _output(
    shape: Shape,
    x: Array,
    w1: Array,
    w2: Array,
    activation: Activation = exact.gelu,
    *,
    trees: range | None = None,
    flipped: Container[int] = (),
    left_out: Container[int] = (),
) -> Array:
    """One token's output with a mistake: turns flipped, levels or trees left out, another activation."""
    if not shape.is_tree:
        return np.asarray(activation(w1 @ x) @ w2)
    y = np.zeros(shape.d)
    for tree in trees if trees is not None else range(shape.trees):
        node = 0
        for level in range(shape.levels):
            row = tree * (2**shape.levels - 1) + node
            z = w1[row] @ x
            if not shape.leaf_width and level not in left_out:
                y += activation(np.asarray(z)) * w2[row]
            node = 2 * node + 1 + int((z > 0) != (level in flipped))
        if shape.leaf_width:
            first = int(exact.first_neuron(shape, tree, np.asarray(node)))
            block = w1[shape.routers + first : shape.routers + first + shape.leaf_width]
            y += activation(block @ x) @ w2[first : first + shape.leaf_width]
    return y


def _tanh_gelu(z: Array) -> Array:
    return np.asarray(0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3))))


def _sigmoid_gelu(z: Array) -> Array:
    return np.asarray(z / (1 + np.exp(-1.702 * z)))


_ACTIVATIONS: dict[str, Activation] = {
    "the tanh form of GELU": _tanh_gelu,
    "the sigmoid form of GELU": _sigmoid_gelu,
    "ReLU in place of GELU": lambda z: np.maximum(z, 0.0),
    "SiLU in place of GELU": lambda z: np.asarray(z / (1 + np.exp(-z))),
    "no activation": lambda z: z,
}
