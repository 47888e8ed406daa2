"""What had been measured when the power went?

An append-only file of JSON lines. Each line is on the disk (fsync) before
``append`` returns, so a run killed at any moment loses the line in flight and
nothing else. What a damaged line held is lost; the other lines are kept.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from fffbench.errors import UserError

Entry = dict[str, Any]
Say = Callable[[str], None]

MOST_BYTES = 2**30  # of one journal: the fullest preset's is a tenth of that
NAMED_LINES = 3  # of those left out


def _line(entry: Entry) -> bytes:
    try:
        return json.dumps(entry, allow_nan=False, separators=(",", ":")).encode() + b"\n"
    except (ValueError, TypeError) as error:
        raise UserError(f"journal entry cannot be written as JSON: {error}") from error


class Journal:
    """An open journal; the first line is the header, every further line one entry."""

    def __init__(self, path: Path) -> None:
        """Open an existing journal for appending, dropping a last line that was cut."""
        self.path = path
        try:
            complete = _content(path).rfind(b"\n") + 1
            self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW)
            os.ftruncate(self._fd, complete)
        except OSError as error:
            raise UserError(f"journal {str(path)!r} cannot be opened: {error.strerror}") from error

    @classmethod
    def create(cls, path: Path | str, header: Entry) -> Journal:
        """Start a journal at ``path`` (which must not exist) with ``header`` as its first line."""
        path = Path(path)
        line = _line(header)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)  # the name itself must survive, not only the content
            finally:
                os.close(folder)
        except OSError as error:
            raise UserError(f"journal {str(path)!r} cannot be created: {error.strerror}") from error
        journal = cls(path)
        try:
            journal._write(line)
        except UserError:
            journal.close()
            path.unlink(missing_ok=True)
            raise
        return journal

    def append(self, entry: Entry) -> None:
        """Add ``entry`` as one line and wait until it is on the disk."""
        self._write(_line(entry))

    def _write(self, line: bytes) -> None:
        self._still_there()
        before = os.fstat(self._fd).st_size
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[os.write(self._fd, rest) :]
            os.fsync(self._fd)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, before)  # give back the partial line, so that the journal stays readable
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            what = "the disk is full" if full else error.strerror
            raise UserError(
                f"journal {str(self.path)!r}: {what}; everything measured before this cell is kept, "
                f"{'free some space and ' if full else ''}run the same command again"
            ) from error

    def _still_there(self) -> None:
        """A file that was deleted takes lines without an error, and nobody will ever read them."""
        own = os.fstat(self._fd)
        try:
            found: os.stat_result | None = self.path.stat()
        except OSError:
            found = None
        if found is None or (found.st_dev, found.st_ino) != (own.st_dev, own.st_ino):
            what = "deleted, and what it held is lost" if own.st_nlink == 0 else "moved or replaced"
            raise UserError(f"journal {str(self.path)!r} was {what}: nothing more can be stored, so the run ends here")

    def close(self) -> None:
        """Close the file; nothing is lost without it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        """Use as a context manager."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close at the end of the block."""
        self.close()

    @staticmethod
    def read(path: Path | str, say: Say | None = None) -> tuple[Entry, list[Entry]]:
        """Header and entries of ``path``; ``UserError`` without a header.

        A cut last line is dropped; other damaged lines are left out, and ``say`` gets one line about them.
        """
        header, entries, left_out = Journal.numbered(path)
        if left_out and say is not None:
            say(describe_left_out(path, left_out, len(entries)))
        return header, [entry for _, entry in entries]

    @staticmethod
    def numbered(path: Path | str) -> tuple[Entry, list[tuple[int, Entry]], dict[int, str]]:
        """Header, entries with their line numbers, and by line number why a line was left out."""
        path = Path(path)
        try:
            lines = _content(path).split(b"\n")
        except OSError as error:
            raise UserError(f"journal {str(path)!r} cannot be read: {error.strerror}") from error
        entries: list[tuple[int, Entry]] = []
        left_out: dict[int, str] = {}
        for number, line in enumerate(lines[:-1], start=1):  # what follows the last newline was cut, or is empty
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                left_out[number] = "is damaged"
                continue
            if isinstance(value, dict):
                entries.append((number, value))
            else:
                left_out[number] = "is no JSON object"
        if not entries or entries[0][0] != 1:
            raise UserError(f"journal {str(path)!r}, line 1: no header; move the file away to start anew")
        return entries[0][1], entries[1:], left_out


def describe_left_out(path: Path | str, left_out: dict[int, str], kept: int) -> str:
    """One sentence on the lines of a journal that cannot be used."""
    named = "; ".join(f"line {number} {left_out[number]}" for number in sorted(left_out)[:NAMED_LINES])
    more = f"; and {len(left_out) - NAMED_LINES} more" if len(left_out) > NAMED_LINES else ""
    return f"journal {str(path)!r}: {named}{more}; left out, {kept} other lines are kept"


def _content(path: Path) -> bytes:
    """The bytes of a plain file of a journal's size; ``OSError`` otherwise (reading a pipe would never end)."""
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "not a plain file")
    if found.st_size > MOST_BYTES:
        raise OSError(errno.EFBIG, f"larger than {MOST_BYTES >> 20} MiB")
    return path.read_bytes()
