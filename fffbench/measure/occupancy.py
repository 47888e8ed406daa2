"""On how many threads did a cell run, and does its label hold?

A thread counts while it runs and while it waits for a CPU: the kernel's two clocks of each thread over the wall time.
So a machine that others use as well does not make two threads one, and a library that never starts its second thread
is found out. Calls are repeated until the clocks, which may lag by a tick (4 ms), are fine enough.

Refused is what would flatter a conditional layer: a dense layer on fewer threads than its label says, a conditional
layer on more. The other direction is only stored: it can but harm the conditional side.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

Calls = Sequence[Callable[[], object]]

WINDOW_SECONDS = 0.1  # 25 ticks of 4 ms: the count is right to 4 % a thread
LONG_SECONDS = 0.2  # calls this long are watched while they are timed; evictions between them weigh nothing
# Below this a library rightly does not wake its threads: waking and joining them takes 5 to 20 us.
SHORT_SECONDS = 100e-6
ONE = 1.2  # up to here it ran on one thread; measured on busy machines: 1.01 to 1.05
DENSE_SHARE = 0.6  # of its label a dense layer must have used; measured: 0.93 to 1.0, 0.5 for one thread of two
MORE, MORE_SHARE = 0.25, 0.1  # beyond its label, in threads and as a share, that a conditional layer may have used
PROBE_SIDE = 384  # of a product that any library divides among its threads: 2 ms on one of them


@dataclass(frozen=True)
class Clocks:
    """Nanoseconds by thread (running and waiting to run), and of the wall."""

    threads: dict[str, int]
    wall: int

    def threads_until(self, later: Clocks) -> float:
        """The mean number of threads that ran, or would have, between the two readings."""
        active = sum(value - self.threads.get(thread, 0) for thread, value in later.threads.items())
        return active / max(1, later.wall - self.wall)


def read() -> Clocks:
    """The clocks of this process's threads; where the kernel has no statistics, its CPU time alone."""
    threads: dict[str, int] = {}
    for folder in Path("/proc/self/task").glob("*"):
        try:
            running, waiting, _ = (folder / "schedstat").read_text().split()
        except (OSError, ValueError):  # it has just ended, or there is no such file here
            continue
        threads[folder.name] = int(running) + int(waiting)
    return Clocks(threads or {"all": time.process_time_ns()}, time.perf_counter_ns())


def observe(calls: Calls, seconds: float = WINDOW_SECONDS) -> tuple[float, float]:
    """Threads that ``calls``, in turn for ``seconds``, ran on, and the seconds of one call."""
    count, before = 0, read()
    end = before.wall + seconds * 1e9
    while count == 0 or time.perf_counter_ns() < end:
        calls[count % len(calls)]()
        count += 1
    after = read()
    return before.threads_until(after), (after.wall - before.wall) * 1e-9 / count


def of_cell(calls: Calls, call_seconds: float, before: Clocks, after: Clocks) -> float:
    """Threads that ``calls`` of ``call_seconds`` ran on: as seen around their timing, or in a window of their own."""
    if call_seconds >= LONG_SECONDS:
        return before.threads_until(after)
    return observe(calls)[0]


def possible() -> float:
    """Threads that a product of torch's runs on in this process now, which every library divides."""
    import torch

    a = torch.ones(PROBE_SIDE, PROBE_SIDE)
    out = torch.empty_like(a)
    return observe([lambda: torch.mm(a, a, out=out)])[0]


def does_not_hold(
    family: str, label: int, ran: float, call_seconds: float, can: Callable[[], float] = possible
) -> str | None:
    """Why a time on ``ran`` threads must not be stored under ``label`` threads, or None."""
    if family in ("cmm", "fff"):
        if ran > label + max(MORE, MORE_SHARE * label):
            return f"labelled {label} threads, it ran on {ran:.1f}: its time belongs to more threads"
        return None
    if family != "dense" or label == 1 or call_seconds < SHORT_SECONDS or ran >= DENSE_SHARE * label:
        return None
    if ran > ONE and can() >= DENSE_SHARE * label:  # the library's own choice: it was given them all
        return None
    return f"labelled {label} threads, it ran on {ran:.1f}: a speed-up over it would be one over fewer threads"
