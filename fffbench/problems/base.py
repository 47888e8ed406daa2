"""What must be known of a kind of layer, or of a whole model, so that it can be checked, timed and compared?

A ``Problem`` maps rows of ``d`` inputs to rows of ``d`` outputs. It says which tensors it has, how data is drawn, what
is right in float64 and how far off rounding may be, what it costs at the least, and what may stand beside it.
Everything else (the clock, the judge, the journal, the analysis, the page) knows no more of it than this.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from fffbench.errors import UserError

if TYPE_CHECKING:
    import torch

    from fffbench.problems.judging import Asked, Others, Reference

Array = npt.NDArray[np.float32]

DENSE = "dense"  # the family of layers that compute all neurons, and their kind
MAX_ELEMENTS = 2**38  # of one weight matrix: 1.1 TB in fp32
FLOP_PER_NEURON_ELEMENT = 4  # a multiply and an add for x . W1[k], the same for a * W2[k]


class Normal(NamedTuple):
    """A tensor of normal numbers: its shape, and the standard deviation of its elements."""

    shape: tuple[int, ...]
    scale: float


@dataclass(frozen=True)
class Data:
    """Inputs ``x (tokens, d)`` and the weights by name, in float32 on the host.

    ``law`` is what a routing wrote into the weights and needs again to draw inputs that obey it.
    """

    x: Array
    weights: Mapping[str, Array]
    law: Any = None

    def __getattr__(self, name: str) -> Array:
        """A weight by its name."""
        return _named(self, "weights", name)  # type: ignore[no-any-return]

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return self.x.nbytes + sum(array.nbytes for array in self.weights.values())


def _named(holder: object, where: str, name: str) -> Any:
    found = vars(holder).get(where, {})
    if name not in found:
        raise AttributeError(f"{type(holder).__name__} has no {name!r}; it has {', '.join(found)}")
    return found[name]


class Weights:
    """A layer's parameters by name (``weights.w1``), on the device in the storage dtype, contiguous.

    Names, shapes and order are those of ``Problem.tensors``.
    """

    def __init__(self, w1: torch.Tensor | None = None, w2: torch.Tensor | None = None, **others: torch.Tensor) -> None:
        """By name; the two matrices of a feedforward layer also by position."""
        given = {"w1": w1, "w2": w2, **others}
        self.tensors: dict[str, torch.Tensor] = {name: item for name, item in given.items() if item is not None}

    def __getattr__(self, name: str) -> torch.Tensor:
        """A tensor by its name."""
        return _named(self, "tensors", name)  # type: ignore[no-any-return]


@functools.total_ordering
@dataclass(frozen=True)
class Problem(ABC):
    """A layer of ``d`` inputs and outputs and ``n`` neurons; the tree over them if there is one, else zeros.

    The five numbers are the columns of every table. A kind that needs more adds fields.
    """

    kind: ClassVar[str]  # lower-case letters; its id begins with it, but for the first three kinds
    dense_kind: ClassVar[str]  # the kind whose dense implementations are the baselines of this one
    together: ClassVar[int] = 1  # rows of x that are computed together: where more, a batch is a multiple of them
    depth: ClassVar[int] = 1  # layers one after another: the rounding that is plausible grows with them

    d: int
    n: int
    trees: int = 0
    levels: int = 0
    leaf_width: int = 0

    def __post_init__(self) -> None:
        """Refuse what no memory holds, before anything is computed from it."""
        if self.d * self.n > MAX_ELEMENTS:
            raise UserError(f"shape d={self.d}, n={self.n}: d * n must be at most 2**38, 1.1 TB of fp32 weights")

    def __lt__(self, other: Problem) -> bool:
        """By the numbers, then by kind."""
        return self._key < other._key

    @property
    def _key(self) -> tuple[object, ...]:
        return (self.d, self.n, self.trees, self.levels, self.leaf_width, self.kind, self.id)

    # What it is called.

    @property
    def id(self) -> str:
        """Letters, digits, - and _; of a kind that is not ours it begins with ``<kind>-``."""
        return f"{self.kind}-d{self.d}-n{self.n}"

    @classmethod
    @abstractmethod
    def parse(cls, text: str) -> Self | None:
        """The problem whose id is ``text``; None where it is none of this kind, ``UserError`` where impossible."""

    @property
    def label(self) -> str:
        """For a reader: ``768 to 4095, 1x12``."""
        return f"{self.d} to {self.n}, {self.kind}"

    @property
    def short(self) -> str:
        """For a table on a terminal: ``768x4095 1x12``."""
        return f"{self.d}x{self.n} {self.kind}"

    @classmethod
    @abstractmethod
    def edges(cls) -> Iterator[Problem]:
        """Small ones at every edge, on which implementations are checked."""

    def resized(self, d: int | None = None, trees: int | None = None, levels: int | None = None) -> Problem:
        """The same with what is given replaced, as far as it has it: the axes of the command line."""
        del trees, levels
        return replace(self, d=d or self.d)

    @staticmethod
    def tree(d: int, trees: int, levels: int) -> Problem:
        """A ``Tree``: most code makes one of the first three kinds, which have short names here."""
        from fffbench.problems.tree import Tree

        return Tree.of(d, trees, levels)

    @staticmethod
    def leaf(d: int, trees: int, levels: int, leaf_width: int) -> Problem:
        """A ``Leaf``."""
        from fffbench.problems.leaf import Leaf

        return Leaf.of(d, trees, levels, leaf_width)

    @staticmethod
    def dense(d: int, n: int) -> Problem:
        """A ``Dense``."""
        from fffbench.problems.dense import Dense

        return Dense.of(d, n)

    # What stands beside it.

    def seen_by(self, family: str) -> Problem:
        """What an implementation of ``family`` computes on it: a dense layer knows nothing of a tree."""
        del family
        return self

    def weights_seen_by(self, family: str, weights: Mapping[str, Any]) -> dict[str, Any]:
        """The tensors of ``seen_by(family)`` among those of this problem (arrays or torch's)."""
        del family
        return dict(weights)

    def replaces(self, other: Problem) -> bool:
        """Whether this, computed by a dense implementation, may be the best-dense baseline of ``other``."""
        return self.kind == other.dense_kind and self.d == other.d and self.n >= other.n

    def beside(self, other: Problem) -> bool:
        """Whether a conditional layer of this kind is compared with one that is ``other``: one of the same size."""
        return self == other

    # Its data.

    @abstractmethod
    def tensors(self) -> dict[str, Normal]:
        """Its weights, in the order in which they are drawn; scaled so that logits and outputs have unit size."""

    def refuses(self, routing: str) -> str | None:
        """Why tokens cannot be routed so, or None."""
        del routing
        return None

    def route(self, routing: str, rng: np.random.Generator, weights: dict[str, Array]) -> Any:
        """Write a routing into ``weights``, in place; the law that inputs must obey, or None."""
        del routing, rng, weights

    def impose(self, routing: str, law: Any, x: Any, rng: np.random.Generator) -> None:
        """Make standard normal inputs ``x (tokens, d)`` (an array or a tensor) obey the routing, in place."""
        del routing, law, x, rng

    def draw(self, routing: str, seed: int, tokens: int) -> Data:
        """``tokens`` rows of x and the weights, which depend on the problem, the routing and the seed only.

        So implementations, batches and thread counts share them.
        """
        rng = np.random.default_rng([seed, self.d, self.n, 1])
        inputs = np.random.default_rng([seed, self.d, tokens, 2])
        weights: dict[str, Array] = {}
        for name, (shape, scale) in self.tensors().items():
            weights[name] = rng.standard_normal(shape, dtype=np.float32)
            weights[name] *= np.float32(scale)
        x = inputs.standard_normal((tokens, self.d), dtype=np.float32)
        law = self.route(routing, rng, weights)
        self.impose(routing, law, x, inputs)
        return Data(x, weights, law)

    # What is right.

    @abstractmethod
    def reference(self, x: torch.Tensor, weights: Mapping[str, torch.Tensor], asked: Asked) -> Reference:
        """What the outputs of ``x (tokens, d)`` must be, in float64, and how far off a correct kernel may be.

        All tensors are in the dtype, where they lie; what is returned lies there too. ``judging`` has the error model.
        """

    def alternatives(
        self, tokens: Sequence[int], x: torch.Tensor, weights: Mapping[str, torch.Tensor], dtype: str
    ) -> Mapping[int, Others]:
        """By each of ``tokens``, which ``reference`` gave alternatives, other outputs that are right, on the host."""
        del tokens, x, weights, dtype
        return {}

    def spoilers(self) -> dict[str, float]:
        """Tensors by which a hidden copy of the weights shows, each with the factor that spoils it.

        One after the other: the last one is negated, which negates the output; then others are halved. Both are exact
        in every dtype. A problem whose output is not linear in any gives none.
        """
        *others, last = self.tensors()
        return {last: -1.0} | dict.fromkeys(others, 0.5)

    # What it costs at the least: of the work, not of an implementation. An activation function is not counted (the
    # field's convention).

    @property
    def is_tree(self) -> bool:
        """Whether there is a tree over its neurons."""
        return self.trees > 0

    @property
    def routers(self) -> int:
        """Inner nodes that only route, whose rows stand in W1 before the neurons'."""
        return 0

    @property
    def turns(self) -> int:
        """Turns that decide a token's path through one tree."""
        return 0

    @property
    def leaves(self) -> int:
        """Paths that a token may take: inputs rotate over at least as many tokens."""
        return 1

    @property
    def active(self) -> int:
        """Neurons that one token evaluates."""
        return self.n

    @property
    def ceiling(self) -> float:
        """The operation-count bound on speed-up: neurons over those that a token evaluates."""
        return self.n / self.active

    @property
    def rows(self) -> float:
        """Distinct neurons that a batch can visit at the most."""
        return float(self.n)

    def operations(self, batch: int) -> int:
        """Useful floating-point operations of a batch."""
        return FLOP_PER_NEURON_ELEMENT * self.d * self.active * batch

    def distinct_rows(self, batch: int, routing: str) -> float:
        """Neurons that a batch is expected to visit; the exact count of a run is in its record."""
        del routing
        return self.rows if batch else 0.0

    def elements(self, batch: int, distinct_rows: float) -> float:
        """Numbers that must move: x read once, y written once, each distinct neuron's rows read once."""
        return self.d * (2 * batch + 2 * distinct_rows)
