"""Which other outputs of a token are right, where a correct kernel may turn either way at a near-tie?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from fffbench.problems import judging
from fffbench.problems.judging import Others

if TYPE_CHECKING:
    import torch

    from fffbench.problems.tree import Tree

# A token with more alternatives than this (6 near-ties) is checked against the first 64 of them only.
MOST_ALTERNATIVES = 64


class Alternatives(Mapping[int, "Others"]):
    """For each token of ``near``, which has a near-tie: its outputs along its other admissible paths, on the host.

    They are computed when one is asked for: a comparison asks for the tokens that differ, a tenth of those near.
    """

    def __init__(
        self, problem: Tree, near: Sequence[int], x: torch.Tensor, w1: torch.Tensor, w2: torch.Tensor, dtype: str
    ) -> None:
        """Of inputs ``x (tokens, d)`` and weights as ``reference`` takes them."""
        self._problem, self._x, self._w1, self._w2, self._dtype = problem, x, w1, w2, dtype
        self._near = dict.fromkeys(near)

    def __iter__(self) -> Iterator[int]:
        """The tokens."""
        return iter(self._near)

    def __len__(self) -> int:
        """How many tokens have a near-tie."""
        return len(self._near)

    def __contains__(self, token: object) -> bool:
        """Whether ``token`` has a near-tie."""
        return token in self._near

    def __getitem__(self, token: int) -> Others:
        """Outputs of ``token``; KeyError where it has no near-tie.

        All trees are walked together, a level at a time; a tree's first path is the reference's own.
        """
        import torch

        if token not in self._near:
            raise KeyError(token)
        shape, x = self._problem, _host(self._x, torch.tensor([token]))[0]
        tree, node = torch.arange(shape.trees), torch.zeros(shape.trees, dtype=torch.int64)
        sums = x.new_zeros((shape.trees, len(x) + 2))  # the output, then its error's variance and its scale, squared
        for _ in range(shape.levels):
            rows = tree * (2**shape.levels - 1) + node
            weights = _host(self._w1, rows)
            z, norm = weights @ x, weights.norm(dim=1)
            if not shape.routers:
                sums = sums + self._added(x, z, norm, _host(self._w2, rows))
            spread = judging.logit_std(z, x.norm(), norm, shape.d, self._dtype)
            tied = torch.nonzero(z.abs() <= judging.LOGIT_SIGMAS * spread).flatten()
            left, right = 2 * node + 1 + (z > 0), 2 * node[tied] + 1 + (z[tied] <= 0)
            tree, node, sums = torch.cat([tree, tree[tied]]), torch.cat([left, right]), torch.cat([sums, sums[tied]])
            kept = _first_of_each(tree, MOST_ALTERNATIVES)
            tree, node, sums = tree[kept], node[kept], sums[kept]
        for place, (t, at) in enumerate(zip(tree.tolist(), node, strict=True)):
            for row in shape._below(t, at[None]):  # noqa: SLF001  (a part of it)
                weights = _host(self._w1, shape.routers + row)
                sums[place] += self._added(x, weights @ x, weights.norm(dim=1), _host(self._w2, row))[0]
        alone = torch.bincount(tree, minlength=shape.trees)[tree] == 1
        totals = [(sums[alone].sum(dim=0), False)]  # sums, and whether they left the reference's path
        for t in sorted(set(tree[~alone].tolist())):
            totals = [
                (total + path, was or k > 0)
                for total, was in totals[:MOST_ALTERNATIVES]
                for k, path in enumerate(sums[tree == t])
            ]
        left_it = [total for total, was in totals if was]
        found = torch.stack(left_it) if left_it else sums[:0]
        y, variance, scale_squared = found[:, :-2], found[:, -2], found[:, -1]
        neurons = shape.contributing
        return Others(y, judging.total_variance(variance, scale_squared, neurons, y.norm(dim=1), self._dtype).sqrt())

    def _added(self, x: torch.Tensor, z: torch.Tensor, norm: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """What neurons of logits ``z (neurons,)``, whose rows of W2 are ``second (neurons, d)``, add to ``sums``."""
        import torch

        output = judging.Output(x.expand(len(z), -1), self._dtype)
        activation = output.add(z[:, None], norm[:, None], second.norm(dim=1)[:, None])
        return torch.cat([activation * second, *(part[:, None] for part in output.sums())], dim=1)


def _host(matrix: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Rows of a matrix, wherever it lies, as float64 on the host."""
    return matrix[rows.to(matrix.device)].double().cpu()


def _first_of_each(group: torch.Tensor, most: int) -> torch.Tensor:
    """Positions of the first ``most`` members of every group, in their order."""
    import torch

    order = torch.argsort(group, stable=True)
    ordered = group[order].contiguous()
    rank = torch.arange(len(group)) - torch.searchsorted(ordered, ordered)
    return order[rank < most].sort().values
