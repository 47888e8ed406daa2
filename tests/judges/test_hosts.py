"""Does the interval over several hosts of equal hardware cover what the hosts have in common? Simulated hosts."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fffbench.analysis import stats
from fffbench.results.medians import Medians

PROCESS_NOISE = 0.025  # log-normal sd between fresh processes of a host
WHOLE_HOST = 0.1  # sd between hosts that both sides share: a clock, a governor
TRIALS = 1000
MONTE_CARLO = 3 * math.sqrt(0.95 * 0.05 / TRIALS)  # three standard deviations of a share of 0.95
TRUTH = 78.0

DIFFERENT = {  # what one side has of a host that the other has not: memory that feeds only one of them
    "none": lambda rng, hosts: np.zeros(hosts),
    "normal": lambda rng, hosts: rng.normal(0, 0.05, hosts),
    "long tails": lambda rng, hosts: rng.laplace(0, 0.04, hosts),
    "even": lambda rng, hosts: rng.uniform(-0.08, 0.08, hosts),
}


def sides(rng: np.random.Generator, different: str, hosts: int, processes: int = 6) -> tuple[Medians, Medians]:
    """Process medians of the baseline and of the subject, on ``hosts`` hosts."""
    shared, own = rng.normal(0, WHOLE_HOST, hosts), DIFFERENT[different](rng, hosts)
    names = [f"{index:012x}" for index in range(hosts) for _ in range(processes)]

    def side(log_times: np.ndarray) -> Medians:
        values = np.exp(np.repeat(log_times, processes) + rng.normal(0, PROCESS_NOISE, hosts * processes))
        return Medians.on(values.tolist(), names)

    return side(shared + own + math.log(TRUTH)), side(shared)


@pytest.mark.parametrize("different", DIFFERENT)
@pytest.mark.parametrize("hosts", [2, 3, 8])
def test_the_interval_of_a_ratio_over_hosts_covers_the_truth_as_often_as_it_says(different: str, hosts: int) -> None:
    rng = np.random.default_rng([hosts, *different.encode()])
    covered = 0
    for _ in range(TRIALS):
        found = stats.ratio_of_medians(*sides(rng, different, hosts))
        covered += found.low <= TRUTH <= found.high
    level = 0.93 if (different, hosts) == ("even", 2) else stats.LEVEL  # the price of Student's: no normal hosts, two
    assert covered / TRIALS >= level - MONTE_CARLO


@pytest.mark.parametrize("hosts", [2, 3])
def test_the_interval_of_a_time_over_hosts_covers_the_truth_as_often_as_it_says(hosts: int) -> None:
    rng = np.random.default_rng([hosts, 1])
    covered = 0
    for _ in range(TRIALS):
        found = stats.time_of_medians(sides(rng, "normal", hosts)[1])
        covered += found.low <= 1 <= found.high
    assert covered / TRIALS >= stats.LEVEL - MONTE_CARLO


def test_processes_counted_as_if_all_were_of_one_host_would_cover_far_too_seldom() -> None:
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(TRIALS):
        dense, fff = sides(rng, "normal", 3)
        found = stats.ratio_of_medians(tuple(dense), tuple(fff))
        covered += found.low <= TRUTH <= found.high
    assert covered / TRIALS < 0.9


def test_hosts_that_agree_by_chance_do_not_promise_more_than_their_processes_allow() -> None:
    noisy = Medians.on([1.0, 1.1, 0.9] * 2, ["a"] * 3 + ["b"] * 3)
    quiet = Medians.on([1.0] * 6, ["a"] * 3 + ["b"] * 3)
    found = stats.ratio_of_medians(noisy, quiet)
    assert found.value == pytest.approx(1)
    assert found.high / found.low > 1.1


def test_more_hosts_make_the_interval_narrower_and_two_say_little() -> None:
    rng = np.random.default_rng(4)

    def width(hosts: int) -> float:
        found = [stats.ratio_of_medians(*sides(rng, "normal", hosts)) for _ in range(200)]
        return float(np.median([math.log(item.high / item.low) for item in found]))

    assert width(2) > 3 * width(4) > 3 * width(12)


def test_only_hosts_that_measured_both_sides_are_compared() -> None:
    dense = Medians.on([2.0, 2.1, 2.0, 6.0, 6.1, 6.2], ["a"] * 3 + ["b"] * 3)
    fff = Medians.on([1.0, 1.05, 1.0], ["a"] * 3)
    found = stats.ratio_of_medians(dense, fff)
    assert found == stats.ratio_of_medians((2.0, 2.1, 2.0), (1.0, 1.05, 1.0))


def test_the_inverse_of_a_ratio_over_hosts_has_the_inverse_interval() -> None:
    dense, fff = sides(np.random.default_rng(5), "normal", 4)
    forth, back = stats.ratio_of_medians(dense, fff), stats.ratio_of_medians(fff, dense)
    assert (back.value, back.low, back.high) == pytest.approx((1 / forth.value, 1 / forth.high, 1 / forth.low))
