"""How does one use the kernels from Python? ``fff`` computes a tree FFF, ``path`` says which neurons it visits.

Tensors of torch, numpy arrays, or anything with DLPack. Numpy in gives numpy out and needs no torch; everything
else gives a torch tensor. Forward only: there is no gradient.
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
from fffbench.plan.workload import MAX_LEVELS, Shape, Workload

if TYPE_CHECKING:
    import torch

    from fffbench._cpu import FffCall

T = TypeVar("T")

_CALLS_KEPT = 16  # planned calls kept with their workspaces, one for each shape and thread count lately used
_OURS = ("auto", "fff_cpu")


def fff(x: T, w1: T, w2: T, *, trees: int = 1, implementation: str = "auto", threads: int | None = None) -> T:
    """Tree FFF: ``y = sum over the visited neurons k of gelu(x . w1[k]) * w2[k]``, with the exact (erf) GELU.

    ``x`` is ``(batch, d)``, ``w1`` and ``w2`` are ``(n, d)`` with ``n = trees * (2**levels - 1)``; tree ``t`` owns
    the rows from ``t * (2**levels - 1)`` on, breadth-first. Returns ``(batch, d)`` in the dtype of ``x``.
    ``ValueError`` for tensors that do not fit; for an implementation other than ours, prepared at every call.
    """
    if _all_numpy(x, w1, w2):
        y: Any = _fff_numpy(x, w1, w2, trees, implementation, threads)
    else:
        y = _fff_torch(x, w1, w2, trees, implementation, threads)
    result: T = y
    return result


def path(x: T, w1: T, *, trees: int = 1, threads: int | None = None) -> T:
    """Rows of ``w1`` that each token visits: int32 ``(batch, trees * levels)``, tree by tree from the root down."""
    out: Any
    if _all_numpy(x, w1):
        levels = _check_numpy(trees, x=x, w1=w1)
        batch, d = x.shape  # type: ignore[attr-defined]
        out = np.empty((batch, trees * levels), np.int32)
        places, dtype = (_place(x), _place(w1), _place(out)), "fp32"
    else:
        th = _torch()
        tx, tw = _tensor(th, "x", x), _tensor(th, "w1", w1)
        levels = _check_torch(th, trees, tx, tw, tw)
        if not tx.is_cpu:
            raise ValueError(f"path runs on CPU tensors; x is on {tx.device}")
        batch, d = tx.shape
        out = th.empty((batch, trees * levels), dtype=th.int32)
        places, dtype = (tx.data_ptr(), tw.data_ptr(), out.data_ptr()), _dtype_name(th, tx.dtype)
    count = _thread_count(threads)
    _kernels().path(places[0], places[1], batch, d, trees, levels, count, "auto", dtype, places[2])
    result: T = out
    return result


def _fff_torch(x: Any, w1: Any, w2: Any, trees: int, implementation: str, threads: int | None) -> torch.Tensor:
    th = _torch()
    kind = th.Tensor
    if not (isinstance(x, kind) and isinstance(w1, kind) and isinstance(w2, kind)):
        x, w1, w2 = _tensor(th, "x", x), _tensor(th, "w1", w1), _tensor(th, "w2", w2)
    levels = _check_torch(th, trees, x, w1, w2)
    if (x.requires_grad or w1.requires_grad or w2.requires_grad) and th.is_grad_enabled():
        raise ValueError("fff has no gradient: call it under torch.no_grad(), or with detached tensors")
    if not x.is_cpu or implementation not in _OURS:
        return _through_registry(th, x, w1, w2, trees, levels, implementation, threads)
    dtype = "fp32" if x.dtype is th.float32 else _dtype_name(th, x.dtype)
    count = th.get_num_threads() if threads is None else _thread_count(threads)
    y: torch.Tensor = th.empty_like(x)
    call = _call(*x.shape, trees, levels, count, dtype)
    call.run_on(x.data_ptr(), w1.data_ptr(), w2.data_ptr(), y.data_ptr())
    return y


def _fff_numpy(x: Any, w1: Any, w2: Any, trees: int, implementation: str, threads: int | None) -> Any:
    levels = _check_numpy(trees, x=x, w1=w1, w2=w2)
    if implementation not in _OURS:
        raise ValueError(f"implementation {implementation!r} takes torch tensors; numpy arrays go to fff_cpu")
    y = np.empty(x.shape, np.float32)
    call = _call(*x.shape, trees, levels, _thread_count(threads), "fp32")
    call.run_on(_place(x), _place(w1), _place(w2), _place(y))
    return y


def _place(array: Any) -> int:
    """Address of the data; several times faster than ``array.ctypes.data``."""
    place: int = array.__array_interface__["data"][0]
    return place


@lru_cache(maxsize=_CALLS_KEPT)
def _call(batch: int, d: int, trees: int, levels: int, threads: int, dtype: str) -> FffCall:
    call: FffCall = _kernels().FffCall(0, 0, 0, 0, batch, d, trees, levels, threads, dtype=dtype)
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
    if not isinstance(threads, int) or not 1 <= threads <= 1024:
        raise ValueError(f"threads must be a whole number from 1 to 1024, not {threads!r}")
    return threads


def _levels(n: int, trees: object) -> int:
    if not isinstance(trees, int) or isinstance(trees, bool) or trees < 1:
        raise ValueError(f"trees must be a whole number, at least 1, not {trees!r}")
    levels = (n // trees).bit_length()
    if n % trees or n // trees != 2**levels - 1 or not 1 <= levels <= MAX_LEVELS:
        raise ValueError(
            f"w1 and w2 must have trees * (2**levels - 1) rows with levels from 1 to {MAX_LEVELS}; "
            f"{n} rows are no {trees} complete tree{'' if trees == 1 else 's'}"
        )
    return levels


def _check_shapes(x: tuple[int, ...], w1: tuple[int, ...], w2: tuple[int, ...]) -> None:
    if len(x) != 2 or x[1] < 1:
        raise ValueError(f"x must have shape (batch, d) with d at least 1; it has {tuple(x)}")
    for name, shape in (("w1", w1), ("w2", w2)):
        if len(shape) != 2 or shape[1] != x[1]:
            raise ValueError(f"{name} must have shape (n, {x[1]}), as x is {tuple(x)}; it has {tuple(shape)}")
    if w1[0] != w2[0]:
        raise ValueError(f"w1 and w2 must have the same shape; they have {tuple(w1)} and {tuple(w2)}")


def _check_torch(th: ModuleType, trees: int, x: torch.Tensor, w1: torch.Tensor, w2: torch.Tensor) -> int:
    """Levels, if all fits; one quick test for the good case, and the long way round to say what is wrong."""
    shape, rows, strided = x.shape, w1.shape, th.strided
    if not (
        len(shape) == len(rows) == 2
        and rows == w2.shape
        and 0 < shape[1] == rows[1]
        and x.dtype is w1.dtype is w2.dtype
        and x.device == w1.device == w2.device
        and x.layout is w1.layout is w2.layout is strided
        and x.is_contiguous()
        and w1.is_contiguous()
        and w2.is_contiguous()
    ):
        _explain(th, x, w1, w2)
    return _levels(rows[0], trees)


def _explain(th: ModuleType, x: torch.Tensor, w1: torch.Tensor, w2: torch.Tensor) -> None:
    _check_shapes(x.shape, w1.shape, w2.shape)
    if not (x.dtype is w1.dtype is w2.dtype):
        raise ValueError(f"x, w1 and w2 must have one dtype; they have {x.dtype}, {w1.dtype} and {w2.dtype}")
    if not (x.device == w1.device == w2.device):
        raise ValueError(f"x, w1 and w2 must be on one device; they are on {x.device}, {w1.device} and {w2.device}")
    for name, tensor in (("x", x), ("w1", w1), ("w2", w2)):
        if tensor.layout is not th.strided or not tensor.is_contiguous():
            raise ValueError(f"{name} must be contiguous (row-major); call .contiguous() on it")


def _dtype_name(th: ModuleType, dtype: torch.dtype) -> str:
    names = {th.float32: "fp32", th.bfloat16: "bf16"}
    if dtype not in names:
        raise ValueError(f"x, w1 and w2 must be float32 or bfloat16 on the CPU; they are {dtype}")
    return names[dtype]


def _check_numpy(trees: int, **arrays: Any) -> int:
    _check_shapes(arrays["x"].shape, arrays["w1"].shape, arrays.get("w2", arrays["w1"]).shape)
    for name, array in arrays.items():
        if array.dtype != np.float32:
            raise ValueError(f"{name} must be float32; it is {array.dtype}")
        if not array.flags.c_contiguous or not array.flags.aligned:
            raise ValueError(f"{name} must be contiguous (row-major); pass np.ascontiguousarray of it")
    return _levels(arrays["w1"].shape[0], trees)


def _all_numpy(x: object, w1: object, w2: object = None) -> bool:
    kind = np.ndarray
    return isinstance(x, kind) and isinstance(w1, kind) and (w2 is None or isinstance(w2, kind))


def _torch() -> ModuleType:
    found = sys.modules.get("torch")
    if found is None:
        found = importlib.import_module("torch")  # only now: numpy arrays do without
    return found


def _tensor(th: ModuleType, name: str, value: Any) -> torch.Tensor:
    if isinstance(value, th.Tensor):
        tensor: torch.Tensor = value
        return tensor
    if not hasattr(value, "__dlpack__"):
        kind = type(value).__name__
        raise ValueError(f"{name} must be a torch tensor, a numpy array or support DLPack; it is {kind}")
    try:
        tensor = th.from_dlpack(value)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{name} cannot be read through DLPack: {error}") from error
    return tensor


def _through_registry(
    th: ModuleType,
    x: torch.Tensor,
    w1: torch.Tensor,
    w2: torch.Tensor,
    trees: int,
    levels: int,
    name: str,
    threads: int | None,
) -> torch.Tensor:
    """Any registered implementation, by name; on another device than the CPU ours there."""
    from fffbench.implementations.registry import Weights
    from fffbench.implementations.registry import implementation as registered

    names = {th.float32: "fp32", th.bfloat16: "bf16", th.float16: "fp16"}
    if x.dtype not in names:
        raise ValueError(f"x, w1 and w2 must be float32, bfloat16 or float16; they are {x.dtype}")
    device = x.device.type
    if name == "auto":
        name = f"fff_{device}"
    try:
        workload = Workload(
            Shape.tree(x.shape[1], trees, levels),
            x.shape[0],
            names[x.dtype],
            threads=_thread_count(threads),
            device=device,
        )
        chosen = registered(name)
    except UserError as error:
        raise ValueError(f"no implementation for {device} tensors: {error}") from error
    reason = chosen.unsupported(workload)
    if reason is not None:
        raise ValueError(reason)
    return chosen.prepare(Weights(w1, w2), workload).forward(x)
