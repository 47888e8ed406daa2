"""Dense FF in naive CUDA C++, as published: a thread a token, blocks of 1024, the output read and written per neuron.

The same-primitive baseline of ``cmm_cuda_naive``. 16384 tokens are 16 blocks, so most of a large GPU stands idle.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fffbench.implementations.cmm_cuda_naive import BLOCK
from fffbench.implementations.cuda.base import Layout, Plan, Step
from fffbench.implementations.fff_cuda import compile_reason, machine_reason
from fffbench.implementations.registry import Layer, Weights
from fffbench.plan.workload import Workload

if TYPE_CHECKING:
    import torch

FAMILY = "dense"
DEVICES = ("cuda",)
DTYPES = ("fp32",)  # the published kernel forces an fp32 output
# cmm_cuda_naive takes 26 ms for 12 neurons of 16384 tokens on an H200; 4095 would be 9 s against 4 ms at the peak rate
ROOFLINE_SHARE = 5e-4


def unsupported(workload: Workload) -> str | None:
    """Any layer, on a GPU for which the sources compile."""
    return machine_reason() or compile_reason(workload.dtype, 32)


def plan(layout: Layout, n: int, batch: int) -> Plan:
    """One launch."""
    arguments = ("x", "w1", "w2", "y", batch, n)
    return Plan(
        "naive", (Step("naive_dense.cu", "fff_dense_naive", layout.macros(), -(-batch // BLOCK), BLOCK, arguments),)
    )


def prepare(weights: Weights, workload: Workload) -> Layer:
    """Nothing is packed."""
    n, d = weights.w1.shape
    layout = Layout(d, 1, 1, workload.dtype, aligned=False)

    def bind(x: torch.Tensor, y: torch.Tensor) -> Callable[[], object]:
        from fffbench.implementations.cuda.buffers import Buffers
        from fffbench.implementations.cuda.launch import Program

        if x.shape[0] == 0:
            return lambda: None
        return Program(plan(layout, n, x.shape[0]), x, y, Buffers(weights.tensors)).run

    def forward(x: torch.Tensor) -> torch.Tensor:
        import torch

        y = torch.empty_like(x)
        bind(x, y)()
        return y

    return Layer(forward, bind)
