"""Is a process quiet before its timing begins?"""

import threading
import time

from fffbench.measure import idle
from fffbench.measure.idle import LOOK_SECONDS, PATIENCE_SECONDS, await_idle


class Machine:
    """Time that passes only in sleep, while another thread takes all of one core until it stops."""

    def __init__(self, watches_until: float) -> None:
        self.now = self.used = 0.0
        self.watches_until = watches_until

    def sleep(self, seconds: float) -> None:
        self.used += max(0.0, min(seconds, self.watches_until - self.now))
        self.now += seconds

    def wait(self) -> list[str]:
        return await_idle(lambda: self.now, lambda: self.used, self.sleep)


def test_a_quiet_process_waits_for_one_look() -> None:
    machine = Machine(watches_until=0.0)
    assert machine.wait() == []
    assert machine.now == LOOK_SECONDS


def test_openmp_workers_that_watch_for_200_ms_are_waited_for() -> None:
    machine = Machine(watches_until=0.2)
    assert machine.wait() == []
    assert 0.2 <= machine.now <= 0.2 + 3 * LOOK_SECONDS


def test_threads_that_never_rest_are_given_up_on_and_noted() -> None:
    machine = Machine(watches_until=1e9)
    (note,) = machine.wait()
    assert "at work when the timing began: 1.0 cores" in note
    assert PATIENCE_SECONDS <= machine.now <= PATIENCE_SECONDS + 2 * LOOK_SECONDS


def test_a_real_thread_that_computes_is_seen_until_it_ends() -> None:
    def compute() -> None:
        end = time.perf_counter() + 0.3
        while time.perf_counter() < end:
            pass

    other = threading.Thread(target=compute)
    began = time.perf_counter()
    other.start()
    assert await_idle() == []
    assert time.perf_counter() - began >= 0.3 - 2 * idle.LOOK_SECONDS
    other.join()
