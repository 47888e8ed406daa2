"""How long does one call take, in which state of the caches?

``hot`` and ``warm`` call a calibrated number of times between two readings of
the clock; ``cold`` first evicts every line of the weights (packed copies too),
of the inputs and of the outputs, and times a single call. That is stricter
than rotating over copies: rotation leaves the top of a tree in cache, since a
token touches only a few of its rows. Code and page tables stay as warm as in a
deep model, which runs the same kernel for every layer.

Every sample contains a call that is checked: the clock stands still while a ``Stage`` gives that call new content
and an output that was never written, at a place nobody can foresee, and the output is taken when the sample ends.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

Call = Callable[[], object]
Evict = Callable[[int], None]

# A timed stretch of hot or warm calls: 4000 times the cost of reading the clock twice (50 ns).
STRETCH_SECONDS = 200e-6
WARMUP_CALLS = 3
# A call longer than this is its own warm-up: the check has just run it, its buffers are mapped.
LONG_CALL_SECONDS = 0.5
MOST_SAMPLES = 400
FEWEST_SAMPLES = 3


@dataclass(frozen=True)
class Effort:
    """How long one process may measure one cell: seconds of timed calls (and of evictions between them)."""

    seconds: float = 0.25


class Stage(Protocol):
    """What happens around the call of a sample that is checked."""

    def place(self, calls: int) -> int:
        """Which of ``calls`` calls it is."""

    def change(self, batch: int) -> None:
        """Give the batch new content and an unwritten output."""

    def keep(self, batch: int, result: object) -> None:
        """Take what the call returned or wrote."""


class NoStage:
    """Nothing is checked: for comparing clocks."""

    def place(self, calls: int) -> int:
        """The last."""
        return calls - 1

    def change(self, batch: int) -> None:
        """Leave it as it is."""

    def keep(self, batch: int, result: object) -> None:
        """Take nothing."""


@dataclass
class Timed:
    """Seconds per call of each sample, of the single checked call in each, and of all calls together."""

    samples: list[float] = field(default_factory=list)
    checked: list[float] = field(default_factory=list)
    total: float = 0.0


class Clock:
    """Times calls by ``now``, a reference that nobody can replace any more."""

    def __init__(self, now: Callable[[], int] = time.perf_counter_ns) -> None:
        """``now`` gives nanoseconds."""
        self._now = now

    def time_calls(self, calls: Sequence[Call], effort: Effort, evict: Evict | None, stage: Stage) -> Timed:
        """Time ``calls`` in rotation; ``evict(i)`` precedes call ``i`` when given."""
        timed = Timed()
        turn = itertools.cycle(range(len(calls)))
        first = self._once(calls[next(turn)])[0]
        timed.total += first
        if first > LONG_CALL_SECONDS:
            return self._one_by_one(timed, calls, effort, evict, stage, turn, fewest=1)
        for _ in range(WARMUP_CALLS):
            timed.total += self._once(calls[next(turn)])[0]
        if evict is not None:
            return self._one_by_one(timed, calls, effort, evict, stage, turn, fewest=FEWEST_SAMPLES)
        return self._stretches(timed, calls, effort, stage)

    def _once(self, call: Call) -> tuple[float, object]:
        now = self._now
        start = now()
        result = call()
        return (now() - start) * 1e-9, result

    def _one_by_one(
        self,
        timed: Timed,
        calls: Sequence[Call],
        effort: Effort,
        evict: Evict | None,
        stage: Stage,
        turn: itertools.cycle[int],
        fewest: int,
    ) -> Timed:
        samples, end = timed.samples, self._now() + effort.seconds * 1e9
        while len(samples) < fewest or (self._now() < end and len(samples) < MOST_SAMPLES):
            i = next(turn)
            stage.change(i)
            if evict is not None:
                evict(i)
            seconds, result = self._once(calls[i])
            stage.keep(i, result)
            del result
            samples.append(seconds)
            timed.checked.append(seconds)
            timed.total += seconds
        return timed

    def _stretches(self, timed: Timed, calls: Sequence[Call], effort: Effort, stage: Stage) -> Timed:
        """Samples of ``inner`` calls each, ``inner`` such that a stretch lasts at least ``STRETCH_SECONDS``."""
        inner = 1
        while (elapsed := self._stretch(calls, 0, inner, NoStage())[0]) < STRETCH_SECONDS:
            inner = max(2 * inner, int(inner * STRETCH_SECONDS / max(elapsed, 1e-7)) + 1)
        samples, end, offset = timed.samples, self._now() + effort.seconds * 1e9, 0
        while len(samples) < FEWEST_SAMPLES or (self._now() < end and len(samples) < MOST_SAMPLES):
            elapsed, checked = self._stretch(calls, offset, inner, stage)
            samples.append(elapsed / inner)
            timed.checked.append(checked)
            timed.total += elapsed
            offset = (offset + inner) % len(calls)
        return timed

    def _stretch(self, calls: Sequence[Call], offset: int, inner: int, stage: Stage) -> tuple[float, float]:
        """Seconds of ``inner`` calls from ``offset``, and of the one among them that ``stage`` checks."""
        now, place = self._now, stage.place(inner)
        batch = (offset + place) % len(calls)
        run = [calls[(offset + i) % len(calls)] for i in range(inner)]
        before, checked, after = run[:place], run[place], run[place + 1 :]
        start = now()
        for call in before:
            call()
        paused = now()
        stage.change(batch)
        resumed = now()
        result = checked()
        single = now()
        for call in after:
            call()
        end = now()
        stage.keep(batch, result)
        return ((paused - start) + (end - resumed)) * 1e-9, (single - resumed) * 1e-9


def time_calls(calls: Sequence[Call], effort: Effort, evict: Evict | None) -> list[float]:
    """Seconds per call of each sample, without a check."""
    return Clock().time_calls(calls, effort, evict, NoStage()).samples
