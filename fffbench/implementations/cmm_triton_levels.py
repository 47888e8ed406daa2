"""Naive CMM in Triton: one launch a level; nodes and output travel through memory between launches."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fffbench.implementations.cuda.triton_support import block_of, reason, too_wide
from fffbench.implementations.registry import Layer, Weights
from fffbench.plan.workload import Workload

if TYPE_CHECKING:
    import torch

FAMILY = "cmm"
DEVICES = ("cuda",)
DTYPES = ("fp32", "bf16", "fp16")


def unsupported(workload: Workload) -> str | None:
    """Tree form, rows that fit a program, triton and a GPU."""
    if workload.shape.leaf_width:
        return "cmm_triton_levels computes the tree form, not leaf blocks"
    return too_wide(workload.shape.d) or reason()


def prepare(weights: Weights, workload: Workload) -> Layer:
    """Nothing is packed; sums are kept in fp32 between the levels whatever the storage."""
    from fffbench.implementations.cuda.triton_kernels import one_level

    shape = workload.shape
    block, warps = block_of(shape.d)
    steps = shape.trees * shape.levels
    rows = 2**shape.levels - 1

    def scratch(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        import torch

        total = torch.empty(x.shape, dtype=torch.float32, device=x.device)
        return total, torch.zeros(x.shape[0], dtype=torch.int64, device=x.device)

    def launch(x: torch.Tensor, y: torch.Tensor, total: torch.Tensor, nodes: torch.Tensor) -> None:
        if not x.shape[0]:
            return
        for step in range(steps):
            tree, level = divmod(step, shape.levels)
            one_level[(x.shape[0],)](
                x, weights.w1, weights.w2, y, total, nodes, shape.d, tree * rows,
                int(level == 0), int(step == 0), int(step == steps - 1), BLOCK=block, num_warps=warps,
            )  # fmt: skip

    def forward(x: torch.Tensor) -> torch.Tensor:
        import torch

        y = torch.empty_like(x)
        launch(x, y, *scratch(x))
        return y

    def bind(x: torch.Tensor, y: torch.Tensor) -> Callable[[], object]:
        total, nodes = scratch(x)
        return lambda: launch(x, y, total, nodes)

    return Layer(forward, bind)
