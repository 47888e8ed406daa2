"""Who computes a call: a C++ kernel, a CUDA kernel, or operations of torch?

The functions of ``library``'s operators on each device, with the checks of what they are given. ``ValueError`` says
what does not fit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fffbench.operators import cpu_layers, cuda_layers, forks, formula, geometry
from fffbench.operators.activations import number_of

if TYPE_CHECKING:
    from fffbench._cpu import FffCall, LeafCall

_CALLS_KEPT = 64  # planned calls with their workspaces, one a shape, thread count and form lately used
KERNEL_DTYPES = {torch.float32: "fp32", torch.bfloat16: "bf16"}


@lru_cache(maxsize=_CALLS_KEPT)
def _planned(batch: int, d: int, trees: int, levels: int, width: int, threads: int, dtype: str) -> FffCall | LeafCall:
    from fffbench import _cpu

    if width:
        return _cpu.LeafCall(0, 0, 0, 0, batch, d, trees, levels, width, threads, dtype=dtype)
    return _cpu.FffCall(0, 0, 0, 0, batch, d, trees, levels, threads, dtype=dtype)


@lru_cache(maxsize=1)
def built() -> bool:
    """Whether the C++ kernels are in this installation."""
    try:
        import fffbench._cpu  # noqa: F401
    except ImportError:
        return False
    return True


_PLAIN_OR_NONE = frozenset({Tensor, torch.nn.Parameter, type(None)})


def _all_plain(x: Tensor, w1: Tensor, w2: Tensor, b1: Tensor | None, b2: Tensor | None) -> bool:
    kinds = _PLAIN_OR_NONE
    return type(x) in kinds and type(w1) in kinds and type(w2) in kinds and type(b1) in kinds and type(b2) in kinds


def plain(*tensors: Tensor | None) -> list[Any]:
    """Without what subclasses of ``Tensor`` may redefine in Python: shapes and addresses are those of the storage."""
    return [t if t is None or type(t) in _PLAIN_OR_NONE else Tensor.as_subclass(t, Tensor) for t in tensors]


def check(x: Tensor, w1: Tensor, w2: Tensor, b1: Tensor | None, b2: Tensor | None) -> None:
    """One type, one device, contiguous weights: a quick test, and the long way round to say what is wrong."""
    if (
        x.dtype is w1.dtype is w2.dtype
        and x.device == w1.device == w2.device
        and w1.is_contiguous()
        and w2.is_contiguous()
        and b1 is None is b2
    ):
        return
    for name, tensor in (("w1", w1), ("w2", w2), ("b1", b1), ("b2", b2)):
        if tensor is None:
            continue
        if tensor.dtype is not x.dtype:
            raise ValueError(f"x, w1 and w2 must have one dtype; x is {x.dtype} and {name} is {tensor.dtype}")
        if tensor.device != x.device:
            raise ValueError(f"x, w1 and w2 must be on one device; x is on {x.device} and {name} on {tensor.device}")
        if not tensor.is_contiguous():
            raise ValueError(f"{name} must be contiguous (row-major); call .contiguous() on it")


def _shapes(
    x: Tensor, w1: Tensor, w2: Tensor, b1: Tensor | None, b2: Tensor | None
) -> tuple[Any, Any, Any, Any | None, Any | None]:
    return x.shape, w1.shape, w2.shape, None if b1 is None else b1.shape, None if b2 is None else b2.shape


def checked(
    form: str, x: Tensor, w1: Tensor, w2: Tensor, b1: Tensor | None, b2: Tensor | None, trees: int, activation: str
) -> tuple[int, int]:
    """Levels, and neurons a leaf or 0, once all is checked; not looked up, as numbers are symbols under tracing."""
    levels, width, _ = _fitting.__wrapped__(form, *_shapes(x, w1, w2, b1, b2), trees, activation)
    check(x, w1, w2, b1, b2)
    return levels, width


@lru_cache(maxsize=_CALLS_KEPT)
def _fitting(
    form: str,
    x: tuple[int, ...],
    w1: tuple[int, ...],
    w2: tuple[int, ...],
    b1: tuple[int, ...] | None,
    b2: tuple[int, ...] | None,
    trees: int,
    activation: str,
) -> tuple[int, int, int]:
    """Levels, neurons a leaf or 0, and the activation's number, once these shapes are checked."""
    number = number_of(activation)
    (geometry.check_leaf_shapes if form == "leaf" else geometry.check_tree_shapes)(x, w1, w2)
    levels, width = _counts(form, w1, w2, trees)
    for name, shape, wanted in (("b1", b1, w1[:1]), ("b2", b2, (trees << levels, x[-1]) if width else (x[-1],))):
        if shape is not None:
            geometry.check_bias(name, shape, tuple(wanted))
    return levels, width, number


@lru_cache(maxsize=_CALLS_KEPT)
def _ready(
    form: str,
    x: tuple[int, ...],
    w1: tuple[int, ...],
    w2: tuple[int, ...],
    b1: tuple[int, ...] | None,
    b2: tuple[int, ...] | None,
    dtype: torch.dtype,
    trees: int,
    activation: str,
    threads: int,
) -> tuple[Callable[..., None], int, cpu_layers.DenseForm | None] | None:
    """The planned C++ call for these shapes, the activation's number, and the dense form where that is faster.

    None where the kernels do not compute it. The dense form has GELU and no b1.
    """
    levels, width, number = _fitting(form, x, w1, w2, b1, b2, trees, activation)
    if dtype not in KERNEL_DTYPES or not built():
        return None
    d, name = x[-1], KERNEL_DTYPES[dtype]
    batch = math.prod(x) // d
    other = None
    if not width and b1 is None and number == 0:
        other = cpu_layers.dense_form(batch, d, trees, levels, threads, name)
    return _planned(batch, d, trees, levels, width, threads, name).run_with, number, other


def _cpu(
    form: str,
    x: Tensor,
    w1: Tensor,
    w2: Tensor,
    b1: Tensor | None,
    b2: Tensor | None,
    trees: int,
    activation: str,
    threads: int,
) -> Tensor:
    # what is the same at every call of a shape is looked up, as checking it takes longer than a token's kernel
    ready = _ready(form, *_shapes(x, w1, w2, b1, b2), x.dtype, trees, activation, threads or torch.get_num_threads())
    check(x, w1, w2, b1, b2)
    if ready is None:
        return _formula(x, w1, w2, b1, b2, trees, *_counts(form, w1.shape, w2.shape, trees), activation)
    run, number, dense_form = ready
    if not x.is_contiguous():
        x = x.contiguous()
    y = torch.empty_like(x)
    if dense_form is not None and dense_form(x, w1, w2, y):
        return y if b2 is None else y.add_(b2)
    bias1, bias2 = 0 if b1 is None else b1.data_ptr(), 0 if b2 is None else b2.data_ptr()
    run(x.data_ptr(), w1.data_ptr(), w2.data_ptr(), y.data_ptr(), bias1, bias2, number)
    return y


def _counts(form: str, w1: tuple[int, ...], w2: tuple[int, ...], trees: int) -> tuple[int, int]:
    """Levels, and neurons a leaf or 0."""
    if form == "leaf":
        return geometry.leaf_geometry(w1[0], w2[0], trees)
    return geometry.tree_levels(w1[0], trees), 0


def on_cpu(form: str) -> Callable[..., Tensor]:
    """``fffbench::tree`` or ``fffbench::leaf`` on the CPU."""

    def run(
        x: Tensor,
        w1: Tensor,
        w2: Tensor,
        b1: Tensor | None = None,
        b2: Tensor | None = None,
        trees: int = 1,
        activation: str = "gelu",
        threads: int = 0,
    ) -> Tensor:
        if not _all_plain(x, w1, w2, b1, b2):
            x, w1, w2, b1, b2 = plain(x, w1, w2, b1, b2)
        if not forks.forked():
            return _cpu(form, x, w1, w2, b1, b2, trees, activation, threads)
        with forks.alone() as count:
            return _cpu(form, x, w1, w2, b1, b2, trees, activation, threads or count)

    return run


def _formula(
    x: Tensor,
    w1: Tensor,
    w2: Tensor,
    b1: Tensor | None,
    b2: Tensor | None,
    trees: int,
    levels: int,
    width: int,
    activation: str,
) -> Tensor:
    """The same by operations of torch, of any order of derivatives."""
    if not x.is_floating_point():
        raise ValueError(f"x, w1 and w2 must be of a floating-point type; they are {x.dtype}")
    flat = x.reshape(-1, x.shape[-1])
    leaves: Tensor | None = None
    with torch.no_grad():
        if width:
            leaves = formula.leaf_leaves(flat, w1, b1, trees, levels)
            rows = formula.leaf_rows(leaves, width)
        else:
            rows = formula.tree_rows(flat, w1, b1, trees, levels)
    return formula.visited(flat, w1, w2, b1, b2, rows, leaves, activation).reshape(x.shape)


def differentiable(form: str, arguments: tuple[Any, ...]) -> Tensor:
    """Operator ``form`` by operations of torch, after the same checks."""
    x, w1, w2, b1, b2, trees, activation, _ = arguments
    return _formula(x, w1, w2, b1, b2, trees, *checked(form, x, w1, w2, b1, b2, trees, activation), activation)


def _cuda(
    form: str,
    x: Tensor,
    w1: Tensor,
    w2: Tensor,
    b1: Tensor | None,
    b2: Tensor | None,
    trees: int,
    activation: str,
) -> Tensor:
    levels, width, _ = _fitting(form, *_shapes(x, w1, w2, b1, b2), trees, activation)
    check(x, w1, w2, b1, b2)
    flat = x if x.ndim == 2 and x.is_contiguous() else x.reshape(-1, x.shape[-1]).contiguous()
    if not flat.shape[0]:
        return torch.empty_like(x)
    y = cuda_layers.compute(flat, w1, w2, b1, b2, trees, levels, width, activation)
    if y is None:
        return _formula(x, w1, w2, b1, b2, trees, levels, width, activation)
    return y if flat is x else y.view(x.shape)


def on_cuda(form: str) -> Callable[..., Tensor]:
    """``fffbench::tree`` or ``fffbench::leaf`` on a GPU."""

    def run(
        x: Tensor,
        w1: Tensor,
        w2: Tensor,
        b1: Tensor | None = None,
        b2: Tensor | None = None,
        trees: int = 1,
        activation: str = "gelu",
        threads: int = 0,
    ) -> Tensor:
        del threads
        if not _all_plain(x, w1, w2, b1, b2):
            x, w1, w2, b1, b2 = plain(x, w1, w2, b1, b2)
        return _cuda(form, x, w1, w2, b1, b2, trees, activation)

    return run


def meta(
    x: Tensor,
    w1: Tensor,
    w2: Tensor,
    b1: Tensor | None = None,
    b2: Tensor | None = None,
    trees: int = 1,
    activation: str = "gelu",
    threads: int = 0,
) -> Tensor:
    """The shape of y; what does not depend on numbers that tracing may not know is checked."""
    del trees, threads
    number_of(activation)
    geometry.check_leaf_shapes(x.shape, w1.shape, w2.shape)
    check(x, w1, w2, b1, b2)
    return x.new_empty(x.shape)
