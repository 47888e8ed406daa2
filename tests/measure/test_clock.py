"""The clock: what it counts is what was called."""

import time

import pytest

from fffbench.devices.clock import Effort, time_calls


def spin(seconds):
    def call():
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            pass

    return call


@pytest.mark.parametrize("seconds", [20e-6, 2e-3])
@pytest.mark.parametrize("evict", [None, lambda _: None])
def test_a_call_of_known_length_is_measured_as_long_as_it_is(seconds, evict):
    samples = sorted(time_calls([spin(seconds)], Effort(0.05), evict))
    assert samples[0] >= seconds
    assert samples[len(samples) // 2] < 1.25 * seconds + 2e-6


def test_calls_rotate_and_each_is_evicted_just_before_it_runs():
    log = []
    calls = [lambda i=i: log.append(("call", i)) for i in range(3)]
    time_calls(calls, Effort(0.001), lambda i: log.append(("evict", i)))
    timed = log[4:]  # after the first call and three warm-ups
    assert timed[:4] == [("evict", 1), ("call", 1), ("evict", 2), ("call", 2)]


def test_a_long_call_is_sampled_once_after_its_warm_up():
    assert len(time_calls([spin(0.6)], Effort(0.01), None)) == 1
