"""The plan: when is a case slower, when is it cleared, and what do Holm and the looks cost?"""

import math

import numpy as np
import pytest

from fffbench.analysis import regression
from fffbench.analysis.regression import Plan

PLAN = Plan()


def blocks_of(effect, sd, count, seed=0):
    return np.random.default_rng(seed).normal(math.log1p(effect), sd, count)


def test_a_linear_drift_cancels_inside_a_round():
    drift = [1.0, 1.1, 1.2, 1.3]
    base, head = [math.exp(drift[0]), math.exp(drift[3])], [math.exp(drift[1]), math.exp(drift[2])]
    assert regression.block_log_ratio(base, head) == pytest.approx(0)


def test_one_disturbed_round_does_not_count():
    base, head = [1.0] * 10, [1.1] * 10
    head[4] = 50.0
    assert regression.block_log_ratio(base, head) == pytest.approx(math.log(1.1))


def test_sides_with_unequal_turns_are_refused():
    with pytest.raises(ValueError, match="argument"):
        regression.block_log_ratio([1.0, 1.0], [1.0, 1.0, 1.0, 1.0])


def test_holm_rejects_in_steps_and_stops_at_the_first_that_fails():
    p = np.array([[0.001, 0.02, 0.012, 0.9]])
    assert regression.holm(p, 0.05).tolist() == [[True, True, True, False]]
    assert regression.holm(np.array([0.013, 0.001, 0.2]), 0.02).tolist() == [False, True, False]


@pytest.mark.parametrize(("effect", "answer"), [(0.0, "none"), (0.2, "regression"), (-0.3, "none")])
def test_a_clear_case_is_decided_at_the_first_look(effect, answer):
    codes, looks = regression.replay(blocks_of(effect, 0.01, 40)[None, :], PLAN)
    assert regression.NAMES[codes[0]] == answer
    assert looks[0] == PLAN.looks[0]


def test_nothing_is_decided_between_looks():
    blocks = blocks_of(0.2, 0.01, PLAN.looks[0] - 1)[None, :]
    codes, looks = regression.replay(blocks, PLAN)
    assert codes.tolist() == [regression.OPEN_CODE]
    assert looks.tolist() == [0]


def test_a_slow_down_between_margin_and_tolerance_stays_open():
    blocks = np.full((1, PLAN.limit), math.log(1.04)) + np.tile([0.03, -0.03], PLAN.limit // 2)
    codes, _ = regression.replay(blocks, PLAN)
    assert regression.NAMES[codes[0]] == "inconclusive"


def test_what_lies_beyond_a_decision_is_not_read():
    blocks = np.full((2, PLAN.limit), np.nan)
    blocks[0, :10] = blocks_of(0.0, 0.005, 10)
    blocks[1, :20] = blocks_of(0.04, 0.03, 20)
    codes, looks = regression.replay(blocks[:, :20], PLAN)
    assert regression.NAMES[codes[0]] == "none"
    assert looks[0] == 10


def test_a_case_that_was_called_slower_no_longer_burdens_the_others():
    slow = blocks_of(0.5, 0.001, 15, seed=1)
    p = np.array([regression.p_slower(slow, 0.03), 0.0015])
    gone = np.array([True, False])
    assert regression._holm_without(p, gone, 0.002).tolist() == [False, True]
    assert regression.holm(np.array([1.0, 0.0015]), 0.002).tolist() == [False, False]


def test_false_alarms_of_a_whole_suite_stay_below_the_plan_at_the_margin_itself():
    """The hardest null: every case slower by exactly the margin. 4000 suites; 1 % is 40, and 60 is 3 sigma above."""
    rng = np.random.default_rng(5)
    blocks = rng.normal(math.log1p(PLAN.margin), 0.02, (4000, 7, PLAN.limit))
    codes, _ = regression.replay(blocks, PLAN)
    assert 4 <= (codes == regression.REGRESSION_CODE).any(axis=1).sum() <= 60


def test_a_slow_down_of_the_tolerance_is_cleared_no_more_often_than_the_plan_says():
    rng = np.random.default_rng(6)
    blocks = rng.normal(math.log1p(PLAN.tolerance), 0.03, (4000, 1, PLAN.limit))
    codes, _ = regression.replay(blocks, PLAN)
    assert (codes == regression.NONE_CODE).mean() <= PLAN.miss


def test_identical_blocks_are_no_division_by_zero():
    codes, _ = regression.replay(np.zeros((1, 10)), PLAN)
    assert regression.NAMES[codes[0]] == "none"


def test_bounds_hold_the_ratio_and_narrow_with_blocks():
    few, many = (regression.bounds(blocks_of(0.1, 0.03, count), PLAN) for count in (10, 40))
    assert few.low < few.ratio < few.high
    assert many.high - many.low < few.high - few.low


@pytest.mark.parametrize("looks", [(), (1, 5), (10, 10), (20, 10)])
def test_a_plan_that_cannot_be_carried_out_is_refused(looks):
    with pytest.raises(ValueError, match="looks"):
        Plan(looks=looks)


def test_a_tolerance_within_the_margin_is_refused():
    with pytest.raises(ValueError, match="tolerance"):
        Plan(margin=0.05, tolerance=0.05)


@pytest.mark.parametrize("moved", [0.2, -0.2])
def test_a_drift_control_that_moves_either_way_fails(moved):
    assert not regression.drift_control(list(blocks_of(moved, 0.01, 10)), PLAN).passed
    assert regression.drift_control(list(blocks_of(0.0, 0.01, 10)), PLAN).passed


def test_a_control_without_enough_blocks_has_not_passed():
    short = [0.0] * (PLAN.looks[0] - 1)
    assert not regression.drift_control(short, PLAN).passed
    assert not regression.twin_control(short, PLAN).passed
    assert not regression.planted_control([0.2] * 9, 20, PLAN).passed


def test_a_planted_slow_down_that_is_not_seen_fails():
    assert regression.planted_control(list(blocks_of(0.2, 0.02, 10)), 20, PLAN).passed
    assert not regression.planted_control(list(blocks_of(0.0, 0.02, 10)), 20, PLAN).passed


def test_a_failed_control_makes_any_answer_inconclusive():
    failed = regression.Control("drift", passed=False, said="it moved")
    answer, reason = regression.overall(["none", "regression"], [failed])
    assert answer == "inconclusive"
    assert "drift" in reason


@pytest.mark.parametrize(
    ("cases", "answer"),
    [
        (["none", "none"], "none"),
        (["none", "inconclusive"], "inconclusive"),
        (["inconclusive", "regression"], "regression"),
        ([], "inconclusive"),
    ],
)
def test_the_run_answers_by_its_worst_case(cases, answer):
    assert regression.overall(cases, [])[0] == answer
