"""How does one put an FFF into a network? ``TreeFFF`` and ``LeafFFF``, modules over ``fffbench::tree`` and ``::leaf``.

``x (..., d)`` gives ``(..., d)``. Gradients go through the visited neurons and not through the turns, as in the
published training of the tree form; so the routers of ``LeafFFF``, which do nothing but turn, get none, and the soft
mixture with which the leaf form was trained is not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fffbench.operators import geometry, library
from fffbench.operators.activations import number_of
from fffbench.plan.workload import Shape
from fffbench.problems.tree import MAX_LEVELS

_MOST = 2**31 - 1


class _Layer(nn.Module):
    """Parameters ``w1``, ``w2``, ``b1`` and ``b2`` (None where there is no bias) of a shape, uniform as published."""

    def __init__(
        self,
        shape: Shape,
        activation: str,
        b2_shape: tuple[int, ...],
        *,
        bias: bool,
        output_bias: bool,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        number_of(activation)
        self.shape, self.activation = shape, activation
        kind: dict[str, Any] = {"device": device, "dtype": dtype}
        rows = shape.routers + shape.n
        self.w1 = nn.Parameter(torch.empty(rows, shape.d, **kind))
        self.w2 = nn.Parameter(torch.empty(shape.n, shape.d, **kind))
        self.b1 = nn.Parameter(torch.empty(rows, **kind)) if bias else None
        self.b2 = nn.Parameter(torch.empty(b2_shape, **kind)) if output_bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw anew: W1 and b1 from +-1/sqrt(d), W2 and b2 from +-1/sqrt(neurons that add up to an output)."""
        first = self.shape.d**-0.5
        second = (self.shape.trees * (self.shape.leaf_width or self.shape.levels)) ** -0.5
        for bound, parameters in ((first, (self.w1, self.b1)), (second, (self.w2, self.b2))):
            for parameter in parameters:
                if parameter is not None:
                    nn.init.uniform_(parameter, -bound, bound)

    def extra_repr(self) -> str:
        """What is not seen in the parameters: ``d=768, trees=1, levels=12, activation=gelu, b1, n=4095``."""
        s = self.shape
        leaf = f", leaf_width={s.leaf_width}" if s.leaf_width else ""
        biases = "".join(f", {name}" for name in ("b1", "b2") if getattr(self, name) is not None)
        return f"d={s.d}, trees={s.trees}, levels={s.levels}{leaf}, activation={self.activation}{biases}, n={s.n}"


class TreeFFF(_Layer):
    """The tree FFF of ``fffbench.fff``: ``trees`` trees of ``levels`` levels, each with a neuron at every node.

    ``bias``: ``b1 (n,)``, added to the logits, as in the published model, which has no ``b2 (d,)`` (``output_bias``).
    """

    def __init__(
        self,
        d: int,
        levels: int,
        trees: int = 1,
        *,
        activation: str = "gelu",
        bias: bool = True,
        output_bias: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        """Draw the parameters as published; ``ValueError`` for counts that make no tree."""
        counts = (geometry.whole_number(name, value, 1, _MOST) for name, value in (("d", d), ("trees", trees)))
        d, trees = counts
        shape = Shape.tree(d, trees, geometry.whole_number("levels", levels, 1, MAX_LEVELS))
        super().__init__(shape, activation, (d,), bias=bias, output_bias=output_bias, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        """``(..., d)`` to ``(..., d)``."""
        y: Tensor = library.tree(x, self.w1, self.w2, self.b1, self.b2, self.shape.trees, self.activation, 0)
        return y

    @classmethod
    def from_published(cls, state: Mapping[str, Tensor], trees: int, *, activation: str = "gelu") -> TreeFFF:
        """The layer of an UltraFastBERT checkpoint; the values are copied.

        It has ``linear_in.weight (n, d)``, ``linear_in.bias (n,)`` and ``linear_out.weight (d, n)``; ``trees`` is its
        ``parallel_size``, which a checkpoint does not say.
        """
        first, second, bias = _taken(state, ("linear_in.weight", "linear_out.weight"), ("linear_in.bias",))
        assert first is not None
        assert second is not None
        geometry.check_tree_shapes(first.shape[1:], first.shape, second.T.shape)
        levels = geometry.tree_levels(first.shape[0], geometry.whole_number("trees", trees, 1, _MOST))
        layer = cls(
            first.shape[1],
            levels,
            trees,
            activation=activation,
            bias=bias is not None,
            device=first.device,
            dtype=first.dtype,
        )
        with torch.no_grad():
            layer.w1.copy_(first)
            layer.w2.copy_(second.T)
            if layer.b1 is not None and bias is not None:
                layer.b1.copy_(bias)
        return layer

    def to_published(self) -> dict[str, Tensor]:
        """Copies under the names and in the layout of ``from_published``; ``ValueError`` if there is a b2."""
        if self.b2 is not None:
            raise ValueError("the published layer has no output bias; this one has b2")
        state = {"linear_in.weight": self.w1.detach().clone(), "linear_out.weight": self.w2.detach().T.contiguous()}
        if self.b1 is not None:
            state["linear_in.bias"] = self.b1.detach().clone()
        return state


class LeafFFF(_Layer):
    """The leaf FFF of 2023: ``levels`` levels of routers above ``2**levels`` leaves of ``leaf_width`` neurons a tree.

    ``bias``: ``b1``, a number for each router and neuron; ``output_bias``: ``b2 (trees * 2**levels, d)``, a row a leaf.
    """

    def __init__(
        self,
        d: int,
        levels: int,
        leaf_width: int,
        trees: int = 1,
        *,
        activation: str = "gelu",
        bias: bool = True,
        output_bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        """Draw the parameters as published; ``ValueError`` for counts that make no tree."""
        named = (("d", d), ("leaf_width", leaf_width), ("trees", trees))
        d, leaf_width, trees = (geometry.whole_number(name, value, 1, _MOST) for name, value in named)
        levels = geometry.whole_number("levels", levels, 0, MAX_LEVELS)
        super().__init__(
            Shape.leaf(d, trees, levels, leaf_width),
            activation,
            (trees << levels, d),
            bias=bias,
            output_bias=output_bias,
            device=device,
            dtype=dtype,
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(..., d)`` to ``(..., d)``."""
        y: Tensor = library.leaf(x, self.w1, self.w2, self.b1, self.b2, self.shape.trees, self.activation, 0)
        return y

    @classmethod
    def from_published(cls, state: Mapping[str, Tensor], *, activation: str = "relu") -> LeafFFF:
        """The layer of the package ``fastfeedforward``.

        With ``node_weights (2**levels - 1, d)``, ``node_biases (2**levels - 1, 1)``, and for each leaf
        ``w1s (d, width)``, ``b1s (width,)``, ``w2s (width, d)`` and ``b2s (d,)``.
        The values are copied. ``b2s`` is added, as when the package trains; its evaluation leaves it out (version
        0.2.1). A logit of exactly zero turns left here and right there.
        """
        names = ("node_weights", "node_biases", "w1s", "b1s", "w2s", "b2s")
        nodes, node_biases, w1s, b1s, w2s, b2s = (t for t in _taken(state, names, ()) if t is not None)
        leaves, d, width = w1s.shape
        if w2s.shape != (leaves, width, d):
            raise ValueError(
                f"input and output must be of one width; w1s has {tuple(w1s.shape)}, w2s {tuple(w2s.shape)}"
            )
        levels = leaves.bit_length() - 1
        layer = cls(d, levels, width, activation=activation, device=w1s.device, dtype=w1s.dtype)
        assert layer.b1 is not None
        assert layer.b2 is not None
        with torch.no_grad():
            layer.w1.copy_(torch.cat([nodes, w1s.transpose(1, 2).reshape(-1, d)]))
            layer.b1.copy_(torch.cat([node_biases.reshape(-1), b1s.reshape(-1)]))
            layer.w2.copy_(w2s.reshape(-1, d))
            layer.b2.copy_(b2s)
        return layer

    def to_published(self) -> dict[str, Tensor]:
        """Copies under the names and in the layout of ``from_published``; ``ValueError`` for more than one tree."""
        s = self.shape
        if s.trees != 1:
            raise ValueError(f"the published layer has one tree; this one has {s.trees}")
        b1 = torch.zeros_like(self.w1[:, 0]) if self.b1 is None else self.b1.detach()
        b2 = torch.zeros_like(self.w2[: s.leaves]) if self.b2 is None else self.b2.detach()
        w1 = self.w1.detach()
        return {
            "depth": torch.tensor(s.levels),
            "node_weights": w1[: s.routers].clone(),
            "node_biases": b1[: s.routers, None].clone(),
            "w1s": w1[s.routers :].reshape(s.leaves, s.leaf_width, s.d).transpose(1, 2).contiguous(),
            "b1s": b1[s.routers :].reshape(s.leaves, s.leaf_width).clone(),
            "w2s": self.w2.detach().reshape(s.leaves, s.leaf_width, s.d).clone(),
            "b2s": b2.clone(),
        }


def _taken(
    state: Mapping[str, Tensor], needed: tuple[str, ...], optional: tuple[str, ...]
) -> tuple[Tensor | None, ...]:
    missing = [name for name in needed if name not in state]
    if missing:
        raise ValueError(
            f"the checkpoint lacks {', '.join(missing)}; it has {', '.join(list(state)[:20]) or 'nothing'}"
        )
    return tuple(state.get(name) for name in (*needed, *optional))
