"""How fast are fast feedforward networks, really, on your hardware?

``fffbench.fff`` computes a tree FFF, ``fffbench.path`` says which neurons it visits, ``fffbench.nn`` has modules, and
``fffbench.swap`` replaces the feedforward layers of a model. All are imported when first used: ``import fffbench``
loads neither torch nor numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fffbench import nn
    from fffbench.ops import fff, path
    from fffbench.swapping import swap

__version__ = "0.1.0"
__all__ = ["__version__", "fff", "nn", "path", "swap"]

_HOMES = {"fff": "ops", "path": "ops", "swap": "swapping"}


def __getattr__(name: str) -> Any:
    if name == "nn":
        return importlib.import_module("fffbench.nn")
    if name in _HOMES:
        return getattr(importlib.import_module(f"fffbench.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
