"""How does one use the kernels from Python? ``fff`` computes a tree FFF, ``path`` says which neurons it visits.

Tensors of torch, numpy arrays, or anything with DLPack. Numpy in gives numpy out and needs no torch; everything
else gives a torch tensor, by the operator ``fffbench::tree`` (see ``fffbench.operators.library``): with a gradient,
under ``torch.compile`` and ``vmap``, in CUDA graphs.
"""

from __future__ import annotations

import importlib
import os
import sys
from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from fffbench.errors import UserError
from fffbench.operators import foreign, geometry
from fffbench.operators.activations import number_of
from fffbench.plan.workload import Shape, Workload

if TYPE_CHECKING:
    import torch

    from fffbench._cpu import FffCall

T = TypeVar("T")

_CALLS_KEPT = 16  # planned calls kept with their workspaces, one for each shape and thread count lately used
_OURS = ("auto", "fff_cpu")
_MOST = 2**31 - 1
_MAX_THREADS = 1024

# torch and fffbench.operators.library, once somebody has brought a tensor
_th: Any = None
_library: Any = None


def fff(
    x: T,
    w1: T,
    w2: T,
    *,
    b1: T | None = None,
    b2: T | None = None,
    trees: int = 1,
    activation: str = "gelu",
    implementation: str = "auto",
    threads: int | None = None,
) -> T:
    """Tree FFF: ``y = b2 + sum over the visited neurons k of gelu(x . w1[k] + b1[k]) * w2[k]``.

    ``x`` is ``(..., d)``, ``w1`` and ``w2`` are ``(n, d)`` with ``n = trees * (2**levels - 1)``; tree ``t`` owns
    the rows from ``t * (2**levels - 1)`` on, breadth-first; ``b1 (n,)`` and ``b2 (d,)``, where given, are biases. A
    token goes right from a neuron whose logit is above zero. Returns the shape and dtype of ``x``. ``activation``:
    ``gelu`` (exact, erf), ``gelu_tanh``, ``relu`` or ``silu``. ``implementation``: a name of family ``fff``; another
    than ours is prepared at every call. ``ValueError`` for tensors that do not fit.

    What is promised: logits are sums in fp32 (float64 for float64 tensors), in an order that depends on the batch size
    and on the processor. So y is the same only up to rounding for another batch size, and where a logit is within
    rounding of zero, the path may be another. Where a visited logit or a partial sum of it exceeds fp32's range, or x
    is not finite there, y of that token is inf or NaN, never a finite wrong value; a NaN logit turns left. Values below
    1.2e-38 may count as zero. No token's values change another token's y.
    """
    if isinstance(x, np.ndarray) and isinstance(w1, np.ndarray) and isinstance(w2, np.ndarray):
        y: Any = _fff_numpy(x, w1, w2, b1, b2, trees, activation, implementation, threads)
    else:
        y = _fff_torch(x, w1, w2, b1, b2, trees, activation, implementation, threads)
    result: T = y
    return result


def path(x: T, w1: T, *, b1: T | None = None, trees: int = 1, threads: int | None = None) -> T:
    """Rows of ``w1`` that each token visits: int32 ``(..., trees * levels)``, tree by tree from the root down.

    As in ``fff``, except that nothing is promised for a token with a logit beyond fp32's range.
    """
    out: Any
    if isinstance(x, np.ndarray) and isinstance(w1, np.ndarray):
        trees = geometry.whole_number("trees", trees, 1, _MOST)
        count = _thread_count(threads)
        (px, pw, pb), levels = _check_numpy(trees, x=x, w1=w1, b1=b1)
        d = px.shape[-1]
        out = np.empty((*px.shape[:-1], trees * levels), np.int32)
        places = (foreign.address(px), foreign.address(pw))
        bias = 0 if pb is None else foreign.address(pb)
        _kernels().path(*places, px.size // d, d, trees, levels, count, "auto", "fp32", foreign.address(out), bias)
    else:
        th, library = _torch()
        tx, tw = foreign.tensor(th, "x", x), foreign.tensor(th, "w1", w1)
        tb = None if b1 is None else foreign.tensor(th, "b1", b1)
        trees = geometry.whole_number("trees", trees, 1, _MOST)
        try:
            out = library.tree_path(tx, tw, tb, trees, 0 if threads is None else _thread_count(threads))
        except NotImplementedError as error:
            raise _no_kernel(tx, tw) from error
    result: T = out
    return result


def _fff_torch(
    x: Any,
    w1: Any,
    w2: Any,
    b1: Any,
    b2: Any,
    trees: int,
    activation: str,
    implementation: str,
    threads: int | None,
) -> torch.Tensor:
    th, library = (_th, _library) if _library is not None else _torch()
    kind = th.Tensor
    if not (isinstance(x, kind) and isinstance(w1, kind) and isinstance(w2, kind)):
        x, w1, w2 = (foreign.tensor(th, name, value) for name, value in (("x", x), ("w1", w1), ("w2", w2)))
    if b1 is not None:
        b1 = foreign.tensor(th, "b1", b1)
    if b2 is not None:
        b2 = foreign.tensor(th, "b2", b2)
    if type(trees) is not int or not 1 <= trees <= _MOST:
        trees = geometry.whole_number("trees", trees, 1, _MOST)
    count = 0 if threads is None else _thread_count(threads)
    if not (x.layout is w1.layout is w2.layout is th.strided and x.is_contiguous()):
        name = next((n for n, t in (("w1", w1), ("w2", w2)) if t.layout is not th.strided), "x")
        raise ValueError(f"{name} must be contiguous (row-major); call .contiguous() on it")
    if implementation != "auto" and (implementation != "fff_cpu" or not x.is_cpu):
        return _through_registry(th, x, w1, w2, b1, b2, trees, activation, implementation, count)
    try:
        y: torch.Tensor = library.tree(x, w1, w2, b1, b2, trees, activation, count)
    except NotImplementedError as error:
        raise _no_kernel(x, w1, w2) from error
    return y


def _no_kernel(*tensors: torch.Tensor) -> ValueError:
    """What to raise for ``NotImplementedError``, torch's word for a device or a kind of tensor without a kernel."""
    kinds = {
        f"{t.device.type} {'nested' if t.is_nested else t.layout} {t.dtype}".replace("torch.", "") for t in tensors
    }
    return ValueError(f"no implementation for these tensors: {', '.join(sorted(kinds))}; plain strided ones have one")


def _fff_numpy(
    x: Any,
    w1: Any,
    w2: Any,
    b1: Any,
    b2: Any,
    trees: int,
    activation: str,
    implementation: str,
    threads: int | None,
) -> Any:
    if type(trees) is not int or not 1 <= trees <= _MOST:
        trees = geometry.whole_number("trees", trees, 1, _MOST)
    number, count = number_of(activation), _thread_count(threads)
    if implementation not in _OURS:
        raise ValueError(f"implementation {implementation!r} takes torch tensors; numpy arrays go to fff_cpu")
    plain, levels = _check_numpy(trees, x=x, w1=w1, w2=w2, b1=b1, b2=b2)
    y = np.empty(plain[0].shape, np.float32)
    d = y.shape[-1]
    call = _call(y.size // d, d, trees, levels, count)
    px, p1, p2, pb1, pb2 = (0 if one is None else foreign.address(one) for one in plain)
    call.run_with(px, p1, p2, foreign.address(y), pb1, pb2, number)
    return y


@lru_cache(maxsize=_CALLS_KEPT)
def _call(batch: int, d: int, trees: int, levels: int, threads: int) -> FffCall:
    call: FffCall = _kernels().FffCall(0, 0, 0, 0, batch, d, trees, levels, threads)
    return call


def _kernels() -> ModuleType:
    try:
        from fffbench import _cpu
    except ImportError as error:
        raise ValueError("the C++ kernels are not built in this installation (FFFBENCH_KERNELS=OFF)") from error
    return _cpu


def _thread_count(threads: int | None) -> int:
    if threads is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return geometry.whole_number("threads", threads, 1, _MAX_THREADS)


def _check_numpy(trees: int, **given: Any) -> tuple[list[Any], int]:
    """Plain arrays in the order given, None where there is none, and the levels."""
    plain: dict[str, Any] = {}
    for name, value in given.items():
        if value is not None and not isinstance(value, np.ndarray):
            raise ValueError(f"{name} must be a numpy array, as x is; it is {type(value).__name__}")
        plain[name] = None if value is None else foreign.array(name, value)
    x, w1 = plain["x"], plain["w1"]
    geometry.check_tree_shapes(x.shape, w1.shape, plain.get("w2", w1).shape)
    for name, one in plain.items():
        if one is not None:
            foreign.check_array(name, one)
    if plain.get("b1") is not None:
        geometry.check_bias("b1", plain["b1"].shape, (w1.shape[0],))
    if plain.get("b2") is not None:
        geometry.check_bias("b2", plain["b2"].shape, (w1.shape[1],))
    return list(plain.values()), geometry.tree_levels(w1.shape[0], trees)


def _torch() -> tuple[Any, Any]:
    global _th, _library  # noqa: PLW0603 - an import at every call costs more than the call's own checks
    _th = importlib.import_module("torch")  # only now: numpy arrays do without
    _library = importlib.import_module("fffbench.operators.library")
    return _th, _library


def _through_registry(
    th: ModuleType,
    x: torch.Tensor,
    w1: torch.Tensor,
    w2: torch.Tensor,
    b1: torch.Tensor | None,
    b2: torch.Tensor | None,
    trees: int,
    activation: str,
    name: str,
    threads: int,
) -> torch.Tensor:
    """Any registered implementation of family ``fff``, by name, prepared for this call."""
    from fffbench.implementations.registry import Weights, implementations
    from fffbench.implementations.registry import implementation as registered

    names = {th.float32: "fp32", th.bfloat16: "bf16", th.float16: "fp16"}
    foreign.refuse_nested(x=x, w1=w1, w2=w2)
    geometry.check_tree_shapes(x.shape, w1.shape, w2.shape)
    levels = geometry.tree_levels(w1.shape[0], trees)
    if b1 is not None or b2 is not None or activation != "gelu":
        raise ValueError(f"implementation {name!r} takes no bias and no activation but gelu; auto does")
    if th.is_grad_enabled() and any(t.requires_grad for t in (x, w1, w2)):
        raise ValueError(f"implementation {name!r} has no gradient; auto has one, or call it under torch.no_grad()")
    if not (x.dtype is w1.dtype is w2.dtype) or x.dtype not in names:
        raise ValueError(
            f"x, w1 and w2 must have one dtype of float32, bfloat16 or float16; "
            f"they are {x.dtype}, {w1.dtype} and {w2.dtype}"
        )
    if any(t.device != x.device or type(t) not in (th.Tensor, th.nn.Parameter) or t.is_neg() for t in (x, w1, w2)):
        raise ValueError(f"implementation {name!r} takes plain tensors on one device; auto takes others")
    for what, t in (("w1", w1), ("w2", w2)):
        if not t.is_contiguous():
            raise ValueError(f"{what} must be contiguous (row-major); call .contiguous() on it")
    flat = x.reshape(-1, x.shape[-1])
    try:
        chosen = registered(name)
        if chosen.family != "fff":
            allowed = ", ".join(sorted(n for n, known in implementations().items() if known.family == "fff"))
            raise ValueError(
                f"implementation {name!r} is of family {chosen.family!r} and computes another layer or the same "
                f"naively; allowed: auto, {allowed}"
            )
        workload = Workload(
            Shape.tree(x.shape[-1], trees, levels),
            flat.shape[0],
            names[x.dtype],
            threads=threads or _thread_count(None),
            device=x.device.type,
        )
    except UserError as error:
        raise ValueError(f"no implementation for {x.device.type} tensors: {error}") from error
    reason = chosen.unsupported(workload)
    if reason is not None:
        raise ValueError(reason)
    return chosen.prepare(Weights(w1, w2), workload).forward(flat).reshape(x.shape)


if "torch" in sys.modules:  # torch.compile follows a call into fff, but not into an import
    _torch()
