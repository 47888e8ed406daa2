"""How does a run end when it is asked to, wherever it was started?

A shell starts what it puts into the background with Ctrl-C's signal ignored,
and a run would ignore it with everything it starts. While a run measures, both
that signal and the one that ``kill`` sends end it in order: workers are ended,
the terminal is restored, the journal holds all that was measured.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_INTERRUPTED = 128 + signal.SIGINT  # as shells report it
EXIT_TERMINATED = 128 + signal.SIGTERM


class Terminated(BaseException):  # like KeyboardInterrupt: no error, and nobody may catch it as one
    """The process was asked to end by SIGTERM."""


@contextmanager
def in_order() -> Iterator[None]:
    """Raise ``KeyboardInterrupt`` at SIGINT and ``Terminated`` at SIGTERM, even where they were ignored before."""
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
        signal.SIGTERM: signal.signal(signal.SIGTERM, _terminated),
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)  # None: it was not Python's


def _terminated(_number: int, _frame: FrameType | None) -> None:
    raise Terminated
