"""The leaf FFF of 2023: inner nodes only route; the leaf that a token reaches is a block of dense neurons."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from fffbench.errors import UserError
from fffbench.problems.base import DENSE, FLOP_PER_NEURON_ELEMENT, Problem
from fffbench.problems.judging import Output
from fffbench.problems.tree import MAX_LEVELS, Tree, _visited

if TYPE_CHECKING:
    import torch

_ID = re.compile(r"d(\d+)-n(\d+)-t(\d+)x(\d+)l(\d+)")


class Leaf(Tree):
    """``levels`` levels of routers, then one block of ``leaf_width`` neurons; ``n = trees * leaf_width * 2**levels``.

    ``w1`` is ``(routers + n, d)``: first the routers, as the nodes of a ``Tree``, then the neurons, leaf ``j`` of tree
    ``t`` from row ``(t * 2**levels + j) * leaf_width`` of theirs. ``w2 (n, d)`` has the neurons only, in that order.
    """

    kind = "leaf"

    @classmethod
    def of(cls, d: int, trees: int, levels: int, leaf_width: int = 1) -> Self:
        """``UserError`` where there is no such layer."""
        if d < 1 or trees < 1 or leaf_width < 1 or not 0 <= levels <= MAX_LEVELS:
            raise UserError(
                f"leaf shape d={d}, trees={trees}, levels={levels}, leaf_width={leaf_width}: "
                f"d, trees and leaf_width must be at least 1 and levels from 0 to {MAX_LEVELS}"
            )
        return cls(d, trees * leaf_width * 2**levels, trees, levels, leaf_width)

    @property
    def id(self) -> str:
        """``d768-n1024-t1x5l32``."""
        return f"{super().id}l{self.leaf_width}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """From ``d768-n1024-t1x5l32``."""
        return None if (match := _ID.fullmatch(text)) is None else cls._parsed(*map(int, match.groups()))

    @property
    def label(self) -> str:
        """``768 to 1024, 1x5, leaves of 32``."""
        return f"{super().label}, leaves of {self.leaf_width}"

    @property
    def short(self) -> str:
        """``768x1024 1x5l32``: leaf blocks of 32 neurons."""
        return f"{super().short}l{self.leaf_width}"

    @classmethod
    def edges(cls) -> Iterator[Problem]:
        """No router, one input, several trees, odd blocks."""
        sizes = ((16, 1, 0, 3), (1, 1, 2, 1), (33, 3, 2, 5), (100, 1, 5, 17), (768, 1, 7, 32))
        yield from (cls.of(*size) for size in sizes)

    def resized(self, d: int | None = None, trees: int | None = None, levels: int | None = None) -> Problem:
        """Another tree of the same blocks."""
        return self.of(d or self.d, trees or self.trees, levels or self.levels, self.leaf_width)

    def weights_seen_by(self, family: str, weights: Mapping[str, Any]) -> dict[str, Any]:
        """A dense layer gets the neurons without the routers."""
        seen = dict(weights)
        return seen | {"w1": seen["w1"][self.routers :]} if family == DENSE else seen

    @property
    def routers(self) -> int:
        """Inner nodes."""
        return self.trees * self._nodes

    @property
    def contributing(self) -> int:
        """The blocks."""
        return self.trees * self.leaf_width

    @property
    def turns(self) -> int:
        """One a level."""
        return self.levels

    def _visit(self, output: Output, row: torch.Tensor, z: torch.Tensor, norm: torch.Tensor, w2: torch.Tensor) -> None:
        """A router adds nothing."""

    def _below(self, t: int, node: torch.Tensor) -> Sequence[torch.Tensor]:
        """The block that ``node`` leads to."""
        first = (t * 2**self.levels + node - self._nodes) * self.leaf_width
        return [first + k for k in range(self.leaf_width)]

    @property
    def active(self) -> int:
        """The routers and the leaf block."""
        return self.trees * (self.levels + self.leaf_width)

    @property
    def rows(self) -> float:
        """All neurons, and the routers' halves."""
        return self.n + self.router_row * self.routers

    def operations(self, batch: int) -> int:
        """A router costs one dot product and contributes nothing to the output, so half."""
        per_tree = FLOP_PER_NEURON_ELEMENT * self.leaf_width + FLOP_PER_NEURON_ELEMENT // 2 * self.levels
        return self.d * self.trees * per_tree * batch

    def distinct_rows(self, batch: int, routing: str) -> float:
        """The routers' halves as of a tree, and the blocks of the leaves that are reached."""
        batch = min(batch, 1) if routing == "single-path" else batch
        routers = self.router_row * super().distinct_rows(batch, routing)
        return routers + self.trees * _visited(float(self.leaves), batch) * self.leaf_width


PROBLEM = Leaf
