"""Dense FF with GELU fused into the first product: oneDNN's post-op on a CPU, cuBLASLt's epilogue on CUDA."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fffbench.implementations.dense_padded import NEURON_MULTIPLE
from fffbench.implementations.registry import Layer, Weights
from fffbench.implementations.torchlib import hidden_buffer, pad_rows, round_up, tile_tokens
from fffbench.plan.workload import Workload

if TYPE_CHECKING:
    import torch

FAMILY = "dense"
DEVICES = ("cpu", "cuda")
DTYPES = ("fp32", "bf16", "fp16")


def unsupported(workload: Workload) -> str | None:
    """Both operators are private to torch, so their absence is a reason, not a crash."""
    if workload.batch == 0:
        return "the fused products refuse an empty batch"
    return _no_onednn(workload) if workload.place.host_memory else _no_cublaslt(workload)


def _no_cublaslt(workload: Workload) -> str | None:
    if workload.dtype == "fp32":
        return "cuBLASLt fuses the tanh form of GELU, which is outside fp32's tolerance"
    return None if _addmm_gelu() else "this torch has no _addmm_activation"


def _no_onednn(workload: Workload) -> str | None:
    import torch

    if workload.dtype == "fp16":
        return "oneDNN has no fp16 matmul on most CPUs"
    if not torch.backends.mkldnn.is_available() or not _linear_pointwise():  # type: ignore[no-untyped-call]
        return "this torch has no oneDNN with the mkldnn::_linear_pointwise operator"
    return None


def _addmm_gelu() -> Any:
    import torch

    return getattr(torch, "_addmm_activation", None)


def _linear_pointwise() -> Any:
    import torch

    return getattr(torch.ops.mkldnn, "_linear_pointwise", None)


def prepare(weights: Weights, workload: Workload) -> Layer:
    """Pad the neurons to a multiple of 64."""
    return (_cpu if workload.place.host_memory else _cuda)(weights, workload)


def _cpu(weights: Weights, workload: Workload) -> Layer:
    """``mkldnn::_linear_pointwise`` with "gelu" and algorithm "none", which is the exact (erf) form, over tiles."""
    import torch

    linear = _linear_pointwise()
    rows = round_up(weights.w1.shape[0], NEURON_MULTIPLE)
    w1, output_weight = pad_rows(weights.w1, rows), pad_rows(weights.w2, rows).t().contiguous()
    tile = tile_tokens(workload.device, workload.batch)

    def fill(x: torch.Tensor, y: torch.Tensor) -> None:
        # as in dense_onednn: the operator allocates its result, a tile of it comes from the free list
        for start in range(0, x.shape[0], tile):
            hidden = linear(x[start : start + tile], w1, None, "gelu", [], "none")
            y[start : start + tile] = linear(hidden, output_weight, None, "none", [], "")

    def forward(x: torch.Tensor) -> torch.Tensor:
        y = torch.empty_like(x)
        fill(x, y)
        return y

    def bind(x: torch.Tensor, y: torch.Tensor) -> Callable[[], object]:
        return lambda: fill(x, y)

    return Layer(forward, bind, resident=(w1, output_weight))


def _cuda(weights: Weights, workload: Workload) -> Layer:
    """``torch._addmm_activation`` with GELU (tanh form) over a bias of zeros."""
    import torch

    fused = _addmm_gelu()
    rows = round_up(weights.w1.shape[0], NEURON_MULTIPLE)
    w1, w2 = pad_rows(weights.w1, rows), pad_rows(weights.w2, rows)
    w1_t, bias = w1.t(), w1.new_zeros(rows)
    hidden_of = hidden_buffer(workload)

    def forward(x: torch.Tensor) -> torch.Tensor:
        return torch.mm(fused(bias, x, w1_t, use_gelu=True), w2)

    def bind(x: torch.Tensor, y: torch.Tensor) -> Callable[[], object]:
        hidden = hidden_of(x, rows)

        def run() -> None:
            fused(bias, x, w1_t, use_gelu=True, out=hidden)
            torch.mm(hidden, w2, out=y)

        return run

    return Layer(forward, bind, resident=(w1, w2))
