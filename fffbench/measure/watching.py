"""What did another process do between two moments, by this one's clock and by the system's account of it?"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Reading:
    """Seconds by the judge's clock and processor seconds of the watched process.

    Of each of its threads, seconds on a processor and seconds ready without one; of each process that it has started,
    processor seconds: one that shares memory works as a thread does.
    """

    wall: float
    cpu: float
    threads: dict[str, tuple[float, float]]
    late: float = 0.0  # seconds that the judge itself was ready without a processor
    helpers: dict[int, float] = field(default_factory=dict)

    def since(self, before: Reading) -> Reading:
        """The time between two readings."""
        threads = {
            name: (now[0] - then[0], now[1] - then[1])
            for name, now in self.threads.items()
            for then in [before.threads.get(name, (0.0, 0.0))]
        }
        helpers = {pid: max(0.0, now - before.helpers.get(pid, 0.0)) for pid, now in self.helpers.items()}
        return Reading(self.wall - before.wall, self.cpu - before.cpu, threads, self.late - before.late, helpers)

    @property
    def undisturbed(self) -> float:
        """Without what its most hindered thread, and the judge, waited while others had the cores."""
        return max(1e-9, self.wall - self.late - max((waited for _, waited in self.threads.values()), default=0.0))

    @property
    def parallel(self) -> float:
        """How many threads shared the work, however seldom they had a core: all their time over the busiest one's."""
        busiest = max((*(ran for ran, _ in self.threads.values()), *self.helpers.values()), default=0.0)
        return self._worked / busiest if busiest > 0 else 1.0

    def at_least(self, threads: int) -> float:
        """What it would have taken on ``threads`` cores of its own: neither waiting nor too many threads shorten it."""
        return max(self.undisturbed, self._worked / threads)

    @property
    def _worked(self) -> float:
        return self.cpu + sum(self.helpers.values())


def read(pid: int, *, with_helpers: bool = False) -> Reading:
    """This process's clock, and the system's account of ``pid``; of all other processes below this one if asked."""
    helpers = {helper: _cpu(helper) for helper in _below() - {pid}} if with_helpers else {}
    tasks = {path.parent.name: _schedstat(path) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")}
    return Reading(time.perf_counter(), _cpu(pid), tasks, _schedstat(Path("/proc/self/schedstat"))[1], helpers)


def _cpu(pid: int) -> float:
    try:
        return time.clock_gettime((~pid << 3) | 2)  # clock_getcpuclockid's number for a process
    except OSError:
        return 0.0


def _below() -> set[int]:
    """The processes below this one; none where the system keeps no list of children."""
    found: set[int] = set()
    fresh = {os.getpid()}
    while fresh:
        lists = [path for pid in fresh for path in Path(f"/proc/{pid}/task").glob("*/children")]
        fresh = {child for path in lists for child in _children(path)} - found
        found |= fresh
    return found


def _children(path: Path) -> list[int]:
    try:
        return [int(word) for word in path.read_text().split()]
    except OSError:  # it has ended meanwhile
        return []


def _schedstat(path: Path) -> tuple[float, float]:
    """Seconds that a thread ran, and that it was ready and had no core."""
    try:
        ran, waited, _ = path.read_text().split()
        return int(ran) * 1e-9, int(waited) * 1e-9
    except (OSError, ValueError):
        return 0.0, 0.0
