"""How fast are fast feedforward networks, really, on your hardware?

``fffbench.fff`` computes a tree FFF, ``fffbench.path`` says which neurons it visits, ``fffbench.nn`` has modules, and
``fffbench.swap`` replaces the feedforward layers of a model. All are imported when first used: ``import fffbench``
loads neither torch nor numpy.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fffbench import nn
    from fffbench.ops import fff, path
    from fffbench.swapping import swap

__version__ = "0.1.0"
__all__ = ["__version__", "fff", "nn", "path", "swap"]

_HOMES = {"fff": "ops", "path": "ops", "swap": "swapping"}

# A fork waits until an import begun by another thread is over: in the child nobody would end it, and the first call
# would wait for its lock for ever.
_importing = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_importing.acquire, after_in_parent=_importing.release, after_in_child=_importing.release
    )


def __getattr__(name: str) -> Any:
    if name != "nn" and name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with _importing:
        module = importlib.import_module(f"fffbench.{_HOMES.get(name, name)}")
        with contextlib.suppress(ImportError):  # an installation that only reads results has none
            importlib.import_module("fffbench._cpu")  # what the first call would import
    return module if name == "nn" else getattr(module, name)
