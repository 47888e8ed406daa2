"""What goes into the replaced layers of a prepared model, and what comes out, where no hook is called?

In a CUDA graph no Python runs, and compiled code leaves out hooks. So for a check each replaced layer is wrapped in a
module that copies its input and its output into buffers of its own: the copies become part of the graph, or of the
compiled code, and are made anew by every replay. The model that is timed has none of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from fffbench.models.judging import Captured
from fffbench.swapping import Swapped


class Tapped(nn.Module):
    """A layer that also copies its input and output into ``seen_x`` and ``seen_y``, of the captured shapes."""

    seen_x: Tensor
    seen_y: Tensor

    def __init__(self, like: Captured) -> None:
        """Around the module that was captured."""
        super().__init__()
        self.inner = like.module
        place = next(like.module.parameters()).device
        self.register_buffer("seen_x", torch.empty_like(like.x, device=place))
        self.register_buffer("seen_y", torch.empty_like(like.y, device=place))

    def forward(self, x: Tensor) -> Tensor:
        """As the layer."""
        self.seen_x.copy_(x)
        y: Tensor = self.inner(x)
        self.seen_y.copy_(y)
        return y

    def poison(self) -> None:
        """Leave nothing in the buffers that an earlier call could have put there."""
        self.seen_x.fill_(float("nan"))
        self.seen_y.fill_(float("nan"))

    @property
    def captured(self) -> Captured:
        """Of the last call."""
        return Captured(self.inner, self.seen_x.clone(), self.seen_y.clone())


class Forced(nn.Module):
    """In the place of a layer whose call was captured: keeps its own input, and returns the captured output.

    So a model can be held against a prepared one of the same layers without a turn of its own: a logit at which the two
    would part, because they round differently, is never computed.
    """

    def __init__(self, captured: Captured) -> None:
        """What was captured."""
        super().__init__()
        self.captured = captured
        self.x: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """``x`` is of the captured shape."""
        self.x = x.clone()
        return self.captured.y.clone()


@contextmanager
def tapped(swapped: Swapped, seen: Sequence[Captured]) -> Iterator[list[Tapped]]:
    """Wrap the replacements that ``seen`` has calls of for the length of a ``with``."""
    taps = [Tapped(one) for one in seen]
    with _in_the_place(swapped, {tap.inner: tap for tap in taps}):
        yield taps


@contextmanager
def forced(swapped: Swapped, captured: Sequence[Captured]) -> Iterator[list[Forced]]:
    """Have the captured layers return what they returned, for the length of a ``with``."""
    stand_ins = [Forced(one) for one in captured]
    with _in_the_place(swapped, {one.captured.module: one for one in stand_ins}):
        yield stand_ins


@contextmanager
def _in_the_place(swapped: Swapped, others: dict[nn.Module, nn.Module]) -> Iterator[None]:
    with ExitStack() as stack:
        for layer, replacement in zip(swapped.layers, swapped.replacements, strict=True):
            if replacement in others:
                parent, name = layer.places[0]
                stack.callback(setattr, parent, name, replacement)
                setattr(parent, name, others[replacement])
        yield
