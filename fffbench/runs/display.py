"""How does a run show where it is: a live bar on a terminal, plain lines elsewhere?"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from fffbench.devices import threads_text
from fffbench.measure.outcome import Outcome
from fffbench.measure.session import Progress
from fffbench.plan.workload import parse_cell
from fffbench.units import duration

PLAIN_SECONDS = 10.0  # between two plain lines: a log of a run of minutes stays readable


def in_words(cell: str) -> str:
    """A cell's id with what tells it from the others first: a narrow terminal cuts the end."""
    found = parse_cell(cell)
    work, shape = found.workload, found.workload.shape
    tree = f" {shape.trees}x{shape.levels}" if shape.trees else ""
    leaf = f"l{shape.leaf_width}" if shape.leaf_width else ""
    threads = threads_text(work.device, work.threads, before=", ")
    how = f"{found.protocol.cache} {found.protocol.call}, {work.routing}"
    return f"{found.implementation}, batch {work.batch}, {work.dtype}{threads}, {shape.d}x{shape.n}{tree}{leaf}, {how}"


class Display:
    """Shows progress and failures; use as a context manager."""

    def __init__(self, words: Callable[[str], str] = in_words) -> None:
        """Choose the form by whether standard error is a terminal; ``words`` says which cell an id is."""
        self._words = words
        self._bar = None
        self._last = 0.0
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            self._bar = Progress(
                BarColumn(bar_width=24),
                TextColumn("{task.completed:.0f}/{task.total:.0f}  {task.description}"),
                console=Console(stderr=True),
            )
            self._task = self._bar.add_task("starting", total=1)

    def __enter__(self) -> Self:
        """Start the live bar, if there is one."""
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.stop()

    def progress(self, state: Progress) -> None:
        """Show how far the run is."""
        text = f"about {duration(state.seconds_left)} left  {self._words(state.cell)}"
        if self._bar is not None:
            self._bar.update(self._task, completed=state.done, total=state.planned, description=text)
        elif time.monotonic() - self._last >= PLAIN_SECONDS:
            self._last = time.monotonic()
            print(f"{state.done}/{state.planned}  {text}", file=sys.stderr, flush=True)

    def outcome(self, outcome: Outcome) -> None:
        """Say which cells fail, at once; the others speak through the report."""
        if outcome.failure is not None:
            text = f"no time for {outcome.cell}: {outcome.failure}"
            if self._bar is not None:
                self._bar.console.print(text, markup=False, highlight=False)
            else:
                print(text, file=sys.stderr, flush=True)
