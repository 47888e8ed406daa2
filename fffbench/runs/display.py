"""How does a run show where it is: a live bar on a terminal, plain lines elsewhere?"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from fffbench.measure.outcome import Outcome
from fffbench.measure.session import Progress
from fffbench.units import duration

PLAIN_SECONDS = 10.0  # between two plain lines: a log of a run of minutes stays readable


class Display:
    """Shows progress and failures; use as a context manager."""

    def __init__(self) -> None:
        """Choose the form by whether standard error is a terminal."""
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
        text = f"about {duration(state.seconds_left)} left  {state.cell}"
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
