"""Which result files are in a folder or an archive that came from elsewhere?

A source is a folder, a tar (plain, gzip, bzip2 or xz) or a zip. Nothing is extracted under a name that an archive
chose: of each entry only ``<room>/<machine>/<file>.json`` at the end of its path counts, the room being ``matrix``,
``models`` or ``regress``, each part of it within a closed alphabet. Links, devices and encrypted entries are no files
here. What an archive may expand to is bounded by its own size, because a kilobyte can hold a gigabyte of nothing.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from fffbench.errors import UserError
from fffbench.files import read_plain
from fffbench.results.listing import ARCHIVE, LINK, Refusal
from fffbench.results.models import ROOM as MODELS
from fffbench.results.parsing import MAX_BYTES
from fffbench.results.regressions import REGRESS
from fffbench.text import plain

ROOMS = ("matrix", REGRESS, MODELS)
OLD = ARCHIVE  # which a merge must not make current
MOST_ENTRIES = 1_000_000  # of one source: 500 machines of 10 files each are 5000
MOST_DEPTH = 12  # of a folder that is walked
EXPANSION = 200  # times its own size; results shrink to a tenth (gzip), at most to a thirtieth (xz, equal machines)
SMALLEST_BOUND = 2**20  # bytes that the smallest archive may expand to
MOST_AT_ONCE = 4 * 2**20  # no honest read is longer; a tar can ask for one to hold a header of any size
_MACHINE = re.compile(r"[a-z0-9][a-z0-9.-]{0,79}")  # as ``Machine.id``
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}\.json")
_PACKED: tuple[tuple[bytes, Callable[..., Any]], ...] = (
    (b"\x1f\x8b", gzip.open),
    (b"BZh", bz2.open),
    (b"\xfd7zXZ\x00", lzma.open),
)
_BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, ValueError)


@dataclass(frozen=True)
class Packed:
    """One result file of a source: where it belongs, where it was found, and its bytes."""

    room: str
    machine: str
    name: str
    found: str
    data: bytes

    @property
    def place(self) -> str:
        """``matrix/<machine>/<file>.json``, its path in a folder of results."""
        return f"{self.room}/{self.machine}/{self.name}"


def result_files(source: Path) -> Iterator[Packed | Refusal]:
    """Every result file in the folder, tar or zip ``source``, and what looks like one and is none.

    ``UserError`` where ``source`` is none of these, is damaged or expands beyond its bound.
    """
    if source.is_dir():
        yield from _in_folder(source)
        return
    try:
        kind = source.stat().st_mode
    except OSError as error:
        raise UserError(f"{source}: {error.strerror}; name a folder, a tar or a zip of results") from error
    if not stat.S_ISREG(kind):
        raise UserError(f"{source}: no folder and no plain file; name a folder, a tar or a zip of results")
    try:
        if zipfile.is_zipfile(source):
            yield from _in_zip(source)
        else:
            yield from _in_tar(source)
    except tarfile.ReadError as error:
        raise UserError(
            f"{source}: not a complete tar (plain, gzip, bzip2, xz) or zip ({error}); nothing was merged"
        ) from error
    except _BROKEN as error:
        raise UserError(f"{source}: damaged ({error or 'it ends too early'}); nothing was merged") from error


def _place(path: str) -> tuple[str, str, str] | str | None:
    """Room, machine and name of the result file at ``path``; a reason where it must not be one; None: another file."""
    parts = PurePosixPath(path.replace("\\", "/")).parts
    rooms = [index for index, part in enumerate(parts) if part in ROOMS and len(parts) - index == 3]
    if not rooms or not path.endswith(".json"):
        return None
    room, machine, name = parts[-3:]
    if ".." in parts or path.startswith("/"):
        return "its path leads out of the archive"
    if OLD in parts[:-3]:
        return f"lies under {OLD}/, which holds measurements of older sources"
    if any(part.startswith(".") for part in parts):
        return None  # drafts and what an editor or a file system keeps beside them
    if not _MACHINE.fullmatch(machine) or not _NAME.fullmatch(name):
        return "no name of a machine's folder and a result file: letters, digits, dots and dashes are allowed"
    return room, machine, name


def _taken(
    source: Path, inside: str, refusal: str | None, size: int, read: Callable[[], bytes]
) -> Packed | Refusal | None:
    """The entry called ``inside``, read where it is a result file."""
    found = _place(inside)
    if found is None:
        return None
    shown = plain(f"{source}: {inside}")
    if isinstance(found, str):
        return Refusal(shown, "", found)
    if refusal is None and size > MAX_BYTES:
        refusal = f"{size} bytes; at most {MAX_BYTES} are read"
    if refusal is not None:
        return Refusal(shown, "", refusal)
    return Packed(*found, found=shown, data=read())


def _in_folder(source: Path) -> Iterator[Packed | Refusal]:
    count = 0

    def walk(folder: Path, depth: int) -> Iterator[Packed | Refusal]:
        nonlocal count
        try:
            with os.scandir(folder) as listed:
                entries = sorted(listed, key=lambda entry: entry.name)
        except OSError as error:
            yield Refusal(plain(str(folder)), "", f"cannot be read: {error.strerror}")
            return
        for entry in entries:
            count += 1
            if count > MOST_ENTRIES:
                raise UserError(f"{source}: more than {MOST_ENTRIES} entries; name the folder of results itself")
            path = folder / entry.name
            inside = os.fsencode(path.relative_to(source)).decode("utf-8", "replace")
            if entry.is_symlink():
                if _place(inside) is not None or folder.name in ROOMS or entry.name in ROOMS:
                    yield Refusal(plain(str(path)), "", LINK)
            elif entry.is_dir(follow_symlinks=False):
                if depth < MOST_DEPTH and not entry.name.startswith("."):
                    yield from walk(path, depth + 1)
            else:
                yield from _read(source, path, inside)

    yield from walk(source, 0)


def _read(source: Path, path: Path, inside: str) -> Iterator[Packed | Refusal]:
    # a room named on the command line itself (``merge other/matrix``) counts as well
    outer = "/".join(source.resolve().parts[-2:])
    wanted = next((name for name in (inside, f"{outer}/{inside}") if _place(name) is not None), inside)
    try:
        taken = _taken(source, wanted, None, 0, lambda: read_plain(path, MAX_BYTES))
    except (OSError, ValueError) as error:
        taken = Refusal(plain(str(path)), "", f"cannot be read: {getattr(error, 'strerror', None) or error}")
    if taken is not None:
        yield taken


class _Bounded:
    """A decompressed stream that may be read up to a number of bytes, and in pieces of a bounded size."""

    def __init__(self, stream: IO[bytes], most: int, source: Path) -> None:
        self._stream, self._most, self._source = stream, most, source

    def _check(self, end: int) -> None:
        if end > self._most:
            bound = f"{EXPANSION} times its size"
            raise UserError(f"{self._source}: expands to more than {bound}, {self._most} bytes; nothing was merged")

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MOST_AT_ONCE:
            raise tarfile.ReadError(f"a header of {size} bytes")
        data = self._stream.read(size)
        self._check(self._stream.tell())
        return data

    def seek(self, position: int, whence: int = 0) -> int:
        if whence != 0:
            raise tarfile.ReadError("not a plain tar")
        self._check(position)
        return self._stream.seek(position)

    def tell(self) -> int:
        return self._stream.tell()


def _bound(source: Path) -> int:
    return max(SMALLEST_BOUND, EXPANSION * source.stat().st_size)


def _in_tar(source: Path) -> Iterator[Packed | Refusal]:
    with source.open("rb") as file:
        magic = file.read(6)
    opened = next((opener for start, opener in _PACKED if magic.startswith(start)), open)
    with (
        opened(source, "rb") as stream,
        tarfile.open(fileobj=_Bounded(stream, _bound(source), source), mode="r:") as tar,  # type: ignore[call-overload]
    ):
        count = 0
        while (member := tar.next()) is not None:
            tar.members.clear()
            count += 1
            if count > MOST_ENTRIES:
                raise UserError(f"{source}: more than {MOST_ENTRIES} entries; nothing was merged")
            refusal = (
                None if member.isreg() and not member.issparse() else "no plain file: a link, a device or a folder"
            )

            def read(member: tarfile.TarInfo = member) -> bytes:
                content = tar.extractfile(member)
                assert content is not None
                return _whole(content, member.size)

            if not member.isdir() and (taken := _taken(source, member.name, refusal, member.size, read)) is not None:
                yield taken


def _in_zip(source: Path) -> Iterator[Packed | Refusal]:
    left = _bound(source)
    with zipfile.ZipFile(source) as archive:
        entries = archive.infolist()
        if len(entries) > MOST_ENTRIES:
            raise UserError(f"{source}: more than {MOST_ENTRIES} entries; nothing was merged")
        for entry in entries:
            kind = entry.external_attr >> 16
            refusal = None
            if kind and stat.S_IFMT(kind) not in (0, stat.S_IFREG):
                refusal = "no plain file: a link, a device or a folder"
            elif entry.flag_bits & 1:
                refusal = "encrypted"

            def read(entry: zipfile.ZipInfo = entry) -> bytes:
                nonlocal left
                left -= entry.file_size
                if left < 0:
                    raise UserError(f"{source}: expands to more than {EXPANSION} times its size; nothing was merged")
                with archive.open(entry) as content:
                    return _whole(content, entry.file_size)

            if (
                not entry.is_dir()
                and (taken := _taken(source, entry.filename, refusal, entry.file_size, read)) is not None
            ):
                yield taken


def _whole(content: IO[bytes], size: int) -> bytes:
    """The ``size`` bytes that an entry says it has; ``EOFError`` where they are fewer."""
    pieces, left = [], size
    while left > 0:
        piece = content.read(min(left, 2**20))
        if not piece:
            raise EOFError(f"an entry ends {left} bytes too early")
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)
