"""Does the interval hold what another run, or another host of equal hardware, gives next? Planted effects of both.

The simulation of the study (``benchmarks.studies.replication``) has more kinds; this one is quick.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from fffbench.analysis import stats
from fffbench.analysis.pooling import OWN, Between, Spread
from fffbench.results.medians import Medians

PROCESS_NOISE = 0.025  # log-normal sd between fresh processes of a run
RUN, HOST = 0.03, 0.05  # sd between runs of a host and between hosts, that one side has and the other not
SHARED = 0.1  # sd between runs that both sides share: a clock, a governor
TRIALS = 1000
MONTE_CARLO = 3 * math.sqrt(0.95 * 0.05 / TRIALS)  # three standard deviations of a share of 0.95
TRUTH = 78.0
BOTH = math.hypot(RUN, HOST)


def known(deviation: float, shared: float = SHARED) -> Spread:
    """What a machine knows of its runs that has seen many pairs of them."""
    return Spread(Between(deviation, 50, OWN), Between(math.hypot(deviation, shared), 50, OWN), PROCESS_NOISE**2)


def measured(
    rng: np.random.Generator, hosts: list[str], spread: Spread, *, processes: int = 6, host_sd: float = HOST
) -> tuple[Medians, Medians]:
    """Process medians of baseline and subject in a run on each of ``hosts``."""
    of_host = {host: rng.normal(0, host_sd) for host in dict.fromkeys(hosts)}
    sides: tuple[list[Medians], list[Medians]] = ([], [])
    for number, host in enumerate(hosts):
        shared, own = rng.normal(0, SHARED), rng.normal(0, RUN) + of_host[host]
        for side, centre in zip(sides, (shared + own + math.log(TRUTH), shared), strict=True):
            values = np.exp(centre + rng.normal(0, PROCESS_NOISE, processes)).tolist()
            side.append(Medians.on(values, [host], f"run{number}"))
    above, below = (Medians.together(side, spread) for side in sides)
    return above, below


def held(hosts: list[str], following: str, spread: Spread, host_sd: float) -> float:
    """The share of trials in which the interval of all runs but the last, on ``following``, holds its estimate."""
    rng = np.random.default_rng(len(hosts))
    found = 0
    for _ in range(TRIALS):
        above, below = measured(rng, [*hosts, following], spread, host_sd=host_sd)
        last = (following, f"run{len(hosts)}")
        parts = [
            Medians.together(
                [Medians.on(v, [u[0]], u[1]) for u, v in side.units.items() if (u == last) == is_last], spread
            )
            for is_last in (False, True)
            for side in (above, below)
        ]
        interval, value = stats.ratio_of_medians(*parts[:2]), stats.ratio_of_medians(*parts[2:]).value
        found += interval.low <= value <= interval.high
    return found / TRIALS


@pytest.mark.parametrize("runs", [1, 2, 3, 6])
def test_the_interval_holds_the_next_run_of_a_host_as_often_as_it_says(runs: int) -> None:
    share = held(["a"] * runs, "a", known(RUN), 0.0)
    assert 0.93 <= share <= 0.97


@pytest.mark.parametrize("hosts", [["a"], ["a", "b"], ["a", "a", "b"], ["a", "b", "c", "d"]])
def test_the_interval_holds_another_host_of_a_machine_whose_runs_were_on_several(hosts: list[str]) -> None:
    assert held(hosts, "z", known(BOTH), HOST) >= 0.95 - MONTE_CARLO


def test_the_same_without_the_effect_of_runs_would_hold_far_too_seldom() -> None:
    assert held(["a"] * 3, "a", known(0.0), 0.0) < 0.9


def test_runs_that_agree_by_chance_do_not_promise_more_than_the_machine_does() -> None:
    spread = known(RUN)
    parts = [Medians.on([1.0] * 6, ["a"], f"run{number}") for number in range(2)]
    found = stats.ratio_of_medians(Medians.together(parts, spread), Medians.together(parts, spread))
    assert found.value == pytest.approx(1)
    assert found.high / found.low > math.exp(2 * 1.96 * RUN)


def test_runs_that_disagree_make_the_interval_wider_than_the_machine_says() -> None:
    def width(values: tuple[float, float]) -> float:
        spread = known(RUN)
        above = [Medians.on([value] * 6, ["a"], f"run{number}") for number, value in enumerate(values)]
        below = [Medians.on([1.0] * 6, ["a"], f"run{number}") for number in range(2)]
        found = stats.ratio_of_medians(Medians.together(above, spread), Medians.together(below, spread))
        return math.log(found.high / found.low)

    assert width((1.0, 1.6)) > 1.5 * width((1.0, 1.02))


def test_more_runs_make_the_interval_narrower_and_never_narrower_than_runs_differ() -> None:
    rng = np.random.default_rng(4)

    def width(runs: int) -> float:
        found = [stats.ratio_of_medians(*measured(rng, ["a"] * runs, known(RUN), host_sd=0)) for _ in range(200)]
        return float(np.median([math.log(item.high / item.low) for item in found]))

    assert width(1) > 1.1 * width(2) > 1.1 * width(6) > 2 * 1.96 * RUN


def test_only_runs_that_measured_both_sides_are_compared() -> None:
    spread = known(RUN)
    dense = Medians.together([Medians.on([2.0, 2.1, 2.0], ["a"], "1"), Medians.on([6.0] * 3, ["a"], "2")], spread)
    fff = Medians.together([Medians.on([1.0, 1.05, 1.0], ["a"], "1")], spread)
    alone = Medians.together([Medians.on([2.0, 2.1, 2.0], ["a"], "1")], spread)
    assert stats.ratio_of_medians(dense, fff) == stats.ratio_of_medians(alone, fff)


def test_sides_that_no_run_has_both_of_carry_the_spread_of_times() -> None:
    spread = known(RUN)
    dense = Medians.together([Medians.on([2.0] * 6, ["a"], "1")], spread)
    fff = Medians.together([Medians.on([1.0] * 6, ["a"], "2")], spread)
    found = stats.ratio_of_medians(dense, fff)
    assert found.value == pytest.approx(2)
    assert math.log(found.high / found.low) > 2 * 1.96 * SHARED
    assert found.provisional


def test_the_inverse_of_a_ratio_over_runs_has_the_inverse_interval() -> None:
    dense, fff = measured(np.random.default_rng(5), ["a", "b", "b", "c"], known(BOTH))
    forth, back = stats.ratio_of_medians(dense, fff), stats.ratio_of_medians(fff, dense)
    assert (back.value, back.low, back.high) == pytest.approx(
        (1 / forth.value, 1 / forth.high, 1 / forth.low), rel=1e-3
    )
