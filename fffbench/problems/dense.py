"""The dense layer: ``y = gelu(x @ W1.T) @ W2``, all neurons for every token."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Self

from fffbench.errors import UserError
from fffbench.problems.base import DENSE, FLOP_PER_NEURON_ELEMENT, Normal, Problem
from fffbench.problems.judging import DENSE_TOKENS, Asked, Output, Reference, chunks, joined, rows_at_once, sampled

if TYPE_CHECKING:
    import torch

_ID = re.compile(r"d(\d+)-n(\d+)")


class Dense(Problem):
    """A plain layer of ``n`` neurons; weights ``w1`` and ``w2`` ``(n, d)``."""

    kind = dense_kind = DENSE

    @classmethod
    def of(cls, d: int, n: int) -> Self:
        """The layer of ``n`` neurons; ``UserError`` where it is none."""
        if d < 1 or n < 1:
            raise UserError(f"shape d={d}, n={n}: both must be at least 1")
        return cls(d, n)

    @property
    def id(self) -> str:
        """``d768-n3072``."""
        return f"d{self.d}-n{self.n}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """From ``d768-n3072``."""
        match = _ID.fullmatch(text)
        return None if match is None else cls.of(int(match[1]), int(match[2]))

    @property
    def label(self) -> str:
        """``768 to 3072``."""
        return f"{self.d} to {self.n}"

    @property
    def short(self) -> str:
        """``768x3072``."""
        return f"{self.d}x{self.n}"

    @classmethod
    def edges(cls) -> Iterator[Problem]:
        """One neuron, odd numbers, the published layer."""
        yield from (cls.of(1, 1), cls.of(5, 3), cls.of(100, 129), cls.of(768, 4095))

    def tensors(self) -> dict[str, Normal]:
        """W1 scaled by 1/sqrt(d), W2 by 1/sqrt(n)."""
        return {"w1": Normal((self.n, self.d), self.d**-0.5), "w2": Normal((self.n, self.d), self.n**-0.5)}

    def elements(self, batch: int, distinct_rows: float) -> float:
        """Every neuron's rows are read, whatever a record says."""
        del distinct_rows
        return super().elements(batch, float(self.n if batch else 0))

    def reference(self, x: torch.Tensor, weights: Mapping[str, torch.Tensor], asked: Asked) -> Reference:
        """Some tokens and some neurons at a time."""
        import torch

        w1, w2 = weights["w1"], weights["w2"]
        chosen = sampled(len(x), FLOP_PER_NEURON_ELEMENT * self.n * self.d, asked)
        index, parts = torch.from_numpy(chosen).to(x.device), []
        for tokens in chunks(index, DENSE_TOKENS):
            some = x[tokens].double()
            output = Output(some, asked.dtype)
            step = min(rows_at_once(len(tokens), asked), rows_at_once(self.d, asked))
            for first in range(0, self.n, step):
                rows1, rows2 = w1[first : first + step].double(), w2[first : first + step].double()
                activation = output.add(some @ rows1.T, rows1.norm(dim=1), rows2.norm(dim=1))
                output.y += activation @ rows2
            parts.append(output)
        return joined(index, parts, x, float(self.n if len(x) else 0))


PROBLEM = Dense
