"""How does a run end when it is asked to, wherever it was started?

A shell starts what it puts into the background with Ctrl-C's signal ignored,
and a run would ignore it with everything it starts. While a run measures, every
signal that asks a process to end, or whose default is to end it, ends it in
order: workers are ended, the terminal is restored, the temporary folder is
removed, the journal holds all that was measured.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from fffbench.errors import UserError
from fffbench.runs import journals

EXIT_INTERRUPTED = 128 + signal.SIGINT  # as shells report it
ASKED = (signal.SIGINT, signal.SIGTERM)  # obeyed even where a shell had them ignored
# ``nohup`` and the like ignore these on purpose: where they are ignored they stay so
ENDING = tuple(
    getattr(signal, name)
    for name in (
        "SIGHUP",
        "SIGQUIT",
        "SIGALRM",
        "SIGVTALRM",
        "SIGPROF",
        "SIGUSR1",
        "SIGUSR2",
        "SIGXCPU",
        "SIGPWR",
        "SIGIO",
    )
    if hasattr(signal, name)
)


class Ended(BaseException):  # like KeyboardInterrupt: no error, and nobody may catch it as one
    """The process was asked to end by a signal other than Ctrl-C's."""

    def __init__(self, number: int) -> None:
        """Remember which signal it was."""
        super().__init__(number)
        self.number = number


def exit_code(error: BaseException) -> int:
    """The exit code that a shell reports for a process that ``error`` ended."""
    return 128 + error.number if isinstance(error, Ended) else EXIT_INTERRUPTED


@contextmanager
def in_order() -> Iterator[None]:
    """Raise ``KeyboardInterrupt`` at SIGINT and ``Ended`` at every other signal that would end the process."""
    before = {number: signal.getsignal(number) for number in (*ASKED, *ENDING)}
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, _ended)
        for number in ENDING:
            if before[number] == signal.SIG_DFL:
                signal.signal(number, _ended)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)  # None: it was not Python's


def _ended(number: int, _frame: FrameType | None) -> None:
    raise Ended(number)


def _results_in(journal: Path) -> int:
    return sum(outcome.failure is None for outcome in journals.read(journal).outcomes)


def sentence(error: BaseException, journal: Path | None, results_in: Callable[[Path], int] = _results_in) -> str:
    """What is said when ``error`` ended a run with this journal (None: it had none yet).

    ``results_in`` counts the results of processes that a journal holds.
    """
    how = f"ended by {signal.Signals(error.number).name}" if isinstance(error, Ended) else "interrupted"
    if journal is None:
        return f"{how}; nothing had been measured yet"
    try:
        count = results_in(journal)
    except UserError as reading:
        return f"{how}; {reading}"
    if count == 0:
        return f"{how}; nothing had been measured yet"
    results = "1 process result" if count == 1 else f"{count} process results"
    return f"{how}; what was measured is kept ({results}), and the same command continues"
