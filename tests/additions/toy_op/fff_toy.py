"""A toy in C++: one tree, token by token."""

from __future__ import annotations

from fffbench.implementations.cpu.call import Call, missing
from fffbench.implementations.registry import Layer, Weights
from fffbench.plan.workload import Workload

FAMILY = "fff"
DEVICES = ("cpu",)
DTYPES = ("fp32",)
KINDS = ("tree",)
GUARDED = ("d768-n4095-t1x12-b16-fp32-uniform-cpu-1th-s0",)


def unsupported(workload: Workload) -> str | None:
    """One tree is all it knows."""
    return missing() or (None if workload.shape.trees == 1 else "fff_toy computes one tree")


def call(workload: Workload) -> Call:
    """The weights are used as they are."""
    d, n, levels = workload.shape.d, workload.shape.n, workload.shape.levels
    sizes = {"batch": workload.batch, "d": d, "levels": levels, "threads": workload.threads, "dtype": workload.dtype}
    return Call("ToyCall", sizes, (n * d, n * d))


def prepare(weights: Weights, workload: Workload) -> Layer:
    """Plan the call."""
    return call(workload).layer((weights.w1, weights.w2), (workload.batch, workload.shape.d))
