"""On how many threads did a cell run, and does its label hold?

Too few threads are judged by those that ran or waited for a CPU: so a machine that others use as well does not make two
threads one, and a library that never starts its second thread is found out. Too many are judged by CPU time over wall
time alone: who had no more CPU than the label says had no advantage. Short calls are repeated until they fill a window.

Refused is what would flatter a conditional layer: a dense layer on fewer threads than its label says, a conditional
layer on more. The other direction is only stored: it can but harm the conditional side.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

Calls = Sequence[Callable[[], object]]

WINDOW_SECONDS = 0.1  # 25 of the scheduler's ticks
THREAD_CPU_CLOCK = (
    6  # Linux: a clock's number is made of a thread's and this (CPUCLOCK_PERTHREAD_MASK | CPUCLOCK_SCHED)
)
LONG_SECONDS = 0.2  # calls this long are watched while they are timed; evictions between them weigh nothing
# Below this a library rightly does not wake its threads: waking and joining them takes 5 to 20 us.
SHORT_SECONDS = 100e-6
ONE = 1.2  # up to here it ran on one thread; measured on busy machines: 1.01 to 1.05
DENSE_SHARE = 0.6  # of its label a dense layer must have used; measured: 0.93 to 1.0, 0.5 for one thread of two
MORE, MORE_SHARE = 0.25, 0.1  # beyond its label, in threads and as a share, that a conditional layer may have used
PROBE_SIDE = 384  # of a product that any library divides among its threads: 2 ms on one of them


@dataclass(frozen=True)
class Threads:
    """Mean numbers of threads: that ran, by CPU time over wall time, and that ran or waited for a CPU."""

    ran: float
    active: float


@dataclass(frozen=True)
class Clocks:
    """Nanoseconds by thread, running and waiting to run, and of the wall."""

    running: dict[str, int]
    waiting: dict[str, int]
    wall: int

    def until(self, later: Clocks) -> Threads:
        """The threads between the two readings; no thread counts for more than one."""
        wall = max(1, later.wall - self.wall)
        ran = active = 0.0
        for thread, running in later.running.items():
            ran_here = min(wall, running - self.running.get(thread, 0))
            # a wait is counted when it ends, so a part of it may lie before the first reading
            active += min(wall, ran_here + later.waiting[thread] - self.waiting.get(thread, 0))
            ran += ran_here
        return Threads(ran / wall, active / wall)


def read() -> Clocks:
    """The clocks of this process's threads; where the kernel has none of each, its CPU time as that of one."""
    running, waiting = {}, {}
    for folder in Path("/proc/self/task").glob("*"):
        try:
            waited = int((folder / "schedstat").read_text().split()[1])
            # the thread's CPU clock is brought up to date when it is read; the file's is as old as the last tick
            ran = time.clock_gettime_ns((~int(folder.name) << 3) | THREAD_CPU_CLOCK)
        except (OSError, ValueError, IndexError):  # it has just ended, or there is no such file here
            continue
        running[folder.name], waiting[folder.name] = ran, waited
    if not running:
        running, waiting = {"all": time.process_time_ns()}, {"all": 0}
    return Clocks(running, waiting, time.perf_counter_ns())


def observe(calls: Calls, seconds: float = WINDOW_SECONDS) -> tuple[Threads, float]:
    """Threads that ``calls``, in turn for ``seconds``, ran on, and the seconds of one call."""
    count, before = 0, read()
    end = before.wall + seconds * 1e9
    while count == 0 or time.perf_counter_ns() < end:
        calls[count % len(calls)]()
        count += 1
    after = read()
    return before.until(after), (after.wall - before.wall) * 1e-9 / count


def of_cell(calls: Calls, call_seconds: float, before: Clocks, after: Clocks) -> Threads:
    """Threads that ``calls`` of ``call_seconds`` ran on: as seen around their timing, or in a window of their own."""
    if call_seconds >= LONG_SECONDS:
        return before.until(after)
    return observe(calls)[0]


def possible() -> float:
    """Threads that a product of torch's runs on in this process now, which every library divides."""
    import torch

    a = torch.ones(PROBE_SIDE, PROBE_SIDE)
    out = torch.empty_like(a)
    return observe([lambda: torch.mm(a, a, out=out)])[0].active


def does_not_hold(
    family: str, label: int, seen: Threads, call_seconds: float, can: Callable[[], float] = possible
) -> str | None:
    """Why a time on the threads ``seen`` must not be stored under ``label`` threads, or None."""
    if family in ("cmm", "fff"):
        if seen.ran > label + max(MORE, MORE_SHARE * label):
            return f"labelled {label} threads, it ran on {seen.ran:.1f}: its time belongs to more threads"
        return None
    enough = DENSE_SHARE * label
    if family != "dense" or label == 1 or call_seconds < SHORT_SECONDS or seen.active >= enough:
        return None
    if seen.active > ONE and can() >= enough:  # the library's own choice: it was given them all
        return None
    return f"labelled {label} threads, it ran on {seen.active:.1f}: a speed-up over it would be one over fewer threads"
