"""The tree FFF: complete binary trees in which every node on a token's path is a neuron and decides its next turn.

``uniform``: normal weights and inputs, so every turn is close to an even coin. ``single-path``: random data in which
every token takes one and the same path, as in the published benchmark (there because its weights were never written).
``zipf``: tokens choose leaves independently, the r-th most popular leaf of a tree with probability proportional to 1/r,
leaves ranked in random order. Logits have unit scale in all, so no activation is degenerate. ``trained``: weights and
inputs of a tree that was trained (``problems.trained``), of one shape. All of a kind of layer stands in one file, hence
more than 300 lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from fffbench.errors import UserError
from fffbench.problems import judging, trained
from fffbench.problems.alternatives import Alternatives
from fffbench.problems.base import DENSE, Array, Normal, Problem
from fffbench.problems.dense import Dense
from fffbench.problems.judging import Asked, Others, Output, Reference

if TYPE_CHECKING:
    import torch

MAX_LEVELS = 24  # 2**24 - 1 neurons of 768 fp32 weights, twice, are 103 GB: no machine at hand holds more
# single-path and zipf: a logit that decides a turn is +-1 with this much noise, ten standard deviations from the other
PATH_NOISE = 0.1
ZIPF_EXPONENT = 1.0  # of the rank: word frequencies and expert popularities lie around it
_ID = re.compile(r"d(\d+)-n(\d+)-t(\d+)x(\d+)")


@dataclass(frozen=True)
class Law:
    """What ``zipf`` wrote into the weights: inputs that carry turns ``(groups, turns)``, leaves by rank per group."""

    carriers: npt.NDArray[np.int64]
    leaf_of_rank: npt.NDArray[np.int64]


class Tree(Problem):
    """``trees`` complete binary trees of ``levels`` levels, ``n = trees * (2**levels - 1)``; ``w1``, ``w2`` ``(n, d)``.

    Tree ``t`` owns the rows from ``t * (2**levels - 1)`` on, in breadth-first order.
    """

    kind = "tree"
    dense_kind = DENSE

    @classmethod
    def of(cls, d: int, trees: int, levels: int) -> Self:
        """``UserError`` where there is no such tree."""
        if d < 1 or trees < 1 or not 1 <= levels <= MAX_LEVELS:
            raise UserError(
                f"shape d={d}, trees={trees}, levels={levels}: "
                f"d and trees must be at least 1 and levels from 1 to {MAX_LEVELS}"
            )
        return cls(d, trees * (2**levels - 1), trees, levels)

    @property
    def id(self) -> str:
        """``d768-n4095-t1x12``."""
        return f"d{self.d}-n{self.n}-t{self.trees}x{self.levels}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """From ``d768-n4095-t1x12``."""
        return None if (match := _ID.fullmatch(text)) is None else cls._parsed(*map(int, match.groups()))

    @classmethod
    def _parsed(cls, d: int, n: int, *rest: int) -> Self:
        found = cls.of(d, *rest)
        if found.n != n:
            raise UserError(f"n={n} contradicts its tree, which has {found.n} neurons")
        return found

    @property
    def label(self) -> str:
        """``768 to 4095, 1x12``: trees x levels."""
        return f"{self.d} to {self.n}, {self.trees}x{self.levels}"

    @property
    def short(self) -> str:
        """``768x4095 1x12``: inputs x neurons, trees x levels."""
        return f"{self.d}x{self.n} {self.trees}x{self.levels}"

    @classmethod
    def edges(cls) -> Iterator[Problem]:
        """One level, one input, several trees, more trees than a vector, a width that is no multiple of anything."""
        sizes = ((16, 1, 1), (1, 1, 3), (5, 2, 2), (33, 1, 5), (64, 5, 4), (100, 1, 7), (769, 1, 6), (768, 1, 12))
        yield from (cls.of(*size) for size in (*sizes, (128, 40, 1)))

    def resized(self, d: int | None = None, trees: int | None = None, levels: int | None = None) -> Problem:
        """Another tree."""
        return self.of(d or self.d, trees or self.trees, levels or self.levels)

    def seen_by(self, family: str) -> Problem:
        """A dense layer has the same neurons and no tree."""
        return Dense(self.d, self.n) if family == DENSE else self

    # Its data.

    @property
    def routers(self) -> int:
        """Rows of W1 before the neurons'."""
        return 0

    @property
    def contributing(self) -> int:
        """Neurons that a token's output is made of."""
        return self.active

    @property
    def turns(self) -> int:
        """Turns that decide a token's path through one tree; below the last level lies nothing."""
        return self.levels - 1

    def tensors(self) -> dict[str, Normal]:
        """W1 scaled by 1/sqrt(d) (unit logits), W2 by 1/sqrt(neurons that contribute) (unit outputs)."""
        return {
            "w1": Normal((self.routers + self.n, self.d), self.d**-0.5),
            "w2": Normal((self.n, self.d), self.contributing**-0.5),
        }

    def refuses(self, routing: str) -> str | None:
        """``zipf`` carries every turn on an input of its own."""
        if routing == "zipf" and self.turns > self.d:
            needs = f"{self.turns} turns need at least as many inputs, d={self.d} has too few"
            return f"{needs}; use uniform or single-path"
        if routing == "trained" and self != Tree.of(trained.D, 1, trained.LEVELS):
            return f"what was trained is {Tree.of(trained.D, 1, trained.LEVELS).id}"
        return None

    def route(self, routing: str, rng: np.random.Generator, weights: dict[str, Array]) -> Law | trained.Recorded | None:
        """Rewrite the nodes of W1 that decide turns."""
        if routing == "trained":
            weights["w1"][:] = trained.recorded().w1
            return trained.recorded()
        if routing == "single-path":
            self._force_one_path(rng, weights["w1"])
        return self._force_leaves(rng, weights["w1"]) if routing == "zipf" and self.turns else None

    def impose(self, routing: str, law: Law | trained.Recorded | None, x: Any, rng: np.random.Generator) -> None:
        """Make inputs take the paths of the routing; ``law`` from ``route``."""
        if isinstance(law, trained.Recorded):
            x *= trained.JITTER
            x += law.x[rng.integers(len(law.x), size=len(x))]
            return
        if routing == "single-path":
            x += 1 - x.mean(axis=1, keepdims=True)  # component along u: sqrt(d) * mean = sqrt(d)
        if law is not None:
            bit = np.arange(self.turns - 1, -1, -1)  # the root's turn is the highest bit
            ranks = self.zipf_ranks(rng, len(x))
            for group, carriers in enumerate(law.carriers):
                right = law.leaf_of_rank[group][ranks[:, group], None] >> bit & 1
                x[:, carriers] = 2 * right - 1

    def zipf_ranks(self, rng: np.random.Generator, tokens: int) -> npt.NDArray[np.int64]:
        """Each token's draw in each independent group of trees: ``(tokens, groups)`` ranks from 0."""
        edges = zipf_probabilities(self.leaves).cumsum()
        drawn = np.searchsorted(edges, rng.random((tokens, self.independent_trees)), side="right")
        return np.minimum(drawn, self.leaves - 1).astype(np.int64)  # the last edge may be a rounding below 1

    @property
    def independent_trees(self) -> int:
        """How many trees can have leaves of their own choice under ``zipf``: half of the inputs carry turns, at most.

        Further trees repeat the draw of an earlier one, over leaves in an order of their own.
        """
        return max(1, min(self.trees, self.d // 2 // max(1, self.turns)))

    def _force_leaves(self, rng: np.random.Generator, w1: Array) -> Law:
        """Write into ``w1`` so that inputs that obey the law returned reach the leaf of their rank everywhere.

        Input j carries one turn (a level of a group of trees): it is +1 in tokens that turn right and -1 in the others.
        A deciding node has the weight +-1 at its level's input and what remains of the random weights elsewhere,
        shrunk. Trees of a group differ by the sign of that weight, a level each: leaf xor mask, so the law holds.
        """
        turns, groups = self.turns, self.independent_trees
        carriers = rng.permutation(self.d)[: groups * turns].reshape(groups, turns)
        leaf_of_rank = np.array([rng.permutation(self.leaves) for _ in range(groups)])
        for tree in range(self.trees):
            own = carriers[tree % groups]
            signs = np.ones(turns) if tree < groups else rng.choice((-1.0, 1.0), turns)
            for level in range(turns):
                first = tree * self._nodes + 2**level - 1
                rows = w1[first : first + 2**level]
                rows *= np.float32(PATH_NOISE)
                rows[:, own] = 0
                rows[:, own[level]] = signs[level]
        return Law(carriers, leaf_of_rank)

    def _force_one_path(self, rng: np.random.Generator, w1: Array) -> None:
        """Write into ``w1`` so that every token follows one randomly drawn path per tree; for ``impose``'s x.

        Along the unit vector u = 1/sqrt(d) every token gets the component sqrt(d) and every path node the
        weight +-1/sqrt(d): the logit is +-1 plus what the remaining, shrunk random weights add.
        """
        root = np.float32(self.d**0.5)
        for tree in range(self.trees):
            node = 0
            for _ in range(self.levels):
                right = int(rng.integers(2))
                row = w1[tree * self._nodes + node]
                row -= row.mean()
                row *= np.float32(PATH_NOISE)
                row += np.float32(2 * right - 1) / root / root
                node = 2 * node + 1 + right

    @property
    def _nodes(self) -> int:
        """Of one tree."""
        return int(2**self.levels - 1)

    # What is right.

    def reference(self, x: torch.Tensor, weights: Mapping[str, torch.Tensor], asked: Asked) -> Reference:
        """Every token walks every tree, some tokens at a time."""
        import torch

        w1, w2 = weights["w1"], weights["w2"]
        parts, near = [], []
        neurons: list[tuple[torch.Tensor, torch.Tensor]] = []
        routers: list[tuple[torch.Tensor, torch.Tensor]] = []
        index = torch.arange(len(x), device=x.device)
        for tokens in judging.chunks(index, judging.rows_at_once(self.d, asked)):
            some = x[tokens].double()
            output, tie = Output(some, asked.dtype), torch.zeros(len(some), dtype=torch.bool, device=x.device)
            for t in range(self.trees):
                node = torch.zeros(len(some), dtype=torch.int64, device=x.device)
                for _ in range(self.levels):
                    row = t * self._nodes + node
                    weight = w1[row].double()
                    z, norm = (some * weight).sum(dim=1), weight.norm(dim=1)
                    spread = judging.logit_std(z, output.x_norm, norm, self.d, asked.dtype)
                    tie |= z.abs() <= judging.LOGIT_SIGMAS * spread
                    self._visit(output, row, z, norm, w2)
                    (routers if self.routers else neurons).append((tokens, row))
                    node = 2 * node + 1 + (z > 0)
                for row in self._below(t, node):
                    weight = w1[self.routers + row].double()
                    _add(output, (some * weight).sum(dim=1), weight.norm(dim=1), w2[row].double())
                    neurons.append((tokens, row))
            parts.append(output)
            near.append(tokens[tie])
        found = judging.distinct(neurons, asked.batch, len(x))
        found += self.router_row * judging.distinct(routers, asked.batch, len(x))
        joined = judging.joined(index, parts, x, found)
        tied = torch.cat(near).tolist() if near else []
        return replace(joined, alternatives=self.alternatives(tied, x, weights, asked.dtype))

    def alternatives(
        self, tokens: Sequence[int], x: torch.Tensor, weights: Mapping[str, torch.Tensor], dtype: str
    ) -> Mapping[int, Others]:
        """Along the other paths that a correct kernel may take."""
        return Alternatives(self, tokens, x, weights["w1"], weights["w2"], dtype)

    def _visit(self, output: Output, row: torch.Tensor, z: torch.Tensor, norm: torch.Tensor, w2: torch.Tensor) -> None:
        """What a node on the path adds to the output."""
        _add(output, z, norm, w2[row].double())

    def _below(self, t: int, node: torch.Tensor) -> Sequence[torch.Tensor]:
        """The neurons, rows of W2, below the last level of tree ``t``, where the token would be at ``node``."""
        del t, node
        return ()

    # What it costs.

    router_row = 0.5  # a neuron has a row in W1 and one in W2; a router has the first only, and counts as half

    @property
    def active(self) -> int:
        """The path of every tree."""
        return self.trees * self.levels

    @property
    def leaves(self) -> int:
        """Paths through one tree."""
        return int(2**self.turns)

    def distinct_rows(self, batch: int, routing: str) -> float:
        """Expected where turns are even coins, too much for ``zipf`` and ``trained``; of one path for ``single-path``.

        At a level of m nodes, m * (1 - (1 - 1/m)**batch).
        """
        batch = min(batch, 1) if routing == "single-path" else batch
        return self.trees * sum(_visited(2.0**level, batch) for level in range(self.levels))


def _visited(nodes: float, batch: int) -> float:
    return nodes * (1 - (1 - 1 / nodes) ** batch)


def _add(output: Output, z: torch.Tensor, w1_norm: torch.Tensor, second: torch.Tensor) -> None:
    """One neuron of each token, whose row of W2 is ``second``."""
    output.y += output.add(z[:, None], w1_norm[:, None], second.norm(dim=1)[:, None]) * second


def zipf_probabilities(leaves: int) -> npt.NDArray[np.float64]:
    """Probability of each rank, most popular first."""
    weight = np.arange(1, leaves + 1, dtype=np.float64) ** -ZIPF_EXPONENT
    return np.asarray(weight / weight.sum())


PROBLEM = Tree
