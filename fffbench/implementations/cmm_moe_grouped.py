"""A top-1 mixture of experts by torch's grouped product: tokens sorted by expert, each product one call over all."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fffbench.implementations.cmm_leaf_grouped import ALIGNED, _grouped, _no_grouped_product
from fffbench.implementations.registry import Layer, Weights
from fffbench.plan.workload import Workload

if TYPE_CHECKING:
    import torch

FAMILY = "cmm"
DEVICES = ("cpu", "cuda")
DTYPES = ("fp32", "bf16")
KINDS = ("moe",)


def unsupported(workload: Workload) -> str | None:
    """Rows of 16 bytes; on a GPU bf16 alone, as in other types the product is a loop that waits for the device."""
    shape = workload.shape
    if shape.d % ALIGNED or shape.leaf_width % ALIGNED:
        return f"the grouped product wants multiples of {ALIGNED}, not d={shape.d} and experts of {shape.leaf_width}"
    if workload.batch == 0:
        return "the grouped product refuses an empty batch"
    if not workload.place.host_memory and workload.dtype != "bf16":
        return f"the grouped product of {workload.dtype} is a loop on the host, for a device's memory"
    return _no_grouped_product()


def prepare(weights: Weights, workload: Workload) -> Layer:
    """The weights as blocks, as views."""
    import torch

    shape, grouped = workload.shape, _grouped()
    blocks = (shape.n // shape.leaf_width, shape.leaf_width, shape.d)
    router, first = weights.router.t(), weights.w1.view(blocks).transpose(1, 2)
    second, numbers = weights.w2.view(blocks), torch.arange(blocks[0], device=weights.w1.device)

    def forward(x: torch.Tensor) -> torch.Tensor:
        chosen, order = (x @ router).argmax(1).sort()
        ends = torch.searchsorted(chosen, numbers, right=True).to(torch.int32)
        hidden = torch.nn.functional.gelu(grouped(x[order], first, offs=ends))
        return torch.empty_like(x).index_copy_(0, order, grouped(hidden, second, offs=ends))

    def bind(x: torch.Tensor, y: torch.Tensor) -> Callable[[], object]:
        return lambda: y.copy_(forward(x))

    return Layer(forward, bind)
