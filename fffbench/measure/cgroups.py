"""How much of the machine does the container leave us?

Both versions of control groups, and every group from ours up to the top: a limit anywhere above holds here too. Paths
are as ``/proc/self/cgroup`` and ``/proc/self/mountinfo`` say, so a hierarchy that is mounted from its middle (a
container without a namespace of its own) or beside another (version 1 with 2, "hybrid") is found.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

V1_UNLIMITED = 2**60  # version 1 writes no limit as a number near 2**63
MOST_LEVELS = 64


@dataclass(frozen=True)
class Group:
    """One control group: its folder and the version of its hierarchy."""

    folder: Path
    version: int


def cpu_quota(root: Path = Path("/")) -> float | None:
    """CPUs that the tightest quota above this process allows, or None without a quota; ``root`` as for ``groups``."""
    return min(filter(None, (_quota(group) for group in groups("cpu", root))), default=None)


def memory_limit(root: Path = Path("/")) -> int | None:
    """Bytes that the tightest limit above this process allows, or None without a limit."""
    return min((limit for limit, _ in _memory(root)), default=None)


def memory_left(root: Path = Path("/")) -> int | None:
    """Bytes left below the tightest limit, what can be dropped from the page cache counted as free; None without."""
    return min((max(0, limit - used) for limit, used in _memory(root)), default=None)


def groups(controller: str, root: Path = Path("/")) -> Iterator[Group]:
    """The groups of this process that may limit ``controller`` (``cpu``, ``memory``), from its own to the top.

    ``root`` is the folder under which ``/proc`` and the mounts are looked for.
    """
    memberships = _memberships(root, controller)
    for version, mounted_from, mount in _mounts(root, controller):
        ours = memberships.get(version)
        if ours is None:
            continue
        # a mount shows its hierarchy from mounted_from down; a group outside of it is shown as the mount itself
        inside = PurePosixPath(ours)
        parts = inside.relative_to(mounted_from).parts if inside.is_relative_to(mounted_from) else ()
        if ".." in parts:
            parts = ()
        top = root / mount.lstrip("/")
        for depth in range(min(len(parts), MOST_LEVELS), -1, -1):
            folder = top.joinpath(*parts[:depth])
            if folder.is_dir():
                yield Group(folder, version)


def _memberships(root: Path, controller: str) -> dict[int, str]:
    """This process's group by version of hierarchy: lines of ``/proc/self/cgroup``, ``9:cpu,cpuacct:/a/b``."""
    found: dict[int, str] = {}
    for line in _read(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            found[2] = path
        elif controller in controllers.split(","):
            found[1] = path
    return found


def _mounts(root: Path, controller: str) -> Iterator[tuple[int, str, str]]:
    """Version, the group it shows at its top, and the place of every mount that has ``controller``."""
    for line in _read(root / "proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        fields, kinds = before.split(), after.split()
        if len(fields) < 5 or len(kinds) < 3:
            continue
        mounted_from, mount = (field.replace("\\040", " ") for field in fields[3:5])
        if kinds[0] == "cgroup2":
            yield 2, mounted_from, mount
        elif kinds[0] == "cgroup" and controller in kinds[2].split(","):
            yield 1, mounted_from, mount


def _quota(group: Group) -> float | None:
    if group.version == 2:
        words = _read(group.folder / "cpu.max").split()
    else:
        words = [_read(group.folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
    quota, period = (_number(word) for word in words) if len(words) == 2 else (None, None)
    return quota / period if quota and period else None


def _memory(root: Path) -> Iterator[tuple[int, int]]:
    """Limit and use of every group that has a limit."""
    names = {2: ("memory.max", "memory.current"), 1: ("memory.limit_in_bytes", "memory.usage_in_bytes")}
    for group in groups("memory", root):
        limit, used = (_number(_read(group.folder / name).strip()) for name in names[group.version])
        if limit is None or (group.version == 1 and limit >= V1_UNLIMITED):
            continue
        cached = {"total_inactive_file": 0, "inactive_file": 0}
        for line in _read(group.folder / "memory.stat").splitlines():
            name, _, value = line.partition(" ")
            if name in cached:
                cached[name] = _number(value) or 0
        yield limit, max(0, (used or 0) - max(cached.values()))


def _number(word: str) -> int | None:
    """A count; None for ``max``, ``-1`` and whatever is no count."""
    return int(word) if word.isascii() and word.isdigit() and len(word) < 20 else None


def _read(path: Path) -> str:
    with contextlib.suppress(OSError, ValueError):
        return path.read_text(encoding="utf-8", errors="replace")
    return ""


def whole_cpus(quota: float | None, cores: int) -> int:
    """Threads worth starting on ``cores`` cores under ``quota``: a part of a CPU carries no thread of its own."""
    return cores if quota is None else min(cores, max(1, math.floor(quota)))
