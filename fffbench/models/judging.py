"""Is every replaced layer right on what it is given inside the model, and does a prepared model do the same?

Layer by layer, on inputs that one untimed forward pass shows: a turn that rounding decides changes everything behind
it, so outputs of whole models cannot be compared with a reference. Compiled layers are held against the same
layers as they are, on inputs captured there; a graph's output against that of the calls that it captured.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

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

# Share of a token's own size by which two ways of running the same layer may differ, and how many tokens may differ
# more because a turn near zero went the other way: logits move by the rounding of the type before them, some 0.4 %
# of their spread in bf16, and a path through 12 levels has 11 turns. A layer that computes something else moves all.
ALIKE = {"fp32": 2e-4, "bf16": 5e-2, "fp16": 1e-2}
TURNED = {"fp32": 0.02, "bf16": 0.2, "fp16": 0.05}


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


@dataclass
class Call:
    """One call of a model's layer, as ``recording`` found it."""

    module: nn.Module
    arguments: tuple[Any, ...]
    named: dict[str, Any]
    y: Tensor


@contextmanager
def recording(layers: Sequence[nn.Module]) -> Iterator[list[Call]]:
    """Record the calls of the repeated layers, with all their arguments."""
    seen: list[Call] = []

    def hook(module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any], y: Any) -> None:
        kept = tuple(a.detach().clone() if isinstance(a, Tensor) else a for a in arguments)
        seen.append(Call(module, kept, dict(named), _tensor(y).detach().clone()))

    handles = [layer.register_forward_hook(hook, with_kwargs=True) for layer in layers]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _tensor(y: Any) -> Tensor:
    first: Tensor = y if isinstance(y, Tensor) else y[0]
    return first


def same_layers(calls: Sequence[Call], dtype: str) -> tuple[float, float]:
    """Call every recorded layer again, which is compiled by now; see ``alike`` for what comes back."""
    pairs = [(_tensor(call.module(*call.arguments, **call.named)), call.y) for call in calls]
    return alike(pairs, dtype, "compiled")


def same_output(again: Callable[[], Tensor], before: Tensor, dtype: str, mode: str) -> tuple[float, float]:
    """Hold a whole output against that of the calls which were captured."""
    return alike([(again(), before)], dtype, mode)


def alike(pairs: Sequence[tuple[Tensor, Tensor]], dtype: str, mode: str) -> tuple[float, float]:
    """Median over tokens of the difference over the token's size, and share of tokens beyond what is alike.

    ``WrongError`` where more tokens are beyond it than turns near zero explain.
    """
    differences = []
    for got, expected in pairs:
        a, b = (t.reshape(-1, t.shape[-1]).double() for t in (got, expected))
        differences.append((a - b).norm(dim=1) / b.norm(dim=1).clamp_min(1e-30))
    every = torch.cat(differences)
    median, beyond = float(every.median()), float((~(every <= ALIKE[dtype])).double().mean())
    if beyond > TURNED[dtype] + 1 / len(every):
        raise WrongError(
            f"{mode}: {100 * beyond:.0f} % of the tokens differ from those of the same model as it is "
            f"(median {median:.2g} of their size)"
        )
    return median, beyond
