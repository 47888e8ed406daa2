"""Leaf FFF the way a top-1 mixture of experts runs: tokens sorted by leaf, torch's grouped products over all leaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fffbench.implementations.registry import Layer, Weights
from fffbench.plan.workload import Shape, Workload

if TYPE_CHECKING:
    import torch

FAMILY = "cmm"
DEVICES = ("cuda",)
DTYPES = ("bf16",)

ALIGNED = 8  # bf16 elements of 16 bytes, which the grouped product wants of every row
CAPABILITY = (9, 0)


def unsupported(workload: Workload) -> str | None:
    """Leaf form of one tree, rows of 16 bytes, a GPU and a torch that have the grouped product."""
    shape = workload.shape
    if not shape.leaf_width or shape.trees != 1:
        return "cmm_leaf_grouped computes the leaf blocks of one tree"
    if shape.d % ALIGNED or shape.leaf_width % ALIGNED:
        return f"the grouped product wants multiples of {ALIGNED}, not d={shape.d} and leaves of {shape.leaf_width}"
    if workload.batch == 0:
        return "the grouped product refuses an empty batch"
    return _no_grouped_product()


def _no_grouped_product() -> str | None:
    import torch

    if _grouped() is None:
        return "this torch has no _grouped_mm"
    if torch.cuda.is_available() and torch.cuda.get_device_capability() < CAPABILITY:
        return "the grouped product needs compute capability 9.0 or newer"
    return None


def _grouped() -> Any:
    import torch

    return getattr(torch, "_grouped_mm", None)


def ancestors(shape: Shape) -> list[list[float]]:
    """For every leaf 1 at the routers that a token leaves to the right on the way there, -1 at those to the left."""
    turns = [[0.0] * (2**shape.levels - 1) for _ in range(2**shape.levels)]
    for leaf, row in enumerate(turns):
        node = leaf + 2**shape.levels - 1
        while node > 0:
            above = (node - 1) // 2
            row[above] = 1.0 if node == 2 * above + 2 else -1.0
            node = above
    return turns


def prepare(weights: Weights, workload: Workload) -> Layer:
    """The weights as blocks, and the leaves' turns: routing is two small products and an argmax, as a gate's is."""
    import torch

    shape = workload.shape
    grouped = _grouped()
    leaves = shape.leaves
    w1, w2 = weights.w1, weights.w2
    routers = w1[: shape.routers].t()
    first = w1[shape.routers :].view(leaves, shape.leaf_width, shape.d).transpose(1, 2)
    second = w2.view(leaves, shape.leaf_width, shape.d)
    turns = torch.tensor(ancestors(shape), device=w1.device, dtype=w1.dtype).t().contiguous()
    numbers = torch.arange(leaves, device=w1.device)

    def forward(x: torch.Tensor) -> torch.Tensor:
        if shape.levels:
            right = torch.where(x @ routers > 0, 1.0, -1.0).to(x.dtype)
            leaf = (right @ turns).argmax(1)  # levels agree at the leaf reached, fewer at any other
        else:
            leaf = x.new_zeros(x.shape[0], dtype=torch.int64)
        leaf, order = leaf.sort()
        ends = torch.searchsorted(leaf, numbers, right=True).to(torch.int32)
        hidden = torch.nn.functional.gelu(grouped(x[order], first, offs=ends))
        return torch.empty_like(x).index_copy_(0, order, grouped(hidden, second, offs=ends))

    def bind(x: torch.Tensor, y: torch.Tensor) -> Callable[[], object]:
        return lambda: y.copy_(forward(x))

    return Layer(forward, bind, resident=(turns,))
