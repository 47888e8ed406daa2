"""Which code is measured, and is it still the same?

A digest of it is part of every run's key, so that a run is never continued by
other code; while a run measures, the files are watched for the same reason.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import fffbench
from fffbench import extensions
from fffbench.errors import UserError
from fffbench.implementations.registry import Implementation
from fffbench.measure import provenance

ROOT = Path(fffbench.__file__).parent
ROOMS = provenance.ROOMS
SUFFIXES = extensions.SUFFIXES


@dataclass(frozen=True)
class Sources:
    """Files that decide a measurement: the digest of their contents, and how they lay on the disk when it was taken."""

    digest: str
    files: tuple[Path, ...]
    found: tuple[tuple[int, ...] | None, ...]

    @classmethod
    def of(cls, files: Iterable[Path]) -> Sources:
        """The sources in ``files``, as they are now."""
        ordered = tuple(sorted(set(files)))
        found = tuple(map(_state, ordered))
        return cls(_digest_of(ordered), ordered, found)

    def unchanged(self) -> bool:
        """Whether the files are what they were; their contents are read only where their dates are other ones."""
        return self.found == tuple(map(_state, self.files)) or self.digest == _digest_of(self.files)


def sources_digest() -> str:
    """Hash of the project's own part: the measuring rooms and the compiled kernels, as they are imported here."""
    return Sources.of(_own_files()).digest


def measured_sources(chosen: Iterable[Implementation]) -> Sources:
    """What decides a run over ``chosen``: the project's own part, and the files of other packages' implementations."""
    return Sources.of([*_own_files(), *(path for item in chosen for path in files_of(item))])


def files_of(item: Implementation) -> set[Path]:
    """The files an implementation consists of: its module; of another package's, that package and its distribution."""
    if item.module is not None:
        return {Path(item.module.__file__)} if item.module.__file__ else set()
    return extensions.files_of(item.entry_point)


def _own_files() -> list[Path]:
    try:
        from fffbench import _cpu
    except ImportError as error:  # FFFBENCH_KERNELS=OFF, or a checkout in front of the installed package
        reason = "nothing is measured without them; `pip install .` builds them (FFFBENCH_KERNELS=OFF leaves them out)"
        raise UserError(f"{ROOT} has no compiled kernels: {reason}") from error

    own = [path for room in ROOMS for path in (ROOT / room).rglob("*") if path.suffix in SUFFIXES]
    return [*own, *(ROOT / name for name in provenance.COMMON), Path(_cpu.__file__)]


def _state(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _digest_of(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        try:
            content = path.read_bytes()
        except OSError:
            content = b"not there"
        digest.update(path.name.encode("utf-8", "surrogateescape") + b"\0" + hashlib.sha256(content).digest())
    return digest.hexdigest()[:16]
