"""Is nobody else in this process at work when the timing begins?

The check before the timing runs torch's loops, and OpenMP's workers go on watching for more after the last of them:
Intel's for 200 ms, each on a core. An implementation with threads of its own then shares that core: on 2 cores
``fff_cpu`` took 7.5 ms instead of 2.7 for the first 200 of 250 ms in which it was timed (batch 1024, 65535 neurons). So
every implementation waits alike. There is no wait between calls, so a layer whose workers spin keeps that advantage.
"""

from __future__ import annotations

import time
from collections.abc import Callable

LOOK_SECONDS = 0.02
IDLE_SHARE = 0.05  # of one core: looking about costs less, one watching worker takes all of it
PATIENCE_SECONDS = 1.0  # five times as long as Intel's OpenMP watches by default


def await_idle(
    clock: Callable[[], float] = time.perf_counter,
    cpu_clock: Callable[[], float] = time.process_time,
    sleep: Callable[[float], None] = time.sleep,
) -> list[str]:
    """Return when the process's threads use no processor while this one sleeps; a note if that takes too long."""
    end = clock() + PATIENCE_SECONDS
    while True:
        began, used = clock(), cpu_clock()
        sleep(LOOK_SECONDS)
        share = (cpu_clock() - used) / (clock() - began)
        if share <= IDLE_SHARE:
            return []
        if clock() >= end:
            return [f"other threads of the process were at work when the timing began: {share:.1f} cores"]
