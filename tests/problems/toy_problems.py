"""Two kinds of layer: everything that somebody writes who adds one. ``PROBLEM`` of ``toy_pairs`` is the other."""

import re

from fffbench.problems.base import FLOP_PER_NEURON_ELEMENT, Normal, Problem
from fffbench.problems.dense import Dense
from fffbench.problems.judging import Output, joined

ID = re.compile(r"(\w+)-d(\d+)-n(\d+)")


class Toy(Problem):
    """What both have in common: an id with their name before the sizes."""

    @classmethod
    def parse(cls, text):
        """From ``gated-d32-n48``."""
        match = ID.fullmatch(text)
        return cls(int(match[2]), int(match[3])) if match and match[1] == cls.kind else None

    @classmethod
    def edges(cls):
        """One neuron, odd sizes, wide enough for spoiled weights to show."""
        yield from (cls(1, 1), cls(33, 5), cls(64, 100))


class Gated(Toy):
    """``y = (silu(x @ Wg.T) * (x @ Wu.T)) @ Wd``: three matrices ``(n, d)``."""

    kind = dense_kind = "gated"

    def tensors(self):
        """Unit logits, outputs of about unit size."""
        size = (self.n, self.d)
        names = {"wg": self.d**-0.5, "wu": self.d**-0.5, "wd": self.n**-0.5}
        return {name: Normal(size, scale) for name, scale in names.items()}

    def operations(self, batch):
        """Three products where a dense layer has two."""
        return 3 * FLOP_PER_NEURON_ELEMENT // 2 * self.d * self.n * batch

    def elements(self, batch, distinct_rows):
        """Three rows of each neuron."""
        return self.d * (2 * batch + 3 * distinct_rows)

    def reference(self, x, weights, asked):
        """Both logits are rounded, and an error of either reaches the product."""
        import torch

        wide, wg, wu, wd = (tensor.double() for tensor in (x, weights["wg"], weights["wu"], weights["wd"]))
        gate, up, output = wide @ wg.T, wide @ wu.T, Output(wide, asked.dtype)
        sigmoid = torch.sigmoid(gate)
        silu, slope = gate * sigmoid, sigmoid * (1 + gate * (1 - sigmoid))
        output.y += output.add(gate, wg.norm(dim=1), wd.norm(dim=1), silu * up, slope * up) @ wd
        output.add(up, wu.norm(dim=1), wd.norm(dim=1), torch.zeros_like(up), silu)
        return joined(torch.arange(len(x), device=x.device), [output], x, float(self.n if len(x) else 0))


class Pairs(Toy, Dense):
    """A dense layer in which each row gets its neighbour's output: two rows are computed together."""

    kind = dense_kind = "pairs"
    together = 2
    id = Problem.id
    label = Problem.label

    def reference(self, x, weights, asked):
        """The dense layer of the swapped rows."""
        return super().reference(x.view(-1, 2, self.d).flip(1).reshape(len(x), self.d), weights, asked)


PROBLEM = Gated
