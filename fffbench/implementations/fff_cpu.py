"""Our C++ kernels for tree and leaf FFF: walk (latency), bucket (throughput) and the dense form of shallow trees."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fffbench.implementations import dense_gemm
from fffbench.implementations.cpu.call import Call, missing
from fffbench.implementations.registry import Layer, Weights
from fffbench.plan.workload import Workload

if TYPE_CHECKING:
    import torch

FAMILY = "fff"
DEVICES = ("cpu",)
DTYPES = ("fp32", "bf16")
GUARDED = (
    "d768-n4095-t1x12-b1-fp32-uniform-cpu-1th-s0",
    "d768-n4095-t1x12-b128-fp32-uniform-cpu-1th-s0",
    "d768-n4095-t1x12-b4096-fp32-uniform-cpu-1th-s0",
    "d768-n4095-t1x12-b1-bf16-uniform-cpu-1th-s0",
    "d768-n4095-t1x12-b1024-bf16-uniform-cpu-1th-s0",
    "d768-n4080-t16x8-b128-fp32-uniform-cpu-1th-s0",
    "d768-n4096-t1x7l32-b1-fp32-uniform-cpu-1th-s0",
    "d768-n4096-t1x7l32-b1024-fp32-uniform-cpu-1th-s0",
)

# Most levels of a tree up to which every logit is computed by a matrix product and those off a token's path are
# dropped: sharing rows among the tokens at a node gains less than it loses in the shape of the product. One thread of
# Zen 5, 2048 tokens, fp32, over dense_gemm: 2 levels 1.00 by the dense form and 0.34 by bucket, 3 levels 0.98 and 0.85,
# 4 levels 0.91 and 1.32.
DENSE_FORM_LEVELS = {"fp32": 3, "bf16": 4}
TILE_TOKENS = 512  # of the dense form in bf16: 4 MiB of logits at 4096 neurons stay in the last-level cache


def unsupported(workload: Workload) -> str | None:
    """The kernels must be built; they compute every form of every shape."""
    del workload
    return missing()


def takes_dense_form(levels: int, batch: int, dtype: str) -> bool:
    """Whether trees of so many levels are computed by a dense product for ``batch`` tokens."""
    from fffbench import _cpu

    return levels <= DENSE_FORM_LEVELS[dtype] and batch > _cpu.GEMV_MAX_BATCH


def call(workload: Workload) -> Call:
    """Walk or bucket, the leaf form, or the dense form in fp32; ``ValueError`` for the dense form in bf16."""
    shape, batch = workload.shape, workload.batch
    if not shape.leaf_width and takes_dense_form(shape.levels, batch, workload.dtype):
        if workload.dtype != "fp32":
            raise ValueError("the dense form in bf16 is torch's product")
        return dense_gemm.call(workload, shape.levels)
    sizes: dict[str, Any] = {"batch": batch, "d": shape.d, "trees": shape.trees, "levels": shape.levels}
    sizes |= {"threads": workload.threads, "dtype": workload.dtype}
    if shape.leaf_width:
        w2 = shape.n * shape.d
        return Call("LeafCall", sizes | {"leaf_width": shape.leaf_width}, (shape.routers * shape.d + w2, w2))
    return Call("FffCall", sizes, (shape.n * shape.d,) * 2)


def prepare(weights: Weights, workload: Workload) -> Layer:
    """Plan the call; the weights are used as they are, but for the dense form in fp32, which packs them."""
    shape = workload.shape
    if not shape.leaf_width and takes_dense_form(shape.levels, workload.batch, workload.dtype):
        if workload.dtype == "fp32":
            return dense_gemm.prepare(weights, workload, shape.levels, "strategy dense form, ")
        return _by_product(weights, workload)
    return call(workload).layer(
        (weights.w1, weights.w2),
        (workload.batch, shape.d),
        notes=lambda planned: (
            f"strategy {planned.strategy}, {planned.isa}, {planned.workers} of {workload.threads} threads"
        ),
    )


def _by_product(weights: Weights, workload: Workload) -> Layer:
    """The dense form by torch's product, which has the processor's units for bf16."""
    import torch

    shape, threads, dtype = workload.shape, workload.threads, weights.w2.dtype
    wanted = (workload.batch, shape.d)
    logits = torch.empty((min(workload.batch, TILE_TOKENS), shape.n), dtype=dtype)

    def check(name: str, tensor: torch.Tensor) -> None:
        if tensor.shape != wanted or tensor.dtype is not dtype or not tensor.is_contiguous():
            raise ValueError(f"{name} must be a contiguous {dtype} tensor of shape {wanted}")

    def forward(x: torch.Tensor) -> torch.Tensor:
        check("x", x)
        y = torch.empty_like(x)
        by_product(x, weights.w1, weights.w2, y, logits, shape.trees, threads, workload.dtype)
        return y

    def bind(x: torch.Tensor, y: torch.Tensor) -> Callable[[], object]:
        check("x", x)
        check("y", y)
        return lambda: by_product(x, weights.w1, weights.w2, y, logits, shape.trees, threads, workload.dtype)

    return Layer(forward, bind, notes=(f"strategy dense form by torch, {threads} threads",))


def by_product(
    x: torch.Tensor,
    w1: torch.Tensor,
    w2: torch.Tensor,
    y: torch.Tensor,
    logits: torch.Tensor,
    trees: int,
    threads: int,
    dtype: str,
) -> None:
    """``y (batch, d)`` by torch's products, as many tokens at a time as ``logits (tokens, n)`` has rows."""
    import torch

    from fffbench import _cpu

    rows, n = logits.shape
    levels = (n // trees).bit_length()
    for begin in range(0, len(x), rows):
        tile = logits[: min(rows, len(x) - begin)]
        torch.mm(x[begin : begin + rows], w1.t(), out=tile)
        _cpu.mask_trees(tile.data_ptr(), len(tile), n, trees, levels, threads, dtype=dtype)
        torch.mm(tile, w2, out=y[begin : begin + rows])
