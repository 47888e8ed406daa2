"""Is every replaced layer right on what it is given inside the model, and does a prepared model do the same?

Layer by layer, on inputs that one untimed forward pass shows: a turn that rounding decides changes everything behind
it, so outputs of whole models cannot be compared with a reference, nor with those of another mode (``preparing``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from fffbench.models import exact
from fffbench.models.makers import Masked, Mixture, Small
from fffbench.nn import TreeFFF
from fffbench.operators import library
from fffbench.problems import judging as tolerance

TOKENS = 16  # of each layer in each process, drawn anew: a model of 12 layers in 6 processes has 1152
HISTOGRAM_TOKENS = 8192

# Share of a token's own size by which two ways of running the same layers may differ, where neither takes a turn that
# the other does not: 12 layers of BERT-base in bf16 on an H100 differ by a median of 0.011 as a graph (whose attention
# is another kernel than without one), and no token by more than 0.05. A layer that computes something else moves all.
ALIKE = {"fp32": 2e-4, "bf16": 5e-2, "fp16": 1e-2}
BEYOND = 0.01  # share of tokens that may: large activations that cancel leave a token of small size


class WrongError(Exception):
    """A layer or a prepared model computes something else; nothing is timed."""


@dataclass(frozen=True)
class Verdict:
    """Of all layers: the worst token's share of what its type allows, tokens compared, and how many were near ties."""

    error: float
    tokens: int
    layers: int
    near: int
    turned: int


@dataclass(frozen=True)
class Routing:
    """Where the tokens of one layer went: ``visits`` maps a number of tokens to the number of leaves that had so many.

    Over all trees; ``leaves`` is how many there are.
    """

    tokens: int
    leaves: int
    visits: dict[int, int]


@dataclass
class Captured:
    """What went into a module and came out of it in one forward pass."""

    module: nn.Module
    x: Tensor
    y: Tensor

    @property
    def shapes(self) -> Captured:
        """The same without the numbers, which take memory."""
        return Captured(self.module, self.x.to("meta"), self.y.to("meta"))


@contextmanager
def capturing(modules: Sequence[nn.Module]) -> Iterator[list[Captured]]:
    """Record the calls of ``modules`` for the length of a ``with``."""
    seen: list[Captured] = []
    handles = [
        module.register_forward_hook(
            lambda module, arguments, y: seen.append(
                Captured(module, arguments[0].detach().clone(), y.detach().clone())
            )
        )
        for module in modules
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def judge(captured: Sequence[Captured], dtype: str) -> Verdict:
    """Compare tokens of every captured call with float64; ``WrongError`` names the layer where one is wrong."""
    worst, near, turned, count = 0.0, 0, 0, 0
    for number, call in enumerate(captured):
        x, y = (t.reshape(-1, t.shape[-1]) for t in (call.x, call.y))
        if not bool(torch.isfinite(y).all()):
            raise WrongError(f"layer {number}: an output is not finite")
        chosen = torch.randperm(len(x))[:TOKENS].to(x.device)
        inputs, outputs = (np.asarray(t[chosen].double().cpu().numpy()) for t in (x, y))
        for token, (expected, got) in enumerate(zip(_expected(call.module, inputs, dtype), outputs, strict=True)):
            error = _share(got, expected.y, expected.std)
            near += len(expected.others) > 0
            if error > 1 and len(expected.others):
                along = min(_share(got, other, expected.std) for other in expected.others)
                turned += along <= 1
                error = along
            if error > 1:
                raise WrongError(
                    f"layer {number}, token {int(chosen[token])}: {error:.3g} times as far from the float64 reference "
                    f"as {dtype} allows"
                )
            worst, count = max(worst, error), count + 1
    return Verdict(worst, count, len(captured), near, turned)


def _share(y: exact.Array, expected: exact.Array, std: float) -> float:
    error = y - expected
    by_norm = np.linalg.norm(error) / (tolerance.NORM_SIGMAS * std)
    by_element = np.abs(error).max() / (tolerance.ELEMENT_SIGMAS * std / len(error) ** 0.5)
    return float(max(by_norm, by_element))


def _expected(module: nn.Module, x: exact.Array, dtype: str) -> Iterator[exact.Expected]:
    if isinstance(module, Masked):
        module = module.tree
    if isinstance(module, TreeFFF):
        layer = exact.Layer(module.w1, module.w2, module.b1, module.b2, module.activation, dtype)
        return exact.tree(layer, x, module.shape.trees, module.shape.levels)
    if isinstance(module, Small):
        one, two = module.fc1, module.fc2
        return exact.dense(exact.Layer(one.weight, two.weight.T, one.bias, two.bias, module.activation, dtype), x)
    assert isinstance(module, Mixture)
    experts, width, d = module.w1.shape
    w2 = module.w2.transpose(1, 2).reshape(experts * width, d)
    layer = exact.Layer(module.w1.view(experts * width, d), w2, None, None, module.activation, dtype)
    router = np.asarray(module.router.weight.double().cpu().numpy())
    return exact.mixture(layer, x, router, width, module.top)


def routing(captured: Sequence[Captured]) -> list[Routing]:
    """The histogram of leaves of every layer that has trees."""
    found = []
    for call in captured:
        module = call.module.tree if isinstance(call.module, Masked) else call.module
        if not isinstance(module, TreeFFF):
            continue
        shape, x = module.shape, call.x.reshape(-1, call.x.shape[-1])[:HISTOGRAM_TOKENS]
        rows = library.tree_path(x, module.w1, module.b1, shape.trees)
        last = rows[:, shape.levels - 1 :: shape.levels].reshape(-1)
        visited = torch.unique(last, return_counts=True)[1].tolist()
        leaves = shape.trees * shape.leaves
        visits = Counter({0: leaves - len(visited)}) + Counter(visited)
        found.append(Routing(len(x), leaves, dict(sorted(visits.items()))))
    return found


@dataclass(frozen=True)
class Alike:
    """Median over tokens of a difference over the token's size, and the share of tokens that differ by more."""

    median: float
    beyond: float


def alike(pairs: Sequence[tuple[Tensor, Tensor]], dtype: str, mode: str) -> Alike:
    """How tokens of two ways of computing differ, in the pair that differs most.

    ``WrongError`` where more do than rounding explains.
    """
    each = [_differences(got, expected, dtype) for got, expected in pairs]
    found = Alike(max(one.median for one in each), max(one.beyond for one in each))
    if found.beyond > BEYOND:
        raise WrongError(
            f"{mode}: {100 * found.beyond:.0f} % of the tokens differ from those of the same model as it is "
            f"(median {found.median:.2g} of their size)"
        )
    return found


def no_less_alike(pair: tuple[Tensor, Tensor], same: tuple[Tensor, Tensor], dtype: str, mode: str) -> None:
    """``WrongError`` where a pair of results differs by more than ``same``, of which both are of one way to compute.

    A model whose sums have no fixed order takes other turns at each run, and its result tells that much less.
    """
    found, chance = _differences(*pair, dtype), _differences(*same, dtype)
    if found.beyond > BEYOND + 2 * chance.beyond or found.median > ALIKE[dtype] + 2 * chance.median:
        raise WrongError(
            f"{mode}: what is timed differs in {100 * found.beyond:.0f} % of the tokens from what was checked "
            f"(median {found.median:.2g} of their size; when it runs again {chance.median:.2g})"
        )


def _differences(got: Tensor, expected: Tensor, dtype: str) -> Alike:
    a, b = (t.reshape(-1, t.shape[-1]).double() for t in (got, expected))
    each = ((a - b).norm(dim=1) / b.norm(dim=1).clamp_min(1e-30)).nan_to_num(nan=torch.inf)
    return Alike(float(each.median()), float((each > ALIKE[dtype]).double().mean()))
