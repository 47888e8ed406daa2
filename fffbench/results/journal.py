"""What had been measured when the power went?

An append-only file of JSON lines. Each line is on the disk (fsync) before
``append`` returns, so a run killed at any moment loses the line in flight and
nothing else.
"""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any, Self

from fffbench.errors import UserError

Entry = dict[str, Any]


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
            self._fd = os.open(path, os.O_RDWR | os.O_APPEND)
            complete = path.read_bytes().rfind(b"\n") + 1
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
        before = os.fstat(self._fd).st_size
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[os.write(self._fd, rest) :]
            os.fsync(self._fd)
        except OSError as error:
            os.ftruncate(self._fd, before)  # give back the partial line, so that the journal stays readable
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            what = "the disk is full" if full else error.strerror
            raise UserError(
                f"journal {str(self.path)!r}: {what}; everything measured before this cell is kept, "
                f"{'free some space and ' if full else ''}run the same command again"
            ) from error

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
    def read(path: Path | str) -> tuple[Entry, list[Entry]]:
        """Header and entries of ``path``; a cut last line is dropped, any other damage is a ``UserError``."""
        path = Path(path)
        try:
            lines = path.read_bytes().split(b"\n")
        except OSError as error:
            raise UserError(f"journal {str(path)!r} cannot be read: {error.strerror}") from error
        values: list[Entry] = []
        for number, line in enumerate(lines[:-1], start=1):  # what follows the last newline was cut, or is empty
            try:
                value = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise UserError(f"journal {str(path)!r}, line {number}: damaged; move it away to start anew") from error
            if not isinstance(value, dict):
                raise UserError(f"journal {str(path)!r}, line {number}: must be a JSON object")
            values.append(value)
        if not values:
            raise UserError(f"journal {str(path)!r}, line 1: no header; move the file away to start anew")
        return values[0], values[1:]
