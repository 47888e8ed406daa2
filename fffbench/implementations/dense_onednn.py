"""Dense FF over tiles of the batch through oneDNN's matmul, the JIT-compiled GEMM inside torch's CPU build."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fffbench.implementations.dense_padded import NEURON_MULTIPLE
from fffbench.implementations.registry import Layer, Weights
from fffbench.implementations.torchlib import gelu_in_place, pad_rows, round_up, tile_tokens
from fffbench.plan.workload import Workload

if TYPE_CHECKING:
    import torch

FAMILY = "dense"
DEVICES = ("cpu",)
DTYPES = ("fp32", "bf16")


def unsupported(workload: Workload) -> str | None:
    """The operator is part of torch's CPU builds with oneDNN, but private: its absence is a reason, not a crash."""
    import torch

    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return "this torch was built without oneDNN"
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return "this torch has no mkldnn::_linear_pointwise operator"
    if workload.batch == 0:
        return "oneDNN's matmul refuses an empty batch"
    return None


def prepare(weights: Weights, workload: Workload) -> Layer:
    """Pad the neurons; oneDNN wants both weights as (out, in)."""
    import torch

    linear = torch.ops.mkldnn._linear_pointwise  # noqa: SLF001  (torch has no public way to this matmul)
    rows = round_up(weights.w1.shape[0], NEURON_MULTIPLE)
    w1, output_weight = pad_rows(weights.w1, rows), pad_rows(weights.w2, rows).t().contiguous()
    tile = tile_tokens(workload.device, workload.batch)

    def fill(x: torch.Tensor, y: torch.Tensor) -> None:
        # The operator allocates its result; a tile of it is small enough to come back from the allocator's
        # free list each time, so no fresh pages are touched in the timed call.
        for start in range(0, x.shape[0], tile):
            hidden = linear(x[start : start + tile], w1, None, "none", [], "")
            gelu_in_place(hidden)
            y[start : start + tile] = linear(hidden, output_weight, None, "none", [], "")

    def forward(x: torch.Tensor) -> torch.Tensor:
        y = torch.empty_like(x)
        fill(x, y)
        return y

    def bind(x: torch.Tensor, y: torch.Tensor) -> Callable[[], object]:
        return lambda: fill(x, y)

    return Layer(forward, bind, resident=(w1, output_weight))
