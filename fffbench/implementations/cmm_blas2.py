"""Naive CMM by BLAS level 2: at each level a batch of one-row gemv, then a batch of axpy, over all tokens.

The published routine calls ``cblas_sgemv_batch`` and ``cblas_saxpy_batch``. Where the BLAS has both (MKL), so does
this one, the gemvs as one group; elsewhere (OpenBLAS) a batch is a loop over ``sgemv`` and ``saxpy`` on one thread,
which costs a call for each token and level. The notes of a record say which. Activations are computed one by one
with ``erfc``, not by a vector library: 2 to 3 % of the time at 768 inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fffbench import blaslib
from fffbench.implementations.registry import Layer, Weights
from fffbench.plan.workload import Workload

if TYPE_CHECKING:
    import torch

FAMILY = "cmm"
DEVICES = ("cpu",)
DTYPES = ("fp32",)


def unsupported(workload: Workload) -> str | None:
    """Tree form; needs a BLAS with a C interface and the compiled loop around it."""
    if workload.shape.leaf_width:
        return "cmm_blas2 computes the tree form, not leaf blocks"
    return blaslib.missing(loops=True)


def prepare(weights: Weights, workload: Workload) -> Layer:
    """Lay out the lists of pointers that batched calls want."""
    import torch

    from fffbench import _cpu

    blas = blaslib.use(workload.threads)
    batched = (blas.address("sgemv_batch"), blas.address("saxpy_batch"))
    if not all(batched):
        batched = (0, 0)
    functions = (blas.wide, blas.address("sgemv"), blas.address("saxpy"), *batched)
    w1, w2, shape = weights.w1, weights.w2, workload.shape
    lists = torch.empty(_cpu.BLAS_WORDS * workload.batch, dtype=torch.int64)

    def fill(x: torch.Tensor, y: torch.Tensor) -> None:
        _cpu.blas_tree2(
            *functions, lists.data_ptr(), x.data_ptr(), w1.data_ptr(), w2.data_ptr(), y.data_ptr(),
            batch=x.shape[0], d=shape.d, trees=shape.trees, levels=shape.levels,
        )  # fmt: skip

    def forward(x: torch.Tensor) -> torch.Tensor:
        if x.shape[0] != workload.batch:
            raise ValueError(f"x must have the {workload.batch} tokens this layer was prepared for")
        y = torch.empty_like(x)
        fill(x, y)
        return y

    def bind(x: torch.Tensor, y: torch.Tensor) -> Callable[[], object]:
        return lambda: fill(x, y)

    how = "gemv_batch and axpy_batch" if batched[0] else "gemv and axpy one by one, this BLAS has no batches of them"
    return Layer(forward, bind, notes=(blas.note(workload.threads), how))
