"""Our C++ kernels for tree and leaf FFF: walk (latency), bucket (throughput) and the dense form of shallow trees."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fffbench.implementations.dense_gemm import pack
from fffbench.implementations.registry import Layer, Weights
from fffbench.plan.workload import Workload

if TYPE_CHECKING:
    import torch

FAMILY = "fff"
DEVICES = ("cpu",)
DTYPES = ("fp32", "bf16")

# Most levels of a tree up to which every logit is computed by a matrix product and those off a token's path are
# dropped: sharing rows among the tokens at a node gains less than it loses in the shape of the product. One thread of
# Zen 5, 2048 tokens, fp32, over dense_gemm: 2 levels 1.00 by the dense form and 0.34 by bucket, 3 levels 0.98 and 0.85,
# 4 levels 0.91 and 1.32.
DENSE_FORM_LEVELS = {"fp32": 3, "bf16": 4}
TILE_TOKENS = 512  # of the dense form in bf16: 4 MiB of logits at 4096 neurons stay in the last-level cache


def unsupported(workload: Workload) -> str | None:
    """The kernels must be built; they compute every form of every shape."""
    try:
        import fffbench._cpu  # noqa: F401 - a report-only install has none
    except ImportError:
        return "the C++ kernels are not built in this installation (FFFBENCH_KERNELS=OFF)"
    del workload
    return None


def takes_dense_form(levels: int, batch: int, dtype: str) -> bool:
    """Whether trees of so many levels are computed by a dense product for ``batch`` tokens."""
    from fffbench import _cpu

    return levels <= DENSE_FORM_LEVELS[dtype] and batch > _cpu.GEMV_MAX_BATCH


def prepare(weights: Weights, workload: Workload) -> Layer:
    """Plan the call; the weights are used as they are, but for the dense form in fp32, which packs them."""
    shape = workload.shape
    if not shape.leaf_width and takes_dense_form(shape.levels, workload.batch, workload.dtype):
        return (_packed if workload.dtype == "fp32" else _by_product)(weights, workload)
    return _planned(weights, workload)


def _planned(weights: Weights, workload: Workload) -> Layer:
    """Walk or bucket, or the leaf form."""
    from fffbench import _cpu

    shape, batch = workload.shape, workload.batch
    w1, w2 = weights.w1, weights.w2
    w1_at, w2_at = w1.data_ptr(), w2.data_ptr()

    def call(x: int, y: int) -> _cpu.FffCall | _cpu.LeafCall:
        places, counts = (x, w1_at, w2_at, y), (batch, shape.d, shape.trees, shape.levels)
        if shape.leaf_width:
            return _cpu.LeafCall(*places, *counts, shape.leaf_width, workload.threads, dtype=workload.dtype)
        return _cpu.FffCall(*places, *counts, workload.threads, dtype=workload.dtype)

    planned = call(0, 0)
    planned.tensors = (w1, w2)

    def run_on(x: torch.Tensor, y: torch.Tensor) -> None:
        planned.run_on(x.data_ptr(), w1_at, w2_at, y.data_ptr())

    def bound(x: torch.Tensor, y: torch.Tensor) -> Callable[[], object]:
        ready = call(x.data_ptr(), y.data_ptr())
        ready.tensors = (x, y, w1, w2)
        return ready.run

    notes = (f"strategy {planned.strategy}, {planned.isa}, {planned.workers} of {workload.threads} threads",)
    return _layer(workload, w1.dtype, run_on, bound, notes=notes)


def _packed(weights: Weights, workload: Workload) -> Layer:
    """The dense form by our own product."""
    from fffbench import _cpu

    shape, w1 = workload.shape, weights.w1

    def call(x: int, packed: int, y: int) -> _cpu.GemmCall:
        return _cpu.GemmCall(x, packed, y, workload.batch, shape.d, shape.n, workload.threads, levels=shape.levels)

    planned = call(0, 0, 0)
    packed = pack(w1, weights.w2, planned.panel, shape.levels)
    packed_at = packed.data_ptr()

    def run_on(x: torch.Tensor, y: torch.Tensor) -> None:
        planned.run_on(x.data_ptr(), packed_at, y.data_ptr())

    def bound(x: torch.Tensor, y: torch.Tensor) -> Callable[[], object]:
        ready = call(x.data_ptr(), packed_at, y.data_ptr())
        ready.tensors = (x, y, packed)
        return ready.run

    notes = (f"strategy dense form, {planned.isa}, {workload.threads} threads",)
    return _layer(workload, w1.dtype, run_on, bound, (packed,), notes)


def _by_product(weights: Weights, workload: Workload) -> Layer:
    """The dense form by torch's product, which has the processor's units for bf16."""
    import torch

    shape, threads = workload.shape, workload.threads
    logits = torch.empty((min(workload.batch, TILE_TOKENS), shape.n), dtype=weights.w2.dtype)

    def run_on(x: torch.Tensor, y: torch.Tensor) -> None:
        by_product(x, weights.w1, weights.w2, y, logits, shape.trees, threads, workload.dtype)

    notes = (f"strategy dense form by torch, {threads} threads",)
    return _layer(workload, logits.dtype, run_on, lambda x, y: lambda: run_on(x, y), notes=notes)


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


def _layer(
    workload: Workload,
    dtype: torch.dtype,
    run_on: Callable[[torch.Tensor, torch.Tensor], None],
    bound: Callable[[torch.Tensor, torch.Tensor], Callable[[], object]],
    resident: tuple[torch.Tensor, ...] = (),
    notes: tuple[str, ...] = (),
) -> Layer:
    """A layer that refuses tensors of another shape, type or layout than the planned call has."""
    import torch

    wanted = (workload.batch, workload.shape.d)

    def check(name: str, tensor: torch.Tensor) -> None:
        if tensor.shape != wanted or tensor.dtype is not dtype or not tensor.is_contiguous():
            raise ValueError(f"{name} must be a contiguous {dtype} tensor of shape {wanted}")

    def forward(x: torch.Tensor) -> torch.Tensor:
        check("x", x)
        y = torch.empty_like(x)
        run_on(x, y)
        return y

    def bind(x: torch.Tensor, y: torch.Tensor) -> Callable[[], object]:
        check("x", x)
        check("y", y)
        return bound(x, y)

    return Layer(forward, bind, resident, notes)
