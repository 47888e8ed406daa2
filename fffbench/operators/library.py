"""How does torch know the kernels? ``fffbench::tree`` and ``fffbench::leaf``, operators of ``torch.library``.

    tree(x, w1, w2, b1=None, b2=None, trees=1, activation="gelu", threads=0) -> y
    leaf(x, w1, w2, b1=None, b2=None, trees=1, activation="gelu", threads=0) -> y

``x (..., d)`` of any layout; ``w1`` and ``w2`` contiguous, laid out as ``problems.leaf`` says (leaf: routers above
the neurons); ``b1``, one number a row of ``w1``, is added to the logit, so it moves the turn; ``b2`` is ``(d,)``, in
the leaf form ``(trees * 2**levels, d)``, one row a leaf. ``threads`` 0: as many as torch uses.

The C++ kernels compute float32 and bfloat16 on the CPU, ``fff_cuda`` float16 too on a GPU,
``formula.visited`` the rest. What was prepared for a layer at its first call is kept (``cpu_layers``, ``cuda_layers``);
nothing is synchronised at a call, so it can be captured in a CUDA graph.
``formula`` has the gradients: those through the visited rows,
none through the turns. ``autocast`` casts x to the type of the weights, for which nothing need be copied, and y to its
own. ``vmap`` over x is one call, over weights one call a set of weights.

A library and not ``torch.library.custom_op``: that costs 10 us a call more, three times the kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from fffbench.operators import kernels, paths

_SIGNATURE = (
    "Tensor x, Tensor w1, Tensor w2, Tensor? b1=None, Tensor? b2=None, "
    "int trees=1, str activation='gelu', int threads=0"
)
_library: Any = torch.library.Library("fffbench", "DEF")  # type: ignore[no-untyped-call]
for _form in ("tree", "leaf"):
    _library.define(f"{_form}({_SIGNATURE}) -> Tensor", tags=(torch.Tag.pt2_compliant_tag,))
_library.define("tree_path(Tensor x, Tensor w1, Tensor? b1=None, int trees=1, int threads=0) -> Tensor")
_library.define(
    "visited_backward(Tensor gradient, Tensor x, Tensor w1, Tensor w2, Tensor? b1, Tensor? b2, int trees, "
    "str activation, bool weights, bool leaf) -> (Tensor, Tensor, Tensor, Tensor, Tensor)"
)

tree = torch.ops.fffbench.tree.default
leaf = torch.ops.fffbench.leaf.default
tree_path = torch.ops.fffbench.tree_path.default


class _WithGradient(torch.autograd.Function):
    """The kernel forward, and the gradients through the rows that it visited.

    Rows are found again in the backward pass: a token whose logit is within rounding of zero may take the other turn.
    """

    @staticmethod
    def forward(ctx: Any, form: str, *arguments: Any) -> Any:
        x, w1, w2, b1, b2, *rest = arguments
        ctx.save_for_backward(x, w1, w2, b1, b2)
        ctx.form, ctx.rest = form, rest
        with torch._C._AutoDispatchBelowAutograd():  # noqa: SLF001 - as torch's own custom operators do
            return _OPS[form](*arguments)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (gradient,) = gradients
        tensors, needed = ctx.saved_tensors, ctx.needs_input_grad[1:6]
        x, w1, w2, b1, b2 = tensors
        trees, activation, _ = ctx.rest
        found: list[Tensor | None]
        if torch.is_grad_enabled():  # a graph is wanted: derivatives of the derivatives, by torch's own rules
            y = kernels.differentiable(ctx.form, (*tensors, *ctx.rest))
            wanted = [tensor for tensor, need in zip(tensors, needed, strict=True) if need]
            some = iter(torch.autograd.grad(y, wanted, gradient, create_graph=True, allow_unused=True))
            found = [next(some) if need else None for need in needed]
        else:
            by = torch.ops.fffbench.visited_backward.default(
                gradient, x, w1, w2, b1, b2, trees, activation, any(needed[1:]), ctx.form == "leaf"
            )
            found = [value if need else None for value, need in zip(by, needed, strict=True)]
        return None, *found, None, None, None


def _keyset(*names: str) -> int:
    keys = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, names[0]))  # noqa: SLF001
    for name in names[1:]:
        keys = keys | torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, name))  # noqa: SLF001
    return int(keys.raw_repr())


_OPS = {"tree": tree, "leaf": leaf}
_KERNELS = {form: (kernels.on_cpu(form), kernels.on_cuda(form)) for form in _OPS}


def _autograd(form: str) -> Callable[..., Tensor]:
    op, (cpu, cuda) = _OPS[form], _KERNELS[form]
    # A call in which nobody but the kernel has a say, no mode, subclass, transform or lazy negation: it is made at
    # once, without a second way through the dispatcher (3 us).
    plain = {_keyset("CPU", "AutogradCPU"): cpu, _keyset("CUDA", "AutogradCUDA"): cuda}
    any_requires_grad, grad_enabled = torch._C._any_requires_grad, torch.is_grad_enabled  # noqa: SLF001
    transformed = torch._C._are_functorch_transforms_active  # noqa: SLF001

    def run(
        keyset: Any,
        x: Tensor,
        w1: Tensor,
        w2: Tensor,
        b1: Tensor | None = None,
        b2: Tensor | None = None,
        trees: int = 1,
        activation: str = "gelu",
        threads: int = 0,
    ) -> Tensor:
        arguments = (x, w1, w2, b1, b2, trees, activation, threads)
        if forward_ad._current_level >= 0 or transformed():  # noqa: SLF001 - the public way enters a level
            return kernels.differentiable(form, arguments)
        if grad_enabled() and any_requires_grad(x, w1, w2, b1, b2):
            result: Tensor = _WithGradient.apply(form, *arguments)  # type: ignore[no-untyped-call]
            return result
        direct = plain.get(keyset.raw_repr())
        if direct is not None:
            found: Tensor = direct(*arguments)
            return found
        with torch._C._AutoDispatchBelowAutograd():  # noqa: SLF001
            again: Tensor = op(*arguments)
            return again

    return run


def _autocast(form: str, device: str, key: str) -> Callable[..., Tensor]:
    op = _OPS[form]
    keys = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, key))  # noqa: SLF001

    def run(x: Tensor, w1: Tensor, w2: Tensor, *others: Any) -> Tensor:
        with torch._C._ExcludeDispatchKeyGuard(keys):  # noqa: SLF001
            y: Tensor = op(x.to(w1.dtype), w1, w2, *others)
            return y if y.dtype is torch.float64 else y.to(torch.get_autocast_dtype(device))

    return run


def _vmap(form: str) -> Callable[..., Any]:
    op = _OPS[form]

    def run(info: Any, in_dims: tuple[Any, ...], *arguments: Any) -> tuple[Tensor, int]:
        if all(dim is None for dim in in_dims[1:]):
            return op(arguments[0].movedim(in_dims[0], 0), *arguments[1:]), 0
        calls = [
            op(
                *(
                    a if dim is None else a.select(dim, i).contiguous()
                    for a, dim in zip(arguments, in_dims, strict=True)
                )
            )
            for i in range(info.batch_size)
        ]
        return torch.stack(calls), 0

    return run


for _form in _OPS:
    _library.impl(_form, _KERNELS[_form][0], "CPU")
    _library.impl(_form, _KERNELS[_form][1], "CUDA")
    _library.impl(_form, kernels.meta, "Meta")
    _library.impl(_form, _autograd(_form), "Autograd", with_keyset=True)
    for _key in ("CPU", "CUDA"):
        _library.impl(_form, _autocast(_form, _key.lower(), f"Autocast{_key}"), f"Autocast{_key}")
    torch.library.register_vmap(f"fffbench::{_form}", _vmap(_form), lib=_library)
for _device in ("CPU", "CUDA"):
    _library.impl("tree_path", paths.path, _device)
    _library.impl("visited_backward", paths.backward, _device)
_library.impl("tree_path", paths.path_meta, "Meta")
_library.impl("visited_backward", paths.backward_meta, "Meta")
