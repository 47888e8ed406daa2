"""How fast are fast feedforward networks, really, on your hardware?

``fffbench.fff`` computes a tree FFF, ``fffbench.path`` says which neurons it visits. Both are imported when first
used: ``import fffbench`` loads neither torch nor numpy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fffbench.ops import fff, path

__version__ = "0.1.0"
__all__ = ["__version__", "fff", "path"]


def __getattr__(name: str) -> Any:
    if name in ("fff", "path"):
        from fffbench import ops

        return getattr(ops, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
