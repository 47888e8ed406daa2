"""scikit-build-core, with the commit fixed in what it builds: see ``fffbench/sources.py``.

A wheel, an sdist and an editable install get ``fffbench/_built.json``. Only the editable install, whose package is this
folder, leaves it here: it says from which C++ sources its kernels were built.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from scikit_build_core import build as core
from scikit_build_core.build import (
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
]

ROOT = Path(__file__).resolve().parent.parent


def build_wheel(*arguments: Any, **options: Any) -> str:
    """A wheel with its stamp."""
    return _stamped(core.build_wheel, *arguments, **options)


def build_sdist(*arguments: Any, **options: Any) -> str:
    """An sdist with the stamp that the wheels built from it keep."""
    return _stamped(core.build_sdist, *arguments, **options)


def build_editable(*arguments: Any, **options: Any) -> str:
    """An editable install; the stamp stays beside the sources that it is about."""
    made: str = core.build_editable(*arguments, **options)
    _write_stamp()  # afterwards: a build that failed has changed no kernel
    return made


def _stamped(build: Callable[..., str], *arguments: Any, **options: Any) -> str:
    with _put_back(ROOT / "fffbench" / _sources().STAMP):
        _write_stamp()
        return build(*arguments, **options)


@contextlib.contextmanager
def _put_back(path: Path) -> Iterator[None]:
    """Whatever happens in the block, ``path`` is afterwards what it was."""
    before = path.read_bytes() if path.is_file() else None
    try:
        yield
    finally:
        if before is None:
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(before)


def _write_stamp() -> None:
    timed = _module("timed")
    _sources().write_stamp(ROOT, timed.digests(timed.read_tree(ROOT / "fffbench")))


def _sources() -> ModuleType:
    return _module("sources")


def _module(which: str) -> ModuleType:
    """A module of ``fffbench``, without the package around it, whose dependencies a build does not have."""
    name = f"fffbench_{which}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, ROOT / "fffbench" / f"{which}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]
