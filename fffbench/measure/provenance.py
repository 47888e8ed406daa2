"""From which sources, with which libraries and in which surroundings was something measured?

``surroundings`` is part of what a journal is found by: a run that was interrupted under another torch, another Python,
other sources or another preloaded library is not continued, but begun anew. ``commit_info`` is what pytest-benchmark
stores: this project's commit, whatever repository the user stands in.
"""

from __future__ import annotations

import hashlib
import importlib.util
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fffbench import extensions, sources
from fffbench.errors import UserError
from fffbench.measure import environment
from fffbench.measure.worker import ENVIRONMENT

# whatever a kernel or a clock of ours calls, and what counts and stores
PACKAGES = (
    *("torch", "numpy", "scipy", "triton", "cuda-core", "cuda-bindings", "nvidia-cuda-nvrtc", "nvidia-ml-py"),
    *("mkl", "intel-openmp", "threadpoolctl", "psutil", "pytest-benchmark", "fffbench"),
)
ROOMS = ("devices", "problems", "plan", "implementations", "measure")  # what decides a measurement
COMMON = ("blaslib.py", "contain.py", "parent.py")
SUFFIXES = frozenset({".py", ".cpp", ".hpp", ".cu", ".cuh", ".toml"})
FOREIGN_SUFFIXES = SUFFIXES | {".so"}
DIGITS = 16


def current() -> sources.Sources:
    """The sources that run here; ``UserError`` where ``FFFBENCH_COMMIT`` is no commit."""
    try:
        return sources.current()
    except ValueError as error:
        raise UserError(str(error)) from error


def commit_info(commit: str) -> dict[str, Any]:
    """What pytest-benchmark stores as ``commit_info`` of a run of ``commit``: nothing of the current folder."""
    bare = commit.removesuffix("-dirty")
    return {
        "id": bare,
        "time": None,
        "author_time": None,
        "dirty": bare != commit,
        "project": "fffbench",
        "branch": "(unknown)",
    }


def versions() -> dict[str, str]:
    """Versions of what a measurement rests on, by distribution; ``not installed`` where it is not."""
    return {package: _version(package) for package in PACKAGES} | {
        f"plugin {name}": said for name, said in _plugins().items()
    }


def surroundings() -> list[str]:
    """What two halves of one run must have in common, beside its plan."""
    return [
        f"{platform.python_implementation()} {platform.python_version()}",
        repr(sorted(versions().items())),
        repr(sorted(ENVIRONMENT.items())),
        environment.inherited(),
        environment.remaining(),
        sources_digest(),
    ]


def sources_digest() -> str:
    """Hash of what decides a measurement, as it is imported here: the measuring rooms and the compiled kernels."""
    root = Path(sources.__file__).parent
    try:
        from fffbench import _cpu
    except ImportError as error:  # FFFBENCH_KERNELS=OFF, or a checkout in front of the installed package
        reason = "nothing is measured without them; `pip install .` builds them (FFFBENCH_KERNELS=OFF leaves them out)"
        raise UserError(f"{root} has no compiled kernels: {reason}") from error
    files = [path for room in ROOMS for path in (root / room).rglob("*") if path.suffix in SUFFIXES]
    files += [root / name for name in COMMON]
    named = [(path.relative_to(root).as_posix(), path) for path in files]
    return sources.digest([*named, ("_cpu", Path(_cpu.__file__))])


def _plugins() -> dict[str, str]:
    """What other packages register, of any kind: version of the distribution, and a hash of the module's files.

    Their author edits them between two runs without a new version. Nothing of them is imported here.
    """
    found = {}
    for point in (point for group in extensions.GROUPS for point in extensions.registered(group)[0]):
        name = point.dist.name if point.dist else "unknown"
        found[point.name] = f"{name} {point.dist.version if point.dist else ''} {_foreign_digest(point.module)}"
    return found


def _foreign_digest(module: str) -> str:
    try:
        spec = importlib.util.find_spec(module.partition(".")[0])
    except (ImportError, ValueError):
        return "missing"
    if spec is None:
        return "missing"
    places = [Path(place) for place in spec.submodule_search_locations or ()]
    files = [path for place in places for path in place.rglob("*") if path.suffix in FOREIGN_SUFFIXES]
    if not places and spec.origin:
        files = [Path(spec.origin)]
    found = hashlib.sha256()
    for path in sorted(files):
        try:
            found.update(path.name.encode() + b"\0" + path.read_bytes())
        except OSError:
            found.update(b"unreadable")
    return found.hexdigest()[:DIGITS]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
