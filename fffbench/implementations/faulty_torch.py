"""The published GPU benchmarks' torch layers with their mistakes, one mended at a time.

The rungs of the fidelity ladder (``plan.fidelity``) for the columns "native fused" (``linear``, and ``fff12``, which is
what was shipped as the native FFF: a dense layer of as many shared neurons as the tree has levels) and "PyTorch BMM"
(``bmm``, ``fffbmm``). ``unsynchronised``: timed by the host without waiting for the GPU, autograd on. ``autograd``:
timed by the GPU, autograd on. ``inference``: neither. tf32 is off, and 4095 neurons are not padded, in all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fffbench.implementations import cmm_gather_bmm, dense_bmm, dense_linear
from fffbench.implementations.registry import Layer, Variant, Weights
from fffbench.plan.workload import Workload

if TYPE_CHECKING:
    import torch

FAMILY = "faulty"
DEVICES = ("cuda",)
DTYPES = ("fp32",)

_NO_TREE = "a dense layer of one shared neuron a level: no tree, no routing"
_LAYERS = {
    "linear": ("Dense FF by two linear layers", ""),
    "bmm": ("Dense FF by a vector-matrix product per token", ""),
    "fff12": ("The shipped native FFF", _NO_TREE),
    "fffbmm": ("FFF by gathered rows and bmm", ""),
}
_STATES = {
    "unsynchronised": "as published: autograd on, timed without waiting for the GPU",
    "autograd": "autograd on, timed by the GPU",
    "inference": "without autograd, timed by the GPU",
}
VARIANTS = {
    f"{layer}_{state}": Variant(f"{what}, {how}.", wrong, unsynchronised=state == "unsynchronised")
    for layer, (what, wrong) in _LAYERS.items()
    for state, how in _STATES.items()
    if state != "inference" or wrong  # the right ones without autograd are implementations of their own
}


def unsupported(workload: Workload, variant: str) -> str | None:
    """One tree for ``fff``, plain shapes for the dense layers; otherwise only a missing device stops it."""
    shape = workload.shape
    if variant.startswith("fff") and (shape.leaf_width or shape.trees != 1):
        return f"{variant}: the published layer has one tree, not {shape.id}"
    if not variant.startswith("fff") and shape.is_tree:
        return f"{variant}: a dense layer, measured at plain shapes such as d768-n4095"
    return None


def prepare(weights: Weights, workload: Workload, variant: str) -> Layer:
    """The torch-level call of the layer as it is, its weights asking for a gradient where autograd is on."""
    import torch

    layer, state = variant.split("_")
    autograd = state != "inference"
    own = Weights(*(tensor.detach().clone().requires_grad_(autograd) for tensor in (weights.w1, weights.w2)))
    if layer == "fff12":
        levels = workload.shape.levels
        own = Weights(*(tensor.detach()[:levels].clone().requires_grad_(autograd) for tensor in (own.w1, own.w2)))
    module = {"linear": dense_linear, "fff12": dense_linear, "bmm": dense_bmm, "fffbmm": cmm_gather_bmm}[layer]
    with torch.enable_grad():
        prepared = module.prepare(own, workload)

    def forward(x: torch.Tensor) -> torch.Tensor:
        with torch.set_grad_enabled(autograd):
            y: torch.Tensor = prepared.forward(x).detach()
        return y

    def bind(x: torch.Tensor, y: torch.Tensor) -> Callable[[], object]:
        return lambda: y.copy_(forward(x))

    return Layer(forward, bind, resident=(own.w1, own.w2))
