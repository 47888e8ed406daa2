"""Are false steps as rare as the level says, are planted ones found, and does one odd commit make none?"""

import numpy as np
import pytest

from fffbench.analysis.change_points import FEWEST_TO_PERMUTE, changes

SERIES = 200
MOST = 18  # of 200 with any step where none is: 10 are expected, more than 18 have a chance of 1 %


def series(commits, noise, seed=3):
    """Times of commits between which nothing changed."""
    rng = np.random.default_rng(seed)
    draw = {"normal": lambda: rng.normal(0, 0.05, commits), "heavy": lambda: 0.03 * rng.standard_t(3, commits)}[noise]
    return [np.exp(draw()) for _ in range(SERIES)]


@pytest.mark.parametrize("noise", ["normal", "heavy"])
@pytest.mark.parametrize("commits", [4, 7, FEWEST_TO_PERMUTE - 1, FEWEST_TO_PERMUTE, 22])
def test_false_steps_are_as_rare_as_the_level_says(commits, noise):
    assert sum(bool(changes(values, 1)) for values in series(commits, noise)) <= MOST


@pytest.mark.parametrize(("commits", "slower", "least"), [(5, 1.5, 45), (8, 1.5, 45), (11, 1.2, 40), (22, 1.2, 48)])
def test_a_planted_slow_down_is_named_by_its_commit_or_one_beside_it(commits, slower, least):
    at = commits // 2
    slowed = [values * np.where(np.arange(commits) < at, 1, slower) for values in series(commits, "normal")[:50]]
    assert sum(any(abs(place - at) <= 1 for place in changes(values, 8)) for values in slowed) >= least


@pytest.mark.parametrize("commits", [4, 8, FEWEST_TO_PERMUTE - 1, FEWEST_TO_PERMUTE, 30])
@pytest.mark.parametrize("place", [0, 1, 2, -2, -1])
def test_one_odd_commit_is_no_step(commits, place):
    values = series(commits, "normal")[0] ** 0.2
    values[place] *= 5
    assert changes(values, 2) == []


def test_a_long_history_takes_little_memory_and_ends():
    rng = np.random.default_rng(1)
    values = np.exp(rng.normal(0, 0.05, 3000)) * np.where(np.arange(3000) < 1500, 1, 1.2)
    (place,) = changes(values, 8)
    assert abs(place - 1500) <= 2


def test_equal_times_have_no_step():
    assert changes([1.0] * 16, 1) == changes([1.0] * 5, 1) == changes([1.0], 1) == []
