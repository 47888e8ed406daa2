"""Is a failure the cell's own, or of the machine at that moment?

A full disk, a process that somebody else killed and a scratch folder that was
cleared pass: the cell is tried again, in the same run where that is cheap. A
crash, an exception of the kernel's and a wrong result are the cell's own.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator

from fffbench import contain
from fffbench.measure.outcome import NEVER, NEXT_RUN, NOW

# ESTALE, EIO: a network file system that went away
PASSING = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.EROFS}
)
# Libraries turn an OSError into errors of their own (torch.compile, zipfile, numpy): its words are left.
WORDS = (*(os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT)), "can't start new thread")
# A kernel crashes by these itself; by every other signal a process is ended from outside.
CRASHES = frozenset(
    {
        *(signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE),
        *(signal.SIGABRT, signal.SIGTRAP, signal.SIGSYS),
    }
)
LONGEST_CHAIN = 20


def retry_after(error: BaseException, scratch: str | None = None) -> str:
    """When a cell whose process raised ``error`` is tried again; files below ``scratch`` are the run's own."""
    for cause in _chain(error):
        if isinstance(cause, MemoryError):
            return NEXT_RUN
        if isinstance(cause, OSError):
            if cause.errno in PASSING:
                return NOW
            if scratch and isinstance(cause, FileNotFoundError) and str(cause.filename or "").startswith(scratch):
                return NOW
        if any(word in str(cause) for word in WORDS):
            return NOW
    return NEVER


def _chain(error: BaseException) -> Iterator[BaseException]:
    """``error`` and what it was raised from."""
    cause: BaseException | None = error
    for _ in range(LONGEST_CHAIN):
        if cause is None:
            return
        yield cause
        cause = cause.__cause__ or cause.__context__


def death(code: int) -> tuple[str, str]:
    """What is said of a process that ended with ``code`` (negative: by that signal), and when its cell is retried."""
    return contain.death(code), NEVER if code >= 0 or -code in CRASHES else NOW
