"""What is put in the place of a feedforward layer? Functions for ``fffbench.swap(model, maker)``, one for each variant.

Type, device, activation and biases are those of the layer replaced, with two exceptions that a record's notes name:
trees in UltraFastBERT have the input bias that the published ones have, and trees have none where the device's kernels
do not say that they add one.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fffbench.devices import device
from fffbench.implementations.registry import implementation
from fffbench.nn import TreeFFF
from fffbench.operators.formula import activate
from fffbench.plan.models import Variant, Work
from fffbench.swapping import Feedforward, Maker, Swapped, swap

NO_INPUT_BIAS = "trees without input bias: the device's kernels add none"
PUBLISHED_BIAS = "trees with an input bias, which the published ones have and the dense layers here have not"


class Masked(nn.Module):
    """Trees as the published model computes them: every neuron, then a mask that keeps each token's path."""

    def __init__(self, tree: TreeFFF) -> None:
        """The weights of ``tree``."""
        super().__init__()
        self.tree = tree
        roots = torch.arange(tree.shape.trees, device=tree.w1.device) * (2**tree.shape.levels - 1)
        self.roots: Tensor
        self.register_buffer("roots", roots)

    def forward(self, x: Tensor) -> Tensor:
        """``(..., d)`` to ``(..., d)``."""
        tree = self.tree
        flat = x.reshape(-1, x.shape[-1])
        logits = functional.linear(flat, tree.w1, tree.b1)
        kept = torch.zeros_like(logits)
        node = torch.zeros((flat.shape[0], tree.shape.trees), dtype=torch.int64, device=x.device)
        for _ in range(tree.shape.levels):
            row = self.roots + node
            kept.scatter_(1, row, 1.0)
            node = 2 * node + 1 + (logits.gather(1, row) > 0)
        y = torch.mm(activate(logits, tree.activation) * kept, tree.w2)
        return (y if tree.b2 is None else y + tree.b2).view(x.shape)


class Small(nn.Module):
    """A plain layer of ``n`` neurons."""

    def __init__(self, layer: Feedforward, n: int) -> None:
        """Weights as torch draws them."""
        super().__init__()
        kind: dict[str, Any] = {"device": layer.weight.device, "dtype": layer.weight.dtype}
        self.fc1 = nn.Linear(layer.d, n, bias=layer.bias, **kind)
        self.fc2 = nn.Linear(n, layer.d, bias=layer.output_bias, **kind)
        self.activation = layer.activation

    def forward(self, x: Tensor) -> Tensor:
        """``(..., d)`` to ``(..., d)``."""
        y: Tensor = self.fc2(activate(self.fc1(x), self.activation))
        return y


class Mixture(nn.Module):
    """``experts`` plain layers of ``width`` neurons, of which every token has the ``top`` likeliest.

    Tokens are sorted by expert, and each of the two products is one call of torch's grouped product.
    """

    def __init__(self, layer: Feedforward, experts: int, width: int, top: int) -> None:
        """Router and experts without biases, as in the mixtures that are in use."""
        super().__init__()
        kind: dict[str, Any] = {"device": layer.weight.device, "dtype": layer.weight.dtype}
        self.router = nn.Linear(layer.d, experts, bias=False, **kind)
        self.w1 = nn.Parameter(torch.empty(experts, width, layer.d, **kind))
        self.w2 = nn.Parameter(torch.empty(experts, layer.d, width, **kind))
        nn.init.uniform_(self.w1, -(layer.d**-0.5), layer.d**-0.5)
        nn.init.uniform_(self.w2, -(width**-0.5), width**-0.5)
        self.activation, self.top = layer.activation, top
        self.numbers: Tensor
        self.register_buffer("numbers", torch.arange(experts, device=layer.weight.device))

    def forward(self, x: Tensor) -> Tensor:
        """``(..., d)`` to ``(..., d)``."""
        flat = x.reshape(-1, x.shape[-1])
        share, chosen = self.router(flat).float().softmax(-1).topk(self.top, -1)
        share = (share / share.sum(-1, keepdim=True)).to(x.dtype)
        order = chosen.reshape(-1).argsort(stable=True)
        token = order // self.top
        ends = (chosen.reshape(-1, 1) == self.numbers).sum(0).cumsum(0).to(torch.int32)
        hidden = activate(grouped(flat[token], self.w1.transpose(1, 2), ends), self.activation)
        y = grouped(hidden, self.w2.transpose(1, 2), ends) * share.reshape(-1, 1)[order]
        return torch.zeros_like(flat).index_add_(0, token, y).view(x.shape)


def grouped(rows: Tensor, matrices: Tensor, ends: Tensor) -> Tensor:
    """The grouped product of torch: rows up to ``ends[e]`` times ``matrices[e]``."""
    public = getattr(functional, "grouped_mm", None)
    y: Tensor = public(rows, matrices, offs=ends) if public else torch._grouped_mm(rows, matrices, ends)  # noqa: SLF001
    return y


def adds_input_bias(name: str) -> bool:
    """Whether the kernels of a device add ``b1``: those of the operator on the CPU do, others say so themselves."""
    where = device(name)
    return where.host_memory or "b1" in getattr(implementation(where.kernel).module, "BIASES", ())


def maker_of(variant: Variant, work: Work) -> Maker | None:
    """The function that makes the layer, or None where layers stay as they are."""

    def tree(layer: Feedforward) -> TreeFFF:
        bias = layer.bias or work.architecture.family == "crammed"
        return TreeFFF(
            layer.d,
            variant.levels,
            variant.trees,
            activation=layer.activation,
            bias=bias and (variant.kind == "masked" or adds_input_bias(work.device)),
            output_bias=layer.output_bias,
            device=layer.weight.device,
            dtype=layer.weight.dtype,
        )

    makers: dict[str, Maker] = {
        "none": lambda _: nn.Identity(),
        "fff": tree,
        "int8-fff": tree,
        "masked": lambda layer: Masked(tree(layer)),
        "small": lambda layer: Small(layer, variant.n),
        "moe": lambda layer: Mixture(layer, variant.experts, variant.width, variant.top),
    }
    return makers.get(variant.kind)


def put(model: nn.Module, variant: Variant, work: Work) -> tuple[nn.Module, Swapped | None, list[str]]:
    """``model`` as the variant has it (in place, where it can be), what was swapped, and notes for the record."""
    maker = maker_of(variant, work)
    torch.manual_seed(work.seed + 1)
    swapped = None if maker is None else swap(model, maker)
    for module in model.modules():
        module.requires_grad_(requires_grad=False)
    notes = []
    if variant.kind in ("fff", "int8-fff"):
        if not adds_input_bias(work.device):
            notes.append(NO_INPUT_BIAS)
        elif work.architecture.family == "crammed":
            notes.append(PUBLISHED_BIAS)
    if work.architecture.gated and variant.kind not in ("dense", "none", "int8"):
        notes.append("the layer replaced is gated, with three matrices; what replaces it is not")
    if variant.kind.startswith("int8"):
        model = quantised(model)
        notes.append(f"torch.ao.quantization.quantize_dynamic, engine {torch.backends.quantized.engine}")
    return model, swapped, notes


def quantised(model: nn.Module) -> nn.Module:
    """``model``, in place, with linear layers that multiply by int8 weights, activations being quantised at each call.

    In place, because a copy would have other trees than those that were put in, which nobody would check.
    """
    _linear_for_conv1d(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated, and torch has no other that needs no further package
        made: nn.Module = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8, inplace=True)  # type: ignore[no-untyped-call]
    return made


def _linear_for_conv1d(model: nn.Module) -> None:
    """GPT-2's projections have a class of their own, whose weights lie the other way round."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child).__name__ == "Conv1D":
                weights = dict(child.named_parameters())
                inputs, outputs = weights["weight"].shape
                with torch.device("meta"):
                    linear = nn.Linear(inputs, outputs)
                linear.weight = nn.Parameter(weights["weight"].detach().T.contiguous(), requires_grad=False)
                linear.bias = nn.Parameter(weights["bias"].detach(), requires_grad=False)
                setattr(parent, name, linear)


def weights_bytes(model: nn.Module) -> int:
    """Bytes of all weights, those counted once that two layers share; quantised ones as they are kept."""
    seen: dict[int, int] = {}
    for module in model.modules():
        for tensor in (*module._parameters.values(), *module._buffers.values()):  # noqa: SLF001 - without duplicates
            if tensor is not None:
                seen[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
    packed = 0
    for module in model.modules():
        if type(module).__name__ == "LinearPackedParams":
            unpack: Any = module._weight_bias  # noqa: SLF001
            weight, bias = unpack()
            packed += weight.numel() + (0 if bias is None else bias.numel() * bias.element_size())
    return sum(seen.values()) + packed
