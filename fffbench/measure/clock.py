"""How long does one call take, in which state of the caches?

``hot`` and ``warm`` call a calibrated number of times between two readings of
the clock; ``cold`` first evicts every line of the weights (packed copies too),
of the inputs and of the outputs, and times a single call. That is stricter
than rotating over copies: rotation leaves the top of a tree in cache, since a
token touches only a few of its rows. Code and page tables stay as warm as in a
deep model, which runs the same kernel for every layer.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

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


def time_calls(calls: Sequence[Call], effort: Effort, evict: Evict | None) -> list[float]:
    """Seconds per call of each sample; ``calls`` are rotated, ``evict(i)`` precedes call ``i`` when given."""
    calls_in_turn = itertools.cycle(range(len(calls)))
    first = _once(calls[next(calls_in_turn)])
    if first > LONG_CALL_SECONDS:
        return _one_by_one(calls, effort, evict, calls_in_turn, fewest=1)
    for _ in range(WARMUP_CALLS):
        _once(calls[next(calls_in_turn)])
    if evict is not None:
        return _one_by_one(calls, effort, evict, calls_in_turn, fewest=FEWEST_SAMPLES)
    return _stretches(calls, effort)


def _once(call: Call) -> float:
    start = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - start) * 1e-9


def _one_by_one(
    calls: Sequence[Call], effort: Effort, evict: Evict | None, turn: itertools.cycle[int], fewest: int
) -> list[float]:
    samples: list[float] = []
    end = time.perf_counter() + effort.seconds
    while len(samples) < fewest or (time.perf_counter() < end and len(samples) < MOST_SAMPLES):
        i = next(turn)
        if evict is not None:
            evict(i)
        samples.append(_once(calls[i]))
    return samples


def _stretches(calls: Sequence[Call], effort: Effort) -> list[float]:
    """Samples of ``inner`` calls each, ``inner`` such that a stretch lasts at least ``STRETCH_SECONDS``."""
    inner = 1
    while (elapsed := _stretch(calls, 0, inner)) < STRETCH_SECONDS:
        inner = max(2 * inner, int(inner * STRETCH_SECONDS / max(elapsed, 1e-7)) + 1)
    samples: list[float] = []
    end = time.perf_counter() + effort.seconds
    offset = 0
    while len(samples) < FEWEST_SAMPLES or (time.perf_counter() < end and len(samples) < MOST_SAMPLES):
        samples.append(_stretch(calls, offset, inner) / inner)
        offset = (offset + inner) % len(calls)
    return samples


def _stretch(calls: Sequence[Call], offset: int, inner: int) -> float:
    run = [calls[(offset + i) % len(calls)] for i in range(inner)]
    start = time.perf_counter_ns()
    for call in run:
        call()
    return (time.perf_counter_ns() - start) * 1e-9
