"""Is a planted step found and a lone outlier not one?"""

from __future__ import annotations

import random

import pytest
from synthetic import COMMITS, CONTROL, OPTIMISED, write_history

from fffbench.analysis.history import history
from fffbench.results.store import load


def noisy(levels, seed=1, noise=0.02):
    rng = random.Random(seed)
    return [level * rng.lognormvariate(0, noise) for level in levels]


def of(tmp_path, optimised, control=None):
    series = {OPTIMISED: [[value, 1.0] for value in optimised]}
    if control:
        series[CONTROL] = [[value, 1.0] for value in control]
    write_history(tmp_path, series)
    found = history(load(tmp_path).history)
    return {(item.benchmark, item.params[1][1]): item for item in found}[OPTIMISED, "1"]


def test_a_planted_step_is_found_at_its_commit(tmp_path):
    series = of(tmp_path, noisy([1] * 8 + [1.3] * 8))
    (step,) = series.steps
    assert step.commit == COMMITS[8]
    assert step.ratio == pytest.approx(1.3, rel=0.05)
    assert step.stands
    assert "slower from" in series.sentence


def test_a_step_that_was_won_back_does_not_stand(tmp_path):
    series = of(tmp_path, noisy([1] * 9 + [1.5] * 5 + [1] * 2))
    assert [step.commit for step in series.steps] == [COMMITS[9], COMMITS[14]]
    assert not any(step.stands for step in series.steps)


def test_a_gain_is_a_step_too(tmp_path):
    series = of(tmp_path, noisy([1] * 8 + [0.6] * 8))
    (step,) = series.steps
    assert not step.stands
    assert "faster from" in series.sentence


@pytest.mark.parametrize("height", [1.3, 2, 5, 0.3])
@pytest.mark.parametrize("place", [3, 8])
def test_a_lone_outlier_is_not_a_step(tmp_path, height, place):
    levels = [1.0] * 16
    levels[place] = height
    assert of(tmp_path, noisy(levels)).steps == ()


def test_a_slow_commit_that_the_next_one_mends_is_named_as_standing_alone(tmp_path):
    series = of(tmp_path, noisy([1, 1, 1, 1.5, 1, 1, 1], noise=0.01))
    assert series.steps == ()
    ((commit, ratio),) = series.alone
    assert commit == COMMITS[3]
    assert ratio == pytest.approx(1.5, rel=0.05)
    assert f"slower at {COMMITS[3][:8]} alone" in series.sentence


def test_noise_alone_names_few_commits(tmp_path):
    found = [of(tmp_path / str(seed), noisy([1] * 30, seed, 0.05)).alone for seed in range(20)]
    assert sum(map(bool, found)) <= 1


def test_two_noisy_commits_before_a_step_are_one_level(tmp_path):
    (step,) = of(tmp_path, [1.0, 1.13, 1.61, 1.62, 1.6]).steps
    assert step.commit == COMMITS[2]


def test_a_newest_commit_off_its_level_is_named_but_no_step_yet(tmp_path):
    series = of(tmp_path, [1.0, 1.01, 1.8])
    assert series.steps == ()
    assert series.newest == pytest.approx(1.79, rel=0.01)
    assert "alone so far" in series.sentence


def test_the_next_commit_makes_it_a_step(tmp_path):
    (step,) = of(tmp_path, [1.0, 1.01, 1.8, 1.82]).steps
    assert step.commit == COMMITS[2]


def test_noise_alone_makes_few_steps(tmp_path):
    found = [of(tmp_path / str(seed), noisy([1] * 30, seed, 0.05)).steps for seed in range(20)]
    assert sum(map(bool, found)) <= 1


def test_a_step_of_the_control_says_that_the_machine_moved(tmp_path):
    jump = [1] * 8 + [1.3] * 8
    (step,) = of(tmp_path, noisy(jump), control=noisy(jump, 2)).steps
    assert step.control_moved
    (step,) = of(tmp_path / "still", noisy(jump), control=noisy([1] * 16, 2)).steps
    assert not step.control_moved
