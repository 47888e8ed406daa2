"""How much faster does a whole model get? ``swap`` replaces the feedforward layers of a transformer by FFFs.

Modules are replaced after construction and found by structure, not by class, so it serves models of many names and
versions. The new weights are random: it shows what a model trained so would cost, not what it would answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Self

from torch import Tensor, nn

from fffbench.errors import UserError
from fffbench.nn import LeafFFF, TreeFFF
from fffbench.plan.workload import Shape

# children of a plain feedforward layer (GPT-2, OPT and BART, DistilBERT, T5, GPT-J, GPT-NeoX), and of a gated one
# (Llama, T5 1.1)
_PLAIN = (
    ("c_fc", "c_proj"),
    ("fc1", "fc2"),
    ("lin1", "lin2"),
    ("wi", "wo"),
    ("fc_in", "fc_out"),
    ("dense_h_to_4h", "dense_4h_to_h"),
)
_GATED = (("gate_proj", "up_proj", "down_proj"), ("wi_0", "wi_1", "wo"))
_ACTIVATIONS = ("act", "act_fn", "activation", "activation_fn", "intermediate_act_fn")
_KNOWN_ACTIVATIONS = {
    "GELUActivation": "gelu",
    "NewGELUActivation": "gelu_tanh",
    "FastGELUActivation": "gelu_tanh",
    "GELUTanh": "gelu_tanh",
    "PytorchGELUTanh": "gelu_tanh",
    "ReLU": "relu",
    "SiLU": "silu",
    "SiLUActivation": "silu",
}
_SHAPE = re.compile(r"(\d{1,9})x(\d{1,9})(?:l(\d{1,9}))?")
_TREE_LINES = 40  # of a module tree that a message shows

Predicate = Callable[[str, nn.Module], bool]
Maker = Callable[["Feedforward"], nn.Module]


@dataclass(frozen=True)
class Feedforward:
    """A feedforward layer that was found: ``d`` wide, ``hidden`` neurons; ``gated`` if it has three matrices.

    ``activation`` is a name of ``fffbench.operators.activations``, or the class's name where there is no such.
    """

    name: str
    module: nn.Module
    d: int
    hidden: int
    activation: str
    gated: bool
    bias: bool
    output_bias: bool
    weight: Tensor
    places: tuple[tuple[nn.Module, str], ...]  # the first gets the FFF, the others pass their input on


@dataclass
class Swapped:
    """What ``swap`` did: ``layers`` in the model's order; ``undo()`` puts back what was there."""

    layers: tuple[Feedforward, ...]
    replacements: tuple[nn.Module, ...]
    _before: list[tuple[nn.Module, str, Any]] = field(repr=False)

    def undo(self) -> None:
        """Put the original modules back; a second time it does nothing."""
        while self._before:
            parent, name, original = self._before.pop()
            if not isinstance(original, nn.Module):  # a function, which may not be set over a module
                delattr(parent, name)
            setattr(parent, name, original)

    def __enter__(self) -> Self:
        """For the length of a ``with``."""
        return self

    def __exit__(self, *_: object) -> None:
        """Undo."""
        self.undo()

    def __str__(self) -> str:
        """``12 feedforward layers of 768/3072 are now TreeFFF(d=768, ...)``."""
        first, new = self.layers[0], self.replacements[0]
        count = f"{len(self.layers)} feedforward layer{'s' if len(self.layers) > 1 else ''}"
        return f"{count} of {first.d}/{first.hidden} are now {new}".replace("\n", " ")


def swap(model: nn.Module, shape: str | Shape | Maker, where: Predicate | None = None) -> Swapped:
    """Replace the feedforward layers of ``model``, in place, by FFFs with random weights of the same type and device.

    ``shape``: ``"1x12"`` (trees x levels), ``"1x5l32"`` with leaves of 32 neurons, a ``Shape`` of the model's width, or
    a function that makes the module for a ``Feedforward``. ``where(name, module)`` chooses among the layers found; all,
    by default. Biases and activation are as in the layer replaced; a gated layer is replaced by a plain tree. Known are
    layers as in BERT, GPT-2, Llama and those with fc1 and fc2. ``ValueError``, and nothing changed, for others, for
    experts of a mixture, for layers that share weights and for a model in training.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"model must be a torch.nn.Module; it is {type(model).__name__}")  # noqa: TRY004
    if model.training:
        raise ValueError(
            "the model is in training mode, and what a swap leaves out (dropout) counts there; call .eval()"
        )
    found = [layer for layer in _found(model) if where is None or where(layer.name, layer.module)]
    _refuse(model, found, everything=where is None)
    made = [_make(layer, shape) for layer in found]
    before: list[tuple[nn.Module, str, Any]] = []
    for layer, replacement in zip(found, made, strict=True):
        for place, (parent, name) in enumerate(layer.places):
            before.append((parent, name, getattr(parent, name)))
            setattr(parent, name, replacement if place == 0 else nn.Identity())
    return Swapped(tuple(found), tuple(made), before)


def _refuse(model: nn.Module, found: list[Feedforward], *, everything: bool) -> None:
    experts = [name for name, _ in model.named_modules() if name.rpartition(".")[2] == "experts"]
    inside = [layer.name for layer in found if "experts" in layer.name.split(".")]
    if inside or (everything and experts):
        raise ValueError(f"{(inside or experts)[0]} belongs to a mixture of experts, which is not replaced")
    if not found:
        raise ValueError(
            "no feedforward layer of a known structure "
            f"{'in the model' if everything else 'is chosen by where'}; its modules are:\n{_module_tree(model)}"
        )
    seen: dict[int, str] = {}
    for layer in found:
        other = seen.setdefault(id(layer.weight), layer.name)
        if other != layer.name:
            raise ValueError(f"{layer.name} shares its weights with {other}; tied layers are not replaced")


def _make(layer: Feedforward, shape: str | Shape | Maker) -> nn.Module:
    if isinstance(shape, str):
        match = _SHAPE.fullmatch(shape)
        if match is None:
            raise ValueError(f"shape {shape[:40]!r} is not understood; one looks like 1x12, or 1x5l32 with leaves")
        trees, levels, width = (int(part or 0) for part in match.groups())
        try:
            shape = Shape.leaf(layer.d, trees, levels, width) if width else Shape.tree(layer.d, trees, levels)
        except UserError as error:
            raise ValueError(str(error)) from error
    if not isinstance(shape, Shape):
        return shape(layer).to(layer.weight.device).eval()
    if shape.d != layer.d or not shape.is_tree:
        raise ValueError(f"{layer.name} is {layer.d} wide; shape {shape.id} does not fit it")
    if layer.activation not in _KNOWN_ACTIVATIONS.values():
        raise ValueError(f"{layer.name} has the activation {layer.activation}, which no FFF here has")
    kind: dict[str, Any] = {
        "activation": layer.activation,
        "bias": layer.bias,
        "output_bias": layer.output_bias,
        "device": layer.weight.device,
        "dtype": layer.weight.dtype,
    }
    if shape.leaf_width:
        return LeafFFF(shape.d, shape.levels, shape.leaf_width, shape.trees, **kind).eval()
    return TreeFFF(shape.d, shape.levels, shape.trees, **kind).eval()


def _found(model: nn.Module) -> Iterator[Feedforward]:
    """Every feedforward layer of a known structure, in the model's order, those that occur twice twice."""
    for path, module in model.named_modules(remove_duplicate=False):
        children = dict(module.named_children())
        like_bert = _like_bert(path, module, children)
        if like_bert is not None:
            yield like_bert
        for names in (*_GATED, *_PLAIN):
            if all(name in children for name in names):
                layer = _of_children(model, path, module, [children[name] for name in names], names)
                if layer is not None:
                    yield layer
                    break


def _like_bert(path: str, module: nn.Module, children: dict[str, nn.Module]) -> Feedforward | None:
    """``intermediate.dense`` and ``output.dense``, with dropout, residual and norm in ``output``, which stay."""
    if "intermediate" not in children or "output" not in children:
        return None
    intermediate, output = children["intermediate"], children["output"]
    first, last = (getattr(part, "dense", None) for part in (intermediate, output))
    places = ((module, "intermediate"), (output, "dense"))
    return _feedforward(path, module, [first, last], intermediate, places)


def _of_children(
    model: nn.Module, path: str, module: nn.Module, parts: list[nn.Module], names: tuple[str, ...]
) -> Feedforward | None:
    others = [
        child
        for name, child in module.named_children()
        if name not in names and next(child.parameters(), None) is not None
    ]
    if not others and path:  # a module of its own: replaced whole
        parent, _, name = path.rpartition(".")
        return _feedforward(path, module, parts, module, ((model.get_submodule(parent), name),))
    if len(parts) != 2:  # a gate inside a layer has no single input to hand on
        return None
    passing = [(module, name) for name in (*_ACTIVATIONS, names[1]) if hasattr(module, name)]
    return _feedforward(path, module, parts, module, ((module, names[0]), *passing))


def _feedforward(
    path: str, module: nn.Module, parts: list[Any], owner: nn.Module, places: tuple[tuple[nn.Module, str], ...]
) -> Feedforward | None:
    sizes = [_sizes(part) for part in parts]
    if any(size is None for size in sizes):
        return None
    (d, hidden), (inner, out) = sizes[0], sizes[-1]  # type: ignore[misc]
    if hidden != inner or d != out or any(size != (d, hidden) for size in sizes[:-1]):
        return None
    activation = next((getattr(owner, name) for name in _ACTIVATIONS if hasattr(owner, name)), None)
    return Feedforward(
        path,
        module,
        d,
        hidden,
        _activation_name(activation),
        gated=len(parts) > 2,
        bias=parts[0].bias is not None,
        output_bias=parts[-1].bias is not None,
        weight=parts[0].weight,
        places=places,
    )


def _sizes(part: Any) -> tuple[int, int] | None:
    """Inputs and outputs of ``nn.Linear``, or of transformers' ``Conv1D``, whose weight is the other way round."""
    if isinstance(part, nn.Linear):
        return part.in_features, part.out_features
    if type(part).__name__ == "Conv1D" and getattr(part, "weight", None) is not None and part.weight.ndim == 2:
        return int(part.weight.shape[0]), int(part.weight.shape[1])
    return None


def _activation_name(activation: Any) -> str:
    if isinstance(activation, nn.GELU):
        return "gelu_tanh" if activation.approximate == "tanh" else "gelu"
    name = getattr(activation, "__name__", type(activation).__name__)
    return _KNOWN_ACTIVATIONS.get(name, {"gelu": "gelu", "relu": "relu", "silu": "silu"}.get(name, name))


def _module_tree(model: nn.Module) -> str:
    """The first lines of the tree; of numbered children, which are alike, the first."""
    lines = [type(model).__name__]
    for name, module in model.named_modules():
        steps = name.split(".")
        if name and all(not step.isdigit() or step == "0" for step in steps):
            lines.append("  " * len(steps) + f"{steps[-1]}: {type(module).__name__}")
    left = len(lines) - _TREE_LINES
    return "\n".join(lines[:_TREE_LINES] + ([f"  ... {left} more"] if left > 0 else []))
