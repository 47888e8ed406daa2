"""Our C++ dense layer for small batches: every weight row streamed from memory once, by all threads."""

from __future__ import annotations

from fffbench.implementations.cpu.call import Call, missing
from fffbench.implementations.registry import Layer, Weights
from fffbench.plan.workload import Workload

FAMILY = "dense"
DEVICES = ("cpu",)
DTYPES = ("fp32", "bf16")
GUARDED = ("d768-n4095-b1-fp32-uniform-cpu-1th-s0",)


def unsupported(workload: Workload) -> str | None:
    """The kernels must be built, and the batch small: beyond it a matrix product is the better way."""
    if reason := missing():
        return reason
    from fffbench import _cpu

    if workload.batch > _cpu.GEMV_MAX_BATCH:
        return f"dense_gemv is for batches up to {_cpu.GEMV_MAX_BATCH}"
    return None


def call(workload: Workload) -> Call:
    """The weights are used as they are."""
    d, n = workload.shape.d, workload.shape.n
    sizes = {"batch": workload.batch, "d": d, "n": n, "threads": workload.threads, "dtype": workload.dtype}
    return Call("GemvCall", sizes, (n * d, n * d))


def prepare(weights: Weights, workload: Workload) -> Layer:
    """Plan the call."""
    return call(workload).layer(
        (weights.w1, weights.w2),
        (workload.batch, workload.shape.d),
        notes=lambda planned: f"{planned.isa}, {workload.threads} threads",
    )
