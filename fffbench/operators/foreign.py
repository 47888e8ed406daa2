"""What did the caller pass? Arrays and tensors of any origin, read at the border without trusting what they say.

A subclass of ``numpy.ndarray`` or ``torch.Tensor`` may redefine ``shape`` or its address in Python, so only what the
base class stores is believed. A masked array would lose its mask, and is refused.
"""

from __future__ import annotations

import ctypes
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

_CUDA = 2  # DLPack's number of a CUDA device


def array(name: str, value: Any) -> np.ndarray[Any, np.dtype[Any]]:
    """``value``, an instance of ``numpy.ndarray``, as a plain one over the same memory."""
    if type(value) is np.ndarray:
        return value
    if isinstance(value, np.ma.MaskedArray):
        raise ValueError(  # noqa: TRY004 - what does not fit is a ValueError throughout
            f"{name} is a masked array, whose mask would be lost; pass .filled(...) or .data of it"
        )
    return np.ndarray.view(value, np.ndarray)


def address(plain: np.ndarray[Any, np.dtype[Any]]) -> int:
    """Where the data of a plain array begins; several times faster than ``.ctypes.data``."""
    place: int = plain.__array_interface__["data"][0]
    return place


def check_array(name: str, plain: np.ndarray[Any, np.dtype[Any]]) -> None:
    """``ValueError`` unless it is float32, aligned, row after row and in this machine's byte order."""
    if plain.dtype != np.float32:
        raise ValueError(f"{name} must be float32; it is {plain.dtype}")
    if not plain.flags.c_contiguous or not plain.flags.aligned:
        raise ValueError(f"{name} must be contiguous (row-major); pass np.ascontiguousarray of it")


def tensor(th: ModuleType, name: str, value: Any) -> torch.Tensor:
    """``value`` as a torch tensor over the same memory."""
    if isinstance(value, th.Tensor):
        found: torch.Tensor = value
        return found
    if isinstance(value, np.ndarray):
        plain = array(name, value)
        check_array(name, plain)
        if not plain.flags.writeable:
            raise ValueError(f"{name} is a read-only numpy array, which torch cannot take; pass a copy")
        made: torch.Tensor = th.from_numpy(plain)
        return made
    if not hasattr(value, "__dlpack__"):
        kind = type(value).__name__
        raise ValueError(f"{name} must be a torch tensor, a numpy array or support DLPack; it is {kind}")
    try:
        capsule = _capsule(th, value)
        _check_capsule(name, capsule)
        read: torch.Tensor = th.utils.dlpack.from_dlpack(capsule)
    except (AttributeError, BufferError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{name} cannot be read through DLPack: {str(error)[:200]}") from error
    return read


def refuse_nested(**tensors: torch.Tensor) -> None:
    """``ValueError`` for a nested tensor, which cannot say its shape."""
    for name, one in tensors.items():
        if one.is_nested:
            raise ValueError(f"{name} is a nested tensor, which has no one shape; pass one tensor for each part")


def _capsule(th: ModuleType, value: Any) -> Any:
    kind, index = value.__dlpack_device__()
    if int(kind) != _CUDA:
        return value.__dlpack__()
    stream = th.cuda.current_stream(int(index)).cuda_stream
    return value.__dlpack__(stream=stream or 1)  # 1: the default stream, by the protocol


class _Dlpack(ctypes.Structure):
    """``DLTensor``, as DLPack's header lays it out."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


def _check_capsule(name: str, capsule: Any) -> None:
    """Refuse what torch does not survive: for a negative stride it ends the process."""
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    found = _Dlpack.from_address(pointer(capsule, b"dltensor") or 0)
    if not 0 <= found.ndim <= 64:
        raise ValueError(f"it says that it has {found.ndim} dimensions")
    if found.strides and any(found.strides[i] < 0 for i in range(found.ndim)):
        raise ValueError(f"{name} must be contiguous (row-major), not of negative strides; pass a copy")
