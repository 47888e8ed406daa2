"""Our C++ dense layer for large batches: every thread takes tokens of its own through all neurons, GELU included."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fffbench.implementations.cpu.call import Call, missing
from fffbench.implementations.registry import Layer, Weights
from fffbench.implementations.torchlib import pad_rows, round_up
from fffbench.plan.workload import Workload

if TYPE_CHECKING:
    import torch

FAMILY = "dense"
DEVICES = ("cpu",)
DTYPES = ("fp32",)  # in bf16 oneDNN's product has AMX, or is at 81 % of the peak (Zen 4, 547 ms at 16384)
GUARDED = ("d768-n4095-b128-fp32-uniform-cpu-1th-s0",)


def unsupported(workload: Workload) -> str | None:
    """The kernels must be built, and the batch large: below it the weights are read at the same cost for less."""
    if reason := missing():
        return reason
    from fffbench import _cpu

    if workload.batch <= _cpu.GEMV_MAX_BATCH:
        return f"dense_gemm is for batches above {_cpu.GEMV_MAX_BATCH}; dense_gemv takes the others"
    return None


def pack(w1: torch.Tensor, w2: torch.Tensor, panel: int, levels: int = 0) -> torch.Tensor:
    """Both matrices ``(n, d)`` in the order in which the kernel reads them: see ``cpu/ops/gemm/job.hpp``.

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


def call(workload: Workload, levels: int = 0) -> Call:
    """The call with packed weights; ``levels`` above 0: of trees in the dense form."""
    d, n = workload.shape.d, workload.shape.n
    sizes = {"batch": workload.batch, "d": d, "n": n, "threads": workload.threads, "levels": levels}
    planned = Call("GemmCall", sizes, (0,)).planned()
    return Call("GemmCall", sizes, (2 * planned.rows * round_up(d, planned.panel),))


def prepare(weights: Weights, workload: Workload, levels: int = 0, note: str = "") -> Layer:
    """Plan the call and pack the weights for it."""
    wanted = call(workload, levels)
    packed = pack(weights.w1, weights.w2, wanted.planned().panel, levels)
    return wanted.layer(
        (packed,),
        (workload.batch, workload.shape.d),
        resident=(packed,),
        notes=lambda planned: f"{note}{planned.isa}, {workload.threads} threads",
    )
