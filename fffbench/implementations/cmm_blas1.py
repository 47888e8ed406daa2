"""Naive CMM by BLAS level 1, as published: a dot product and an axpy for every visited node of every token."""

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
        return "cmm_blas1 computes the tree form, not leaf blocks"
    return blaslib.missing(loops=True)


def prepare(weights: Weights, workload: Workload) -> Layer:
    """Nothing is copied. One thread runs the loop, as published; these vectors are too short for BLAS threads."""
    import torch

    from fffbench import _cpu

    blas = blaslib.use(workload.threads)
    functions = (blas.wide, blas.address("sdot"), blas.address("saxpy"))
    w1, w2, shape = weights.w1, weights.w2, workload.shape

    def fill(x: torch.Tensor, y: torch.Tensor) -> None:
        _cpu.blas_tree1(
            *functions, x.data_ptr(), w1.data_ptr(), w2.data_ptr(), y.data_ptr(),
            batch=x.shape[0], d=shape.d, trees=shape.trees, levels=shape.levels,
        )  # fmt: skip

    def forward(x: torch.Tensor) -> torch.Tensor:
        y = torch.empty_like(x)
        fill(x, y)
        return y

    def bind(x: torch.Tensor, y: torch.Tensor) -> Callable[[], object]:
        return lambda: fill(x, y)

    return Layer(forward, bind, notes=(blas.note(workload.threads),))
