"""Is the judge of every interval right? Simulated measurements whose truth is known."""

from __future__ import annotations

import itertools
import math
import time

import numpy as np
import pytest
from scipy import stats as scipy_stats

from fffbench.analysis import ranks, stats

PROCESS_NOISE = 0.025  # log-normal sd between fresh processes, as seen on a shared machine
SAMPLE_NOISE = 0.02  # within a process
SPIKES = 0.03  # share of samples that an interruption slows down
TRIALS = 2000
# three standard deviations of a share of 0.95 seen over TRIALS
MONTE_CARLO = 3 * math.sqrt(0.95 * 0.05 / TRIALS)


def measured(rng: np.random.Generator, time: float, processes: int = 6, samples: int = 20) -> list[list[float]]:
    """Samples by process of a call of ``time`` seconds under the shared noise model."""
    centre = time * np.exp(rng.normal(0, PROCESS_NOISE, (processes, 1)))
    values = centre * np.exp(rng.normal(0, SAMPLE_NOISE, (processes, samples)))
    spiked = rng.random((processes, samples)) < SPIKES
    return np.where(spiked, values * rng.uniform(1.2, 3, values.shape), values).tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize("truth", [1.0, 1.1, 116.0])
def test_interval_of_a_ratio_covers_the_truth_as_often_as_it_says(truth: float) -> None:
    rng = np.random.default_rng([1, int(truth * 10)])
    covered = 0
    for _ in range(TRIALS):
        ratio = stats.ratio(measured(rng, truth), measured(rng, 1.0))
        covered += ratio.low <= truth <= ratio.high
    assert covered / TRIALS >= ranks.LEVEL - MONTE_CARLO


def test_interval_of_a_time_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    truth = float(np.median([stats.estimate_time(measured(rng, 1.0)).value for _ in range(TRIALS)]))
    covered = 0
    for _ in range(TRIALS):
        time = stats.estimate_time(measured(rng, 1.0))
        covered += time.low <= truth <= time.high
    assert covered / TRIALS >= ranks.LEVEL - MONTE_CARLO


def test_identical_code_is_called_different_no_more_often_than_allowed() -> None:
    rng = np.random.default_rng(3)
    alarms = 0
    for _ in range(TRIALS):
        ratio = stats.ratio(measured(rng, 1.0), measured(rng, 1.0))
        alarms += not ratio.low <= 1 <= ratio.high
    assert alarms / TRIALS <= 1 - ranks.LEVEL + MONTE_CARLO


def test_a_planted_ten_percent_is_seen_in_most_runs() -> None:
    rng = np.random.default_rng(4)
    seen = sum(stats.ratio(measured(rng, 1.1), measured(rng, 1.0)).low > 1 for _ in range(500))
    assert seen / 500 > 0.9


def test_one_outlier_process_hardly_moves_the_estimate() -> None:
    rng = np.random.default_rng(5)
    slow, fast = measured(rng, 1.0), measured(rng, 0.01)
    plain = stats.ratio(slow, fast).value
    slow[0] = [10 * sample for sample in slow[0]]
    assert stats.ratio(slow, fast).value == pytest.approx(plain, rel=0.05)


def test_more_samples_of_the_same_processes_do_not_narrow_the_interval() -> None:
    processes = [[1.0], [1.1], [0.9], [1.05], [0.95], [1.0]]
    repeated = [process * 1000 for process in processes]
    assert stats.ratio(processes, processes) == stats.ratio(repeated, repeated)


@pytest.mark.parametrize(("first", "second"), [(1, 1), (2, 3), (3, 3), (4, 6), (6, 6), (7, 5), (10, 10)])
def test_exact_distribution_agrees_with_scipy(first: int, second: int) -> None:
    counts = ranks.mann_whitney_counts(first, second)
    total = math.comb(first + second, first)
    assert sum(counts) == total
    # interleave so that U takes many values, and compare the two-sided exact p-value of scipy at each
    values = range(first + second)
    for chosen in itertools.islice(itertools.combinations(values, first), 0, None, max(1, total // 25)):
        rest = [value for value in values if value not in chosen]
        u = sum(a > b for a in chosen for b in rest)
        lower = sum(counts[: u + 1]) / total
        upper = sum(counts[u:]) / total
        expected = scipy_stats.mannwhitneyu(chosen, rest, method="exact", alternative="two-sided").pvalue
        assert min(1.0, 2 * min(lower, upper)) == pytest.approx(expected, rel=1e-12)


def counted_one_by_one(first: int, second: int) -> list[int]:
    """The distribution of U by counting every ranking."""
    counts = [0] * (first * second + 1)
    for chosen in itertools.combinations(range(first + second), first):
        counts[sum(place - index for index, place in enumerate(chosen))] += 1
    return counts


@pytest.mark.parametrize(("first", "second"), [(1, 4), (4, 1), (2, 5), (5, 3), (6, 6), (7, 4)])
def test_the_generating_function_counts_rankings(first: int, second: int) -> None:
    assert list(ranks.mann_whitney_counts(first, second)) == counted_one_by_one(first, second)


@pytest.mark.parametrize(("first", "second"), [(32, 33), (40, 40), (10, 330), (60, 60)])
def test_many_processes_have_nearly_the_exact_rank_and_never_a_larger_one(first: int, second: int) -> None:
    rank, coverage = ranks.mann_whitney_rank(first, second)
    counts, total, tail, exact = ranks.mann_whitney_counts(first, second), math.comb(first + second, first), 0, -1
    while 1 - 2 * (tail := tail + counts[exact + 1]) / total >= ranks.LEVEL:
        exact += 1
    assert exact - 2 <= rank <= exact
    assert ranks.LEVEL <= coverage < stats.LEVEL + 0.002


@pytest.mark.parametrize("processes", [100, 150, 1100, 3000])
def test_any_number_of_processes_has_its_interval_in_a_moment(processes: int) -> None:
    rng = np.random.default_rng(processes)
    cell = np.exp(rng.normal(0, PROCESS_NOISE, (processes, 1))).tolist()
    begin = time.process_time()
    ratio, alone = stats.ratio(cell, cell), stats.estimate_time(cell)
    assert time.process_time() - begin < 2
    assert ratio.low < ratio.value == 1 < ratio.high
    assert alone.low < alone.value < alone.high
    assert 0.95 <= alone.coverage < 0.97


def test_a_ratio_is_the_same_whichever_way_it_is_selected(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(7)
    one, two = rng.lognormal(0, 1, 61).tolist(), rng.lognormal(0, 1, 47).tolist()
    sorted_whole = stats.ratio_of_medians(one, two)
    monkeypatch.setattr(stats, "PAIRS_AT_ONCE", 0)
    selected = stats.ratio_of_medians(one, two)
    for name in ("value", "low", "high"):
        assert getattr(selected, name) == pytest.approx(getattr(sorted_whole, name), rel=1e-15)


def test_six_against_six_needs_no_full_range() -> None:
    rank, coverage = ranks.mann_whitney_rank(6, 6)
    assert rank == 5  # the critical value of every printed table
    assert coverage == pytest.approx(1 - 2 * 19 / 924)


def test_too_few_processes_give_the_full_range_with_its_true_coverage() -> None:
    ratio = stats.ratio([[2.0], [2.2], [2.1]], [[1.0], [1.1], [1.05]])
    assert (ratio.low, ratio.high) == (2.0 / 1.1, 2.2 / 1.0)
    assert ratio.coverage == pytest.approx(0.9)
    assert ratio.provisional


def test_one_process_a_side_claims_no_coverage() -> None:
    ratio = stats.ratio([[2.0]], [[1.0]])
    assert (ratio.value, ratio.low, ratio.high, ratio.coverage) == (2.0, 2.0, 2.0, 0.0)
    assert ratio.provisional


def test_six_processes_give_a_full_time_interval() -> None:
    time = stats.estimate_time([[float(value)] for value in (3, 1, 2, 6, 5, 4)])
    assert (time.value, time.low, time.high) == (3.5, 1, 6)
    assert time.coverage == pytest.approx(1 - 2 / 64)
    assert not time.provisional


def test_ratio_is_the_inverse_of_the_swapped_ratio() -> None:
    rng = np.random.default_rng(6)
    one, two = measured(rng, 3.0), measured(rng, 1.0)
    forth, back = stats.ratio(one, two), stats.ratio(two, one)
    assert forth.low == pytest.approx(1 / back.high)
    assert forth.high == pytest.approx(1 / back.low)
