"""Our C++ kernels for tree and leaf FFF: walk (latency) and bucket (throughput), instruction set chosen at run time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fffbench.implementations.registry import Layer, Weights
from fffbench.plan.workload import Workload

if TYPE_CHECKING:
    import torch

FAMILY = "fff"
DEVICES = ("cpu",)
DTYPES = ("fp32", "bf16")


def unsupported(workload: Workload) -> str | None:
    """The kernels must be built; they compute every form of every shape."""
    try:
        import fffbench._cpu  # noqa: F401 - a report-only install has none
    except ImportError:
        return "the C++ kernels are not built in this installation (FFFBENCH_KERNELS=OFF)"
    del workload
    return None


def prepare(weights: Weights, workload: Workload) -> Layer:
    """Plan the call; the weights are used as they are."""
    import torch

    from fffbench import _cpu

    shape, batch = workload.shape, workload.batch
    w1, w2 = weights.w1, weights.w2
    w1_at, w2_at = w1.data_ptr(), w2.data_ptr()
    wanted = (batch, shape.d)

    def call(x: int, y: int) -> _cpu.FffCall | _cpu.LeafCall:
        places, counts = (x, w1_at, w2_at, y), (batch, shape.d, shape.trees, shape.levels)
        if shape.leaf_width:
            return _cpu.LeafCall(*places, *counts, shape.leaf_width, workload.threads, dtype=workload.dtype)
        return _cpu.FffCall(*places, *counts, workload.threads, dtype=workload.dtype)

    planned = call(0, 0)
    planned.tensors = (w1, w2)
    run_on, empty_like = planned.run_on, torch.empty_like

    def forward(x: torch.Tensor) -> torch.Tensor:
        if x.shape != wanted or x.dtype is not w1.dtype or not x.is_contiguous():
            raise ValueError(f"x must be a contiguous {w1.dtype} tensor of shape {wanted}")
        y = empty_like(x)
        run_on(x.data_ptr(), w1_at, w2_at, y.data_ptr())
        return y

    def bind(x: torch.Tensor, y: torch.Tensor) -> Callable[[], object]:
        for name, tensor in (("x", x), ("y", y)):
            if tensor.shape != wanted or tensor.dtype is not w1.dtype or not tensor.is_contiguous():
                raise ValueError(f"{name} must be a contiguous {w1.dtype} tensor of shape {wanted}")
        bound = call(x.data_ptr(), y.data_ptr())
        bound.tensors = (x, y, w1, w2)
        return bound.run

    notes = (f"strategy {planned.strategy}, {planned.isa}, {planned.workers} of {workload.threads} threads",)
    return Layer(forward, bind, notes=notes)
