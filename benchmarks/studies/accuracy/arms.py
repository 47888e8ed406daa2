"""Which layers are trained, and how does each compute and what does its recipe add to the loss?

Many members (seeds, learning rates) are trained at once: every tensor has them as its first axis, and they share
nothing.
A layer has about 512 neurons in all. Trees and leaves are evaluated with hard turns, as they run.

- ``tree-published``: hard turns in training too, gradients through the visited nodes alone (UltraFastBERT).
- ``leaf-published``: soft mixture of all leaves, 3 times the entropy of every router in the loss (arXiv:2308.14711).
- ``-better``, for both forms: soft, the entropy of the routers on the way with a weight that grows from 0, a loss for
  routers whose two sides are not equally used (after arXiv:2405.16836), and hard turns in the last 30 % of the steps.
- ``moe``: the likeliest experts, weighted by their probability, with the loss of Switch Transformers for balance.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

WIDTH, INPUTS, CLASSES = 128, 40, 10
HARDENING, BALANCING, EXPERTS_BALANCING = 3.0, 1.0, 0.01
HARD_FROM = 0.7  # share of the steps

Parameters = dict[str, Tensor]


@dataclass(frozen=True)
class Arm:
    """A layer and its recipe: ``trees`` of ``levels`` (levels of routers above leaves of ``width``), or experts."""

    form: str
    recipe: str = ""
    n: int = 0
    trees: int = 0
    levels: int = 0
    width: int = 0
    top: int = 0

    @property
    def id(self) -> str:
        """``tree-1x9-better``, ``leaf-4l32-published``, ``dense-32``, ``moe-16x32-top1``, ``none``."""
        shape = {
            "tree": f"-{self.trees}x{self.levels}",
            "leaf": f"-{self.levels}l{self.width}",
            "moe": f"-{self.n // max(self.width, 1)}x{self.width}-top{self.top}",
            "dense": f"-{self.n}",
        }.get(self.form, "")
        return self.form + shape + (f"-{self.recipe}" if self.recipe else "")

    @property
    def used(self) -> int:
        """Neurons that a token uses, routers not counted."""
        return {"tree": self.trees * self.levels, "leaf": self.width, "moe": self.top * self.width}.get(
            self.form, self.n
        )


def _tree(trees: int, levels: int, recipe: str) -> Arm:
    return Arm("tree", recipe, trees * (2**levels - 1), trees, levels)


def _leaf(levels: int, width: int, recipe: str) -> Arm:
    return Arm("leaf", recipe, width << levels, 1, levels, width)


RECIPES = ("published", "better")
ARMS: tuple[Arm, ...] = (
    Arm("none"),
    *(Arm("dense", n=n) for n in (9, 16, 32, 48, 128, 256, 512)),
    *(_tree(trees, levels, recipe) for recipe in RECIPES for trees, levels in ((1, 9), (8, 6), (32, 4))),
    *(_leaf(levels, width, recipe) for recipe in RECIPES for levels, width in ((4, 32), (6, 8))),
    Arm("moe", n=512, width=32, top=1),
    Arm("moe", n=512, width=32, top=2),
)


def initial(arm: Arm, seeds: list[int]) -> Parameters:
    """Parameters of one member a seed, drawn as torch draws those of linear layers."""
    drawn = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)

        def draw(*shape: int, of: int, by: torch.Generator = generator) -> Tensor:
            uniform: Tensor = torch.rand(*shape, generator=by)
            return (2 * uniform - 1) * float(of**-0.5)

        one = {
            "embed": draw(INPUTS, WIDTH, of=INPUTS),
            "embed_bias": draw(WIDTH, of=INPUTS),
            "head": draw(WIDTH, CLASSES, of=WIDTH),
            "head_bias": draw(CLASSES, of=WIDTH),
        }
        if arm.n:
            one |= {"w1": draw(WIDTH, arm.n, of=WIDTH), "b1": draw(arm.n, of=WIDTH)}
            one |= {"w2": draw(arm.n, WIDTH, of=max(arm.used, 1))}
        routers = {"leaf": 2**arm.levels - 1, "moe": arm.n // max(arm.width, 1)}.get(arm.form, 0)
        if routers:
            one |= {"router": draw(WIDTH, routers, of=WIDTH), "router_bias": draw(routers, of=WIDTH)}
        drawn.append(one)
    return {name: torch.stack([one[name] for one in drawn]).requires_grad_() for name in drawn[0]}


def forward(arm: Arm, p: Parameters, x: Tensor, progress: float = 1.0, *, train: bool = False) -> tuple[Tensor, Tensor]:
    """Logits ``(members, batch, 10)`` of ``x (members, batch, 40)``, and what each member's recipe adds to its loss.

    ``progress`` through the training, 0 to 1.
    """
    h = layer_input(p, x, residual=True)
    extra = torch.zeros(len(x))
    if arm.form != "none":
        y, extra = _layer(arm, p, _normal(h), progress, train=train)
        h = h + y
    return torch.baddbmm(p["head_bias"][:, None], _normal(h), p["head"]), extra


def layer_input(p: Parameters, x: Tensor, *, residual: bool = False) -> Tensor:
    """What the layer is given: the embedded sample, normalised; with ``residual`` what its output is added to."""
    h = torch.baddbmm(p["embed_bias"][:, None], x, p["embed"])
    return h if residual else _normal(h)


def _normal(h: Tensor) -> Tensor:
    return functional.layer_norm(h, (h.shape[-1],))


def _layer(arm: Arm, p: Parameters, u: Tensor, progress: float, *, train: bool) -> tuple[Tensor, Tensor]:
    z = torch.baddbmm(p["b1"][:, None], u, p["w1"])
    hidden, extra = functional.gelu(z), torch.zeros(len(u))
    if arm.form in ("tree", "leaf"):
        soft = train and (progress < HARD_FROM if arm.recipe == "better" else arm.form == "leaf")
        logits = z if arm.form == "tree" else torch.baddbmm(p["router_bias"][:, None], u, p["router"])
        reached, turns = reach(logits, arm, soft=soft)
        if soft:
            extra = _recipe(arm, reached, turns, progress)
        share = torch.cat(reached, -1).flatten(2) if arm.form == "tree" else reached[-1].flatten(2)
        hidden = hidden * (share if arm.form == "tree" else share.repeat_interleave(arm.width, -1))
    if arm.form == "moe":
        probability = torch.baddbmm(p["router_bias"][:, None], u, p["router"]).softmax(-1)
        chosen = torch.zeros_like(probability).scatter_(-1, probability.topk(arm.top, -1).indices, 1.0)
        hidden = hidden * (chosen * probability).repeat_interleave(arm.width, -1)
        experts = probability.shape[-1]
        extra = EXPERTS_BALANCING * experts / arm.top * (chosen.mean(1) * probability.mean(1)).sum(-1)
    return torch.bmm(hidden, p["w2"]), extra


def reach(logits: Tensor, arm: Arm, *, soft: bool) -> tuple[list[Tensor], list[Tensor]]:
    """Share of each node of each level that a token reaches, and of its turns to the right.

    Each ``(members, batch, trees, nodes)``. Of the tree form one entry a level; of the leaf form also one for the
    leaves. Hard: shares are 0 and 1.
    """
    z = logits.view(*logits.shape[:-1], arm.trees, -1)
    turning = arm.levels - 1 if arm.form == "tree" else arm.levels
    reached, turns = [torch.ones_like(z[..., :1])], []
    for level in range(turning):
        at = z[..., 2**level - 1 : 2 ** (level + 1) - 1]
        right = torch.sigmoid(at) if soft else (at > 0).to(z.dtype)
        reached.append(torch.stack((reached[-1] * (1 - right), reached[-1] * right), -1).flatten(-2))
        turns.append(right)
    return reached, turns


def _recipe(arm: Arm, reached: list[Tensor], turns: list[Tensor], progress: float) -> Tensor:
    """Hardening, and balancing, ``(members,)``."""
    if arm.recipe == "published":
        return HARDENING * sum((_entropy(p).sum((-1, -2)).mean(1) for p in turns), torch.zeros(len(turns[0])))
    total = torch.zeros(len(turns[0]))
    for share, right in zip(reached, turns, strict=False):
        hard = (share * _entropy(right)).sum(-1).mean((-1, -2))
        visits, to_the_right = share.mean(1), (share * right).mean(1)
        uneven = (visits * (2 * to_the_right / visits.clamp_min(1e-6) - 1) ** 2).sum(-1).mean(-1)
        total = total + (progress / HARD_FROM * hard + BALANCING * uneven) / len(turns)
    return total


def _entropy(p: Tensor) -> Tensor:
    q = p.clamp(1e-6, 1 - 1e-6)
    return -(q * q.log() + (1 - q) * (1 - q).log())
