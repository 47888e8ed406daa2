"""What did another process do between two moments, by this one's clock and by the system's account of it?"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Reading:
    """Seconds by the judge's clock and processor seconds of the watched process.

    Of each of its threads, seconds on a processor and seconds ready without one.
    """

    wall: float
    cpu: float
    threads: dict[str, tuple[float, float]]
    late: float = 0.0  # seconds that the judge itself was ready without a processor

    def since(self, before: Reading) -> Reading:
        """The time between two readings."""
        threads = {
            name: (now[0] - then[0], now[1] - then[1])
            for name, now in self.threads.items()
            for then in [before.threads.get(name, (0.0, 0.0))]
        }
        return Reading(self.wall - before.wall, self.cpu - before.cpu, threads, self.late - before.late)

    @property
    def undisturbed(self) -> float:
        """Without what its most hindered thread, and the judge, waited while others had the cores."""
        return max(1e-9, self.wall - self.late - max((waited for _, waited in self.threads.values()), default=0.0))

    @property
    def parallel(self) -> float:
        """How many threads shared the work, however seldom they had a core: all their time over the busiest one's."""
        busiest = max((ran for ran, _ in self.threads.values()), default=0.0)
        return self.cpu / busiest if busiest > 0 else 1.0

    def at_least(self, threads: int) -> float:
        """What it would have taken on ``threads`` cores of its own: neither waiting nor too many threads shorten it."""
        return max(self.undisturbed, self.cpu / threads)


def read(pid: int) -> Reading:
    """This process's clock, and the system's account of the process ``pid``."""
    tasks = {path.parent.name: _schedstat(path) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")}
    try:
        cpu = time.clock_gettime((~pid << 3) | 2)  # clock_getcpuclockid's number for a process
    except OSError:
        cpu = 0.0
    return Reading(time.perf_counter(), cpu, tasks, _schedstat(Path("/proc/self/schedstat"))[1])


def _schedstat(path: Path) -> tuple[float, float]:
    """Seconds that a thread ran, and that it was ready and had no core."""
    try:
        ran, waited, _ = path.read_text().split()
        return int(ran) * 1e-9, int(waited) * 1e-9
    except (OSError, ValueError):
        return 0.0, 0.0
