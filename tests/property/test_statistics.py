"""Estimates of time and ratio: what must hold for any processes and samples."""

from itertools import combinations
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fffbench.analysis import ranks, stats

TIME = st.floats(1e-9, 1e3)
MEDIANS = st.lists(TIME, min_size=1, max_size=14)
PROCESSES = st.lists(st.lists(TIME, min_size=1, max_size=5), min_size=1, max_size=14)


@given(PROCESSES)
def test_a_time_lies_in_its_interval_and_the_interval_among_the_processes(processes):
    found = stats.estimate_time(processes)
    medians = sorted(median(samples) for samples in processes)
    assert medians[0] <= found.low <= found.value <= found.high <= medians[-1]
    assert 0 <= found.coverage <= 1
    assert found.provisional == (found.coverage < ranks.LEVEL or len(processes) < stats.FULL_PROCESSES)


@given(PROCESSES, st.randoms(use_true_random=False))
def test_neither_the_order_of_processes_nor_of_samples_matters(processes, random):
    shuffled = [random.sample(samples, len(samples)) for samples in random.sample(processes, len(processes))]
    assert stats.estimate_time(shuffled) == stats.estimate_time(processes)


@given(PROCESSES)
def test_a_second_copy_of_every_sample_tells_nothing_new(processes):
    assert stats.estimate_time([2 * samples for samples in processes]) == stats.estimate_time(processes)


@given(MEDIANS, MEDIANS)
def test_a_ratio_lies_in_its_interval_and_the_interval_among_the_pairs(above, below):
    found = stats.ratio_of_medians(above, below)
    assert min(above) / max(below) <= found.low <= found.value <= found.high <= max(above) / min(below)


@given(MEDIANS, MEDIANS)
def test_the_inverse_ratio_has_the_inverse_interval(above, below):
    found, other = stats.ratio_of_medians(above, below), stats.ratio_of_medians(below, above)
    assert other.coverage == found.coverage
    assert (other.low, other.high) == pytest.approx((1 / found.high, 1 / found.low))


@given(MEDIANS, MEDIANS, st.floats(1e-3, 1e3))
def test_a_slower_machine_changes_no_ratio_and_a_slower_side_the_ratio_by_as_much(above, below, factor):
    found = stats.ratio_of_medians(above, below)
    slower = [factor * value for value in above]
    both = stats.ratio_of_medians(slower, [factor * value for value in below])
    one = stats.ratio_of_medians(slower, below)
    assert (both.low, both.value, both.high) == pytest.approx((found.low, found.value, found.high))
    assert (one.low, one.value, one.high) == pytest.approx(
        (factor * found.low, factor * found.value, factor * found.high)
    )


@given(st.integers(1, 6), st.integers(1, 6))
def test_the_coverage_of_a_ratio_is_what_counting_all_rankings_gives(first, second):
    rank, coverage = ranks.mann_whitney_rank(first, second)
    places = range(first + second)
    rankings = list(combinations(places, first))
    statistic = [sum(a > b for a in chosen for b in set(places) - set(chosen)) for chosen in rankings]
    outside = sum(u <= rank for u in statistic)
    assert coverage == pytest.approx(1 - 2 * outside / len(rankings) if rank or coverage else 0)
