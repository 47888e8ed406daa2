"""Leaf FFF by its author's own package, fastfeedforward of PyPI, as a user gets it: one token's block after another."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING

from fffbench.implementations.registry import Layer, Weights
from fffbench.plan.workload import Workload

if TYPE_CHECKING:
    import torch

FAMILY = "cmm"
DEVICES = ("cpu", "cuda")
DTYPES = ("fp32", "bf16", "fp16")
KINDS = ("leaf",)

PACKAGE = "fastfeedforward"


@cache
def _missing() -> str | None:
    if find_spec(PACKAGE) is None:
        return f"needs the package {PACKAGE} (pip install --no-deps {PACKAGE}, or the extra peers)"
    return None


def unsupported(workload: Workload) -> str | None:
    """The package must be there; its module has one tree, of at least one level."""
    shape = workload.shape
    if not shape.leaf_width:
        return "cmm_fastfeedforward computes leaf blocks; this tree's nodes are neurons"
    if shape.trees != 1:
        return f"the package's module has one tree, not {shape.trees}"
    if shape.levels < 1:
        return "the package's evaluation fails for a tree without routers"
    return _missing()


def prepare(weights: Weights, workload: Workload) -> Layer:
    """Its module in evaluation mode, the weights copied into it and the biases zero.

    It is made without memory (its constructor draws weights that would be thrown away), then given tensors of the
    layout that it has: ``w1s (leaves, d, width)``. In 16 bits its output is fp32 nevertheless, and is converted.
    """
    import torch
    from fastfeedforward import FFF
    from torch import nn

    shape, w1 = workload.shape, weights.w1
    blocks = (shape.leaves, shape.leaf_width, shape.d)
    with torch.device("meta"):
        module = FFF(shape.d, shape.leaf_width, shape.d, shape.levels, activation=nn.GELU())
    tensors = {
        "depth": torch.tensor(shape.levels, device=w1.device),
        "node_weights": w1[: shape.routers],
        "node_biases": w1.new_zeros((shape.routers, 1)),
        "w1s": w1[shape.routers :].view(blocks).transpose(1, 2).contiguous(),
        "b1s": w1.new_zeros(blocks[:2]),
        "w2s": weights.w2.view(blocks),
        "b2s": w1.new_zeros((shape.leaves, shape.d)),
    }
    for name, tensor in tensors.items():
        setattr(module, name, nn.Parameter(tensor, requires_grad=False))
    module.eval()
    own = tuple(tensors[name] for name in ("node_biases", "w1s", "b1s"))

    def forward(x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            y: torch.Tensor = module(x)
        return y.to(x.dtype)

    def bind(x: torch.Tensor, y: torch.Tensor) -> Callable[[], object]:
        return lambda: y.copy_(forward(x))

    return Layer(forward, bind, own, (f"{PACKAGE} {_version()}",))


def _version() -> str:
    """Which release it is, or that no metadata says so."""
    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        return "of unknown version"
