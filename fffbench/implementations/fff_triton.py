"""FFF in Triton: one program walks one token through all levels, x and output in registers; portable."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fffbench.implementations.cuda.triton_support import block_of, reason, too_wide
from fffbench.implementations.registry import Layer, Weights
from fffbench.plan.workload import Workload

if TYPE_CHECKING:
    import torch

FAMILY = "fff"
DEVICES = ("cuda",)
DTYPES = ("fp32", "bf16", "fp16")
GUARDED = ("d768-n4095-t1x12-b16384-bf16-uniform-cuda-1th-s0",)


def unsupported(workload: Workload) -> str | None:
    """Tree form, rows that fit a program, triton and a GPU."""
    if workload.shape.leaf_width:
        return "fff_triton computes the tree form, not leaf blocks"
    return too_wide(workload.shape.d) or reason()


def prepare(weights: Weights, workload: Workload) -> Layer:
    """Nothing is packed; the kernel reads the weights as they are."""
    from fffbench.implementations.cuda.triton_kernels import walk

    shape = workload.shape
    block, warps = block_of(shape.d)

    def launch(x: torch.Tensor, y: torch.Tensor) -> None:
        if x.shape[0]:
            walk[(x.shape[0],)](
                x, weights.w1, weights.w2, y, shape.d,
                TREES=shape.trees, LEVELS=shape.levels, BLOCK=block, num_warps=warps,
            )  # fmt: skip

    def forward(x: torch.Tensor) -> torch.Tensor:
        import torch

        y = torch.empty_like(x)
        launch(x, y)
        return y

    def bind(x: torch.Tensor, y: torch.Tensor) -> Callable[[], object]:
        return lambda: launch(x, y)

    return Layer(forward, bind)
