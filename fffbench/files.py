"""How is a file opened that anybody may have put there?

A name in a folder can be a FIFO, a socket or a device, whose opening or reading waits for ever, or a link to anywhere.
Only plain files are opened: without waiting, without following a link in the last place, and their kind is asked of
the descriptor, so that nothing can be exchanged in between.
"""

from __future__ import annotations

import os
import stat
import zlib
from pathlib import Path

_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
NOT_PLAIN = "not a plain file"
LINK = "a link, not a file"


class NotPlainError(OSError):
    """What lies at a path is no plain file; ``strerror`` says so."""


def _plain_kind(descriptor: int, path: Path) -> os.stat_result:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise NotPlainError(0, NOT_PLAIN, str(path))
    return status


def read_plain(path: Path, most: int, *, links: bool = False) -> bytes:
    """The bytes of the plain file ``path``; ``NotPlainError`` for anything else, ``ValueError`` above ``most`` bytes.

    ``links`` follows one that the user may have made on purpose; results are read without.
    """
    if not links and path.is_symlink():
        raise NotPlainError(0, LINK, str(path))
    try:
        descriptor = os.open(path, os.O_RDONLY | _FLAGS | (0 if links else os.O_NOFOLLOW))
    except OSError as error:
        if path.exists() and not path.is_file():  # a socket cannot be opened at all
            raise NotPlainError(0, NOT_PLAIN, str(path)) from error
        raise
    with os.fdopen(descriptor, "rb") as file:
        size = _plain_kind(descriptor, path).st_size
        if size <= most:
            data = file.read(most + 1)  # it may have grown since
            size = len(data)
        if size > most:
            raise ValueError(f"{size} bytes; at most {most} are read")
        return data


def unpacked(data: bytes, most: int) -> bytes:
    """What the gzip file ``data`` holds; ``ValueError`` where it is none, is cut, or holds more than ``most`` bytes.

    Nothing beyond ``most`` is expanded, whatever the file claims to hold.
    """
    expander = zlib.decompressobj(wbits=31)  # one gzip member with its header
    try:
        found = expander.decompress(data, most + 1)
    except zlib.error as error:
        raise ValueError(f"no gzip file ({error})") from error
    if len(found) > most:
        raise ValueError(f"more than {most} bytes unpacked; at most that are read")
    if not expander.eof or expander.unused_data:
        raise ValueError("a gzip file that is cut, or has something behind its end")
    return found


def write_plain(path: Path, data: bytes | str, *, append: bool = False) -> None:
    """Write to (or append to) the plain file ``path``, made if need be; ``NotPlainError`` where it is anything else.

    Links are followed: where an output goes is the user's choice.
    """
    kind = os.O_APPEND if append else 0
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | _FLAGS | kind, 0o666)
    except OSError as error:
        if path.exists() and not path.is_file() and not path.is_dir():  # a FIFO that nobody reads, a socket
            raise NotPlainError(0, NOT_PLAIN, str(path)) from error
        raise
    with os.fdopen(descriptor, "wb") as file:
        _plain_kind(descriptor, path)
        if not append:
            os.ftruncate(descriptor, 0)  # not by O_TRUNC: first it must be known what it is
        file.write(data.encode("utf-8") if isinstance(data, str) else data)
