"""Our C++ dense layer for large batches: every thread takes tokens of its own through all neurons, GELU included."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fffbench.implementations.registry import Layer, Weights
from fffbench.implementations.torchlib import pad_rows, round_up
from fffbench.plan.workload import Workload

if TYPE_CHECKING:
    import torch

FAMILY = "dense"
DEVICES = ("cpu",)
DTYPES = ("fp32",)  # in bf16 oneDNN's product has AMX, or is at 81 % of the peak (Zen 4, 547 ms at 16384)


def unsupported(workload: Workload) -> str | None:
    """The kernels must be built, and the batch large: below it the weights are read at the same cost for less."""
    try:
        from fffbench import _cpu
    except ImportError:
        return "the C++ kernels are not built in this installation (FFFBENCH_KERNELS=OFF)"
    if workload.batch <= _cpu.GEMV_MAX_BATCH:
        return f"dense_gemm is for batches above {_cpu.GEMV_MAX_BATCH}; dense_gemv takes the others"
    return None


def pack(w1: torch.Tensor, w2: torch.Tensor, panel: int, levels: int = 0) -> torch.Tensor:
    """Both matrices ``(n, d)`` in the order in which the kernel reads them: ``GemmJob`` in ``cpu/ops/gemm/job.hpp`` says how.

    ``levels`` above 0: the rows are those of trees, breadth first, and every block of neurons holds whole trees.
    """
    import torch

    from fffbench import _cpu

    if levels:
        w1, w2 = (_whole_trees(w, levels, panel) for w in (w1, w2))
    n, d = w1.shape
    rows, columns = round_up(n, panel), round_up(d, panel)
    w1 = pad_rows(w1, rows)
    w2 = torch.nn.functional.pad(w2, (0, columns - d, 0, rows - n))
    parts = []
    for begin in range(0, rows, _cpu.GEMM_NEURONS):
        block = slice(begin, begin + _cpu.GEMM_NEURONS)
        parts.append(w1[block].reshape(-1, panel, d).transpose(1, 2).flatten())
        parts.append(w2[block].reshape(-1, columns // panel, panel).transpose(0, 1).flatten())
    return torch.cat(parts)


def _whole_trees(w: torch.Tensor, levels: int, panel: int) -> torch.Tensor:
    """Rows of ``w`` with zeros after as many trees as fill a block; the last block is filled up to a whole panel."""
    import torch

    from fffbench import _cpu

    nodes = 2**levels - 1
    in_block = _cpu.GEMM_NEURONS // nodes * nodes
    blocks = list(torch.split(w, in_block))
    blocks = [pad_rows(block, _cpu.GEMM_NEURONS) for block in blocks[:-1]] + [
        pad_rows(blocks[-1], round_up(len(blocks[-1]), panel))
    ]
    return torch.cat(blocks)


def prepare(weights: Weights, workload: Workload) -> Layer:
    """Plan the call and pack the weights for it."""
    import torch

    from fffbench import _cpu

    d, n, batch = workload.shape.d, weights.w1.shape[0], workload.batch
    wanted = (batch, d)

    def call(x: int, packed: int, y: int) -> _cpu.GemmCall:
        return _cpu.GemmCall(x, packed, y, batch, d, n, workload.threads)

    planned = call(0, 0, 0)
    packed = pack(weights.w1, weights.w2, planned.panel)
    packed_at = packed.data_ptr()

    def forward(x: torch.Tensor) -> torch.Tensor:
        if x.shape != wanted or x.dtype is not packed.dtype or not x.is_contiguous():
            raise ValueError(f"x must be a contiguous {packed.dtype} tensor of shape {wanted}")
        y = torch.empty_like(x)
        planned.run_on(x.data_ptr(), packed_at, y.data_ptr())
        return y

    def bind(x: torch.Tensor, y: torch.Tensor) -> Callable[[], object]:
        for name, tensor in (("x", x), ("y", y)):
            if tensor.shape != wanted or tensor.dtype is not packed.dtype or not tensor.is_contiguous():
                raise ValueError(f"{name} must be a contiguous {packed.dtype} tensor of shape {wanted}")
        bound = call(x.data_ptr(), packed_at, y.data_ptr())
        bound.tensors = (x, y, packed)
        return bound.run

    return Layer(forward, bind, resident=(packed,), notes=(f"{planned.isa}, {workload.threads} threads",))
