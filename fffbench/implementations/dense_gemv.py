"""Our C++ dense layer for small batches: every weight row streamed from memory once, by all threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fffbench.implementations.registry import Layer, Weights
from fffbench.plan.workload import Workload

if TYPE_CHECKING:
    import torch

FAMILY = "dense"
DEVICES = ("cpu",)
DTYPES = ("fp32", "bf16")


def unsupported(workload: Workload) -> str | None:
    """The kernels must be built, and the batch small: beyond it a matrix product is the better way."""
    try:
        from fffbench import _cpu
    except ImportError:
        return "the C++ kernels are not built in this installation (FFFBENCH_KERNELS=OFF)"
    if workload.batch > _cpu.GEMV_MAX_BATCH:
        return f"dense_gemv is for batches up to {_cpu.GEMV_MAX_BATCH}"
    return None


def prepare(weights: Weights, workload: Workload) -> Layer:
    """Plan the call; the weights are used as they are."""
    import torch

    from fffbench import _cpu

    shape, batch = workload.shape, workload.batch
    w1, w2 = weights.w1, weights.w2
    w1_at, w2_at = w1.data_ptr(), w2.data_ptr()
    wanted = (batch, shape.d)

    def call(x: int, y: int) -> _cpu.GemvCall:
        return _cpu.GemvCall(x, w1_at, w2_at, y, batch, shape.d, shape.n, workload.threads, dtype=workload.dtype)

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

    return Layer(forward, bind, notes=(f"{planned.isa}, {workload.threads} threads",))
