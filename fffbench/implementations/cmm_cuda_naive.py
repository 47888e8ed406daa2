"""Naive CMM in CUDA C++, as published: a thread a token, blocks of 1024, the output read and written every level."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fffbench.implementations.cuda.base import Layout, Plan, Step
from fffbench.implementations.fff_cuda import compile_reason, machine_reason
from fffbench.implementations.registry import Layer, Weights
from fffbench.plan.workload import Workload

if TYPE_CHECKING:
    import torch

FAMILY = "cmm"
DEVICES = ("cuda",)
DTYPES = ("fp32",)  # the published kernel forces an fp32 output

BLOCK = 1024  # threads, as published: 16384 tokens are 16 blocks


def unsupported(workload: Workload) -> str | None:
    """Tree form only, on a GPU for which the sources compile."""
    if workload.shape.leaf_width:
        return "cmm_cuda_naive computes the tree form, not leaf blocks"
    return machine_reason() or compile_reason(workload.dtype, 32)


def plan(layout: Layout, batch: int) -> Plan:
    """One launch."""
    arguments = ("x", "w1", "w2", "y", batch, layout.trees, layout.levels)
    return Plan("naive", (Step("naive.cu", "cmm_naive", layout.macros(), -(-batch // BLOCK), BLOCK, arguments),))


def prepare(weights: Weights, workload: Workload) -> Layer:
    """Nothing is packed."""
    shape = workload.shape
    layout = Layout(shape.d, shape.trees, shape.levels, workload.dtype, aligned=False)

    def bind(x: torch.Tensor, y: torch.Tensor) -> Callable[[], object]:
        from fffbench.implementations.cuda.buffers import Buffers
        from fffbench.implementations.cuda.launch import Program

        if x.shape[0] == 0:
            return lambda: None
        return Program(plan(layout, x.shape[0]), x, y, Buffers(weights.tensors)).run

    def forward(x: torch.Tensor) -> torch.Tensor:
        import torch

        y = torch.empty_like(x)
        bind(x, y)()
        return y

    return Layer(forward, bind)
