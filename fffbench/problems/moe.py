"""A top-1 mixture of experts: a router sends each token to one of several blocks of dense neurons.

It is the leaf FFF's rival of the same size: as many neurons, as many of them for a token, and a router of one product
where the tree has a path. The share of a single expert is 1 once shares are normalised, so it scales nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from fffbench.errors import UserError
from fffbench.problems import judging
from fffbench.problems.base import DENSE, FLOP_PER_NEURON_ELEMENT, Normal, Problem
from fffbench.problems.dense import Dense
from fffbench.problems.judging import Asked, Others, Output, Reference

if TYPE_CHECKING:
    import torch

_ID = re.compile(r"moe-d(\d+)-n(\d+)-e(\d+)")
MOST_OTHERS = 8  # experts of a token that may be chosen instead


class Moe(Problem):
    """``experts`` blocks of ``leaf_width`` neurons each; ``n = experts * leaf_width``.

    ``router (experts, d)``: a token goes to the expert with the highest score ``router . x``. ``w1`` and ``w2``
    ``(n, d)``: those of expert ``e`` are the rows from ``e * leaf_width`` on.
    """

    kind = "moe"
    dense_kind = DENSE

    @classmethod
    def of(cls, d: int, experts: int, leaf_width: int) -> Self:
        """``UserError`` where there is no such layer."""
        if d < 1 or experts < 2 or leaf_width < 1:
            raise UserError(
                f"mixture d={d}, experts={experts}, leaf_width={leaf_width}: there must be 2 experts or more"
            )
        return cls(d, experts * leaf_width, leaf_width=leaf_width)

    @property
    def experts(self) -> int:
        """Blocks."""
        return self.n // self.leaf_width

    @property
    def id(self) -> str:
        """``moe-d768-n4096-e128``."""
        return f"{super().id}-e{self.experts}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """From ``moe-d768-n4096-e128``."""
        if (match := _ID.fullmatch(text)) is None:
            return None
        d, n, experts = map(int, match.groups())
        if experts < 2 or n % experts:
            raise UserError(f"{text}: n must be a multiple of the experts, of which there are 2 or more")
        return cls.of(d, experts, n // experts)

    @property
    def label(self) -> str:
        """``768 to 4096, 128 experts of 32``."""
        return f"{self.d} to {self.n}, {self.experts} experts of {self.leaf_width}"

    @property
    def short(self) -> str:
        """``768x4096 e128l32``: experts and their neurons."""
        return f"{self.d}x{self.n} e{self.experts}l{self.leaf_width}"

    @classmethod
    def edges(cls) -> Iterator[Problem]:
        """One input, one neuron, odd blocks, as many experts as the narrowest leaf form has leaves."""
        sizes = ((1, 2, 1), (16, 2, 8), (33, 3, 5), (64, 16, 8), (768, 128, 32))
        yield from (cls.of(*size) for size in sizes)

    def seen_by(self, family: str) -> Problem:
        """A dense layer has the same neurons and no router."""
        return Dense(self.d, self.n) if family == DENSE else self

    def weights_seen_by(self, family: str, weights: Mapping[str, Any]) -> dict[str, Any]:
        """Those of ``seen_by``."""
        return {name: tensor for name, tensor in weights.items() if family != DENSE or name != "router"}

    def beside(self, other: Problem) -> bool:
        """A leaf FFF of as many neurons, in blocks as wide."""
        sizes = (self.d, self.n, self.leaf_width)
        return super().beside(other) or (other.kind == "leaf" and (other.d, other.n, other.leaf_width) == sizes)

    def tensors(self) -> dict[str, Normal]:
        """Unit scores, unit logits, outputs of about unit size."""
        return {
            "router": Normal((self.experts, self.d), self.d**-0.5),
            "w1": Normal((self.n, self.d), self.d**-0.5),
            "w2": Normal((self.n, self.d), self.leaf_width**-0.5),
        }

    def spoilers(self) -> dict[str, float]:
        """Half the router would choose the same experts."""
        return {"w2": -1.0, "router": -1.0, "w1": 0.5}

    def refuses(self, routing: str) -> str | None:
        """Random data spreads tokens evenly; no other routing is written into a router."""
        return None if routing == "uniform" else f"a mixture of experts is measured with uniform routing, not {routing}"

    # What is right.

    def reference(self, x: torch.Tensor, weights: Mapping[str, torch.Tensor], asked: Asked) -> Reference:
        """Expert by expert over the tokens that it gets."""
        import torch

        w1, w2 = weights["w1"], weights["w2"]
        scores = self._scores(x, weights["router"], asked)
        chosen = scores.argmax(1) if len(x) else torch.zeros(0, dtype=torch.int64, device=x.device)
        index, parts = [], []
        for expert in torch.unique(chosen).tolist():
            rows = slice(expert * self.leaf_width, (expert + 1) * self.leaf_width)
            first, second = w1[rows].double(), w2[rows].double()
            for tokens in judging.chunks(
                torch.nonzero(chosen == expert).flatten(), judging.rows_at_once(self.d, asked)
            ):
                some = x[tokens].double()
                output = Output(some, asked.dtype)
                output.y += output.add(some @ first.T, first.norm(dim=1), second.norm(dim=1)) @ second
                index.append(tokens)
                parts.append(output)
        order = torch.cat(index).argsort() if index else chosen
        visited = [(torch.arange(len(x), device=x.device), chosen)]
        found = judging.distinct(visited, asked.batch, len(x)) * self.leaf_width
        joined = judging.joined(torch.cat(index) if index else chosen, parts, x, found + self._router_rows(len(x)))
        columns = {name: getattr(joined, name)[order] for name in ("index", "y", "scale", "std")}
        tied = self._others(scores, x, weights["router"], asked.dtype)
        return replace(joined, **columns, alternatives=self.alternatives(list(tied), x, weights, asked.dtype))

    def alternatives(
        self, tokens: Sequence[int], x: torch.Tensor, weights: Mapping[str, torch.Tensor], dtype: str
    ) -> Mapping[int, Others]:
        """By the other experts whose score rounding may have made the highest."""
        import torch

        if not tokens:
            return {}
        some = x[torch.tensor(tokens, device=x.device)]
        scores = some.double() @ weights["router"].double().T
        found = {}
        for place, others in self._others(scores, some, weights["router"], dtype).items():
            x_one, parts = some[place][None].double(), []
            for expert in others:
                rows = slice(expert * self.leaf_width, (expert + 1) * self.leaf_width)
                first, second = weights["w1"][rows].double(), weights["w2"][rows].double()
                output = Output(x_one, dtype)
                output.y += output.add(x_one @ first.T, first.norm(dim=1), second.norm(dim=1)) @ second
                parts.append(output)
            found[tokens[place]] = Others(
                torch.cat([part.y for part in parts]).cpu(),
                torch.cat([part.std_and_scale()[0] for part in parts]).cpu(),
            )
        return found

    def _scores(self, x: torch.Tensor, router: torch.Tensor, asked: Asked) -> torch.Tensor:
        """Of every expert for ``x (tokens, d)``, in float64."""
        import torch

        wide = router.double().T
        places = torch.arange(len(x), device=x.device)
        parts = judging.chunks(places, judging.rows_at_once(max(self.d, self.experts), asked))
        return torch.cat([x[:0].double() @ wide, *(x[some].double() @ wide for some in parts)])

    def _others(self, scores: torch.Tensor, x: torch.Tensor, router: torch.Tensor, dtype: str) -> dict[int, list[int]]:
        """By token the experts, the highest left out, whose score is within rounding of the highest.

        Both scores are sums, and both may be stored in the dtype before they are compared.
        """
        if not len(scores):
            return {}
        best, first = scores.max(1, keepdim=True)
        norms = x.double().norm(dim=1)[:, None], router.double().norm(dim=1)
        spread = judging.LOGIT_SIGMAS * 2**0.5 * judging.logit_std(scores, *norms, self.d, dtype)
        stored = judging.ARITHMETIC[dtype].store * (scores.abs() + best.abs())
        near = (best - scores <= spread + stored).scatter_(1, first, value=False)
        found: dict[int, list[int]] = {}
        for token, expert in near.nonzero().tolist():
            found.setdefault(token, []).append(expert)
        return {token: experts[:MOST_OTHERS] for token, experts in found.items()}

    # What it costs.

    router_row = 0.5  # as in a tree: the router has a row in one matrix where a neuron has two

    def _router_rows(self, tokens: int) -> float:
        return self.router_row * self.experts if tokens else 0.0

    @property
    def active(self) -> int:
        """Neurons of one expert."""
        return self.leaf_width

    @property
    def leaves(self) -> int:
        """Experts that a token may reach."""
        return self.experts

    @property
    def rows(self) -> float:
        """All neurons, and the router's halves."""
        return self.n + self._router_rows(1)

    def operations(self, batch: int) -> int:
        """A score is one dot product."""
        return (
            self.d * (FLOP_PER_NEURON_ELEMENT * self.leaf_width + FLOP_PER_NEURON_ELEMENT // 2 * self.experts) * batch
        )

    def distinct_rows(self, batch: int, routing: str) -> float:
        """The router, and the experts that are reached where each is as likely."""
        del routing
        reached = self.experts * (1 - (1 - 1 / self.experts) ** batch)
        return self._router_rows(batch) + reached * self.leaf_width


PROBLEM = Moe
