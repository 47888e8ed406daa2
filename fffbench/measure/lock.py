"""Is somebody measuring on this machine already?

Two runs at once slow each other, and neither can know: both results would be
wrong without a trace. A run therefore holds two locks while it lasts, one for
the machine (in the system's temporary folder) and one in the folder its
results go to, which containers with temporary folders of their own share. The
kernel releases them when the process ends, however it ends, so no lock is
ever stale; the files stay and only say who held them last.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from fffbench.errors import UserError

MACHINE_FILE = "fffbench-measuring.lock"
FOLDER_FILE = ".measuring.lock"
EVERYONE = 0o666  # the machine's lock is every user's
MOST_BYTES = 4096  # of what another process wrote about itself
BUSY = "another run is measuring on this machine"  # so begins what is said where a lock is held
HELD = (errno.EAGAIN, errno.EACCES)
UNSUPPORTED = (errno.ENOLCK, errno.ENOTSUP, errno.EINVAL)  # some network file systems know no locks


class Lock:
    """One held lock; released by ``release``, at the end of a with block, or by the end of the process."""

    def __init__(self, path: Path, doing: str) -> None:
        """Take the lock at ``path`` for ``doing``, a command; ``UserError`` saying who holds it if it is taken."""
        self.path = path
        self._descriptor = _opened(path)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            said = _read(self._descriptor)
            self.release()
            if error.errno in HELD:
                raise UserError(_refusal(path, said)) from None
            if error.errno not in UNSUPPORTED:
                raise
        else:
            _write(self._descriptor, {"pid": os.getpid(), "doing": doing, "since": _now()})

    def release(self) -> None:
        """Let others measure."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        """Hold the lock for a with block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the lock."""
        self.release()


def machine(doing: str) -> Lock:
    """Take this machine for the command ``doing``."""
    return Lock(Path(tempfile.gettempdir()) / MACHINE_FILE, doing)


def folder(results: Path, doing: str) -> Lock:
    """Take the folder that one machine's results go to; makes it if need be."""
    results.mkdir(parents=True, exist_ok=True)
    return Lock(results / FOLDER_FILE, doing)


def _opened(path: Path) -> int:
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW  # a lock that a child inherited would outlive its owner
    try:
        return os.open(path, flags)  # without O_CREAT, which a shared temporary folder refuses on another user's file
    except FileNotFoundError:
        pass
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, EVERYONE)
    except FileExistsError:  # somebody was quicker
        return os.open(path, flags)
    os.fchmod(descriptor, EVERYONE)  # past the umask
    return descriptor


def _write(descriptor: int, who: dict[str, object]) -> None:
    with contextlib.suppress(OSError):  # on a full disk the lock holds all the same
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(who).encode(), 0)


def _read(descriptor: int) -> dict[str, object]:
    """What the holder wrote about itself; empty where it is not (yet) there or is not ours."""
    try:
        said = json.loads(os.pread(descriptor, MOST_BYTES, 0))
    except (OSError, ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _refusal(path: Path, said: dict[str, object]) -> str:
    pid, doing, since = said.get("pid"), said.get("doing"), said.get("since")
    who = BUSY
    if isinstance(pid, int) and isinstance(doing, str) and isinstance(since, str):
        who += f": process {pid}, {doing[:80]!r}, since {since[:30]!r}"
    return f"{who} (it holds {path}); two at once slow each other, so wait until it has ended, or end it"


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
