"""What does the measuring process hold on to before it imports somebody else's code, and was anything replaced since?

Clock, eviction and copies are references taken beforehand and passed on as arguments, so that replacing
``time.perf_counter`` or a function of ours changes no measurement; that something was replaced is a reason to refuse
the cell, since nobody does so by accident.
"""

from __future__ import annotations

import builtins
import ctypes
import json
import os
import socket
import sys
import time
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Names = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Tools:
    """References to what measures: taken where this is made."""

    now: Callable[[], int] = field(default_factory=lambda: time.perf_counter_ns)
    copy: Callable[[int, int, int], object] = field(default_factory=lambda: ctypes.memmove)  # to, from, bytes
    fill: Callable[[int, int, int], object] = field(default_factory=lambda: ctypes.memset)  # at, byte, bytes
    evict: Callable[[int, int], bool] = field(default_factory=lambda: _evict())  # noqa: PLW0108  (defined below)


def _evict() -> Callable[[int, int], bool]:
    from fffbench import _cpu

    return _cpu.evict


def _watched() -> dict[str, Any]:
    """The namespaces whose names may gain others but must keep their values."""
    import numpy as np
    import torch

    spaces: dict[str, Any] = {
        "builtins": builtins,
        "time": time,
        "ctypes": ctypes,
        "json": json,
        "os": os,
        "socket": socket,
        "numpy": np,
        "torch": torch,
        "torch.Tensor": torch.Tensor,
        "torch.cuda": torch.cuda,
    }
    spaces |= {name: module for name, module in sys.modules.items() if name.split(".")[0] == "fffbench"}
    return spaces


def _value(value: object) -> object:
    """What must not change of a name: which object it is; of a Python function also its code and defaults."""
    if isinstance(value, types.FunctionType):
        return value, value.__code__, value.__defaults__, value.__kwdefaults__
    if isinstance(value, type) and value.__module__.split(".")[0] == "fffbench":
        return value, tuple((key, _value(item)) for key, item in vars(value).items() if callable(item))
    return value


def snapshot() -> Names:
    """The watched names and what they stand for now."""
    return {
        where: {
            name: _value(value)
            for name, value in vars(space).items()
            if callable(value) and not isinstance(value, types.ModuleType)
        }
        for where, space in _watched().items()
        if isinstance(space, types.ModuleType | type)
    }


def replaced(before: Names) -> str | None:
    """The first watched name that stands for something else than ``before``, or None."""
    now = snapshot()
    for where, names in before.items():
        for name, value in names.items():
            if where not in now or name not in now[where] or not _same(value, now[where][name]):
                return f"{where}.{name}"
    return None


def _same(a: object, b: object) -> bool:
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(_same(one, other) for one, other in zip(a, b, strict=True))
    return a is b or (isinstance(a, str) and a == b)
