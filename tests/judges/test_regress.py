"""Does the whole comparison answer rightly when its workers measure what we planted, and survive interruptions?"""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from fffbench.errors import UserError
from fffbench.regress import run
from fffbench.regress.run import Builds
from fffbench.regress.suite import suites

CPU, CUDA = suites()
CASES = CPU.cases[:3]
DRIFT, TWIN_CONTROL, PLANTED_CONTROL = CPU.drift, CPU.twin, CPU.planted
SHORT = replace(CPU, cases=CASES)


class Workers:
    """Stands in for fresh workers: block noise of 2 %, and what was planted by case and side."""

    def __init__(self, planted=None, stop_after=None, refused=None, sd=0.02):
        self.planted = {(control.name, "planted"): 0.2 for control in (CPU.planted, CUDA.planted)} | (planted or {})
        self.rng = np.random.default_rng(3)
        self.stop_after, self.refused, self.sd = stop_after, refused or {}, sd
        self.requests = []

    def __call__(self, request):
        if self.stop_after is not None and len(self.requests) == self.stop_after:
            raise KeyboardInterrupt
        self.requests.append(request)
        times, reasons = {}, {}
        for case in request["cases"]:
            if case["name"] in self.refused:
                reasons[case["name"]] = {"base": self.refused[case["name"]]}
                continue
            machine = math.exp(self.rng.normal(0, 0.15))  # common to both sides: must cancel
            times[case["name"]] = {
                side: [
                    1e-5 * machine * (1 + self.planted.get((case["name"], side), 0)) * math.exp(effect)
                    for effect in [self.rng.normal(0, self.sd / 2**0.5)] * 6
                ]
                for side in case["sides"]
            }
        return json.loads(json.dumps({"times": times, "reasons": reasons}))


@pytest.fixture
def builds(tmp_path):
    return Builds(*(tmp_path / name / "_cpu.so" for name in ("base", "head", "twin", "planted")))


def compared(builds, tmp_path, workers, **options):
    return run.compare(builds, tmp_path / "data", tmp_path / "journals", suite=SHORT, work=workers, **options)


def test_two_builds_of_the_same_source_answer_none(builds, tmp_path):
    outcome = compared(builds, tmp_path, Workers())
    assert outcome.answer == "none"
    assert set(outcome.cases.values()) == {"none"}


def test_a_planted_regression_is_found_in_its_case_alone(builds, tmp_path):
    outcome = compared(builds, tmp_path, Workers({(CASES[1].name, "head"): 0.15}))
    assert outcome.answer == "regression"
    assert outcome.cases == {CASES[0].name: "none", CASES[1].name: "regression", CASES[2].name: "none"}
    assert outcome.bounds[CASES[1].name].ratio == pytest.approx(1.15, abs=0.03)


def test_a_faster_head_answers_none(builds, tmp_path):
    assert compared(builds, tmp_path, Workers({(CASES[0].name, "head"): -0.3})).answer == "none"


@pytest.mark.parametrize("moved", [0.25, -0.25])
def test_a_drift_control_that_moves_makes_it_inconclusive_and_is_named(builds, tmp_path, moved):
    outcome = compared(builds, tmp_path, Workers({(DRIFT.name, "head"): moved, (CASES[0].name, "head"): 0.3}))
    assert outcome.answer == "inconclusive"
    assert "drift" in outcome.reason


def test_a_control_pair_that_differs_makes_it_inconclusive(builds, tmp_path):
    outcome = compared(builds, tmp_path, Workers({(TWIN_CONTROL.name, "twin"): 0.2}))
    assert outcome.answer == "inconclusive"
    assert "control pair" in outcome.reason


def test_a_check_that_cannot_see_its_own_planted_slow_down_is_inconclusive(builds, tmp_path):
    outcome = compared(builds, tmp_path, Workers({(PLANTED_CONTROL.name, "planted"): 0.0}))
    assert outcome.answer == "inconclusive"
    assert "planted" in outcome.reason


def test_only_undecided_cases_are_measured_after_the_first_look(builds, tmp_path):
    workers = Workers({(CASES[2].name, "head"): 0.04})
    outcome = compared(builds, tmp_path, workers)
    names = [{case["name"] for case in request["cases"]} for request in workers.requests]
    assert all(case.name in names[0] for case in CASES)
    assert names[10] == {CASES[2].name, DRIFT.name}
    assert len(outcome.blocks[CASES[0].name]) == 10
    assert len(outcome.blocks[CASES[2].name]) > 10


def test_the_sides_take_turns_at_being_first(builds, tmp_path):
    workers = Workers()
    compared(builds, tmp_path, workers)
    assert len({request["cases"][0]["sides"][0] for request in workers.requests}) == 2


def test_an_interrupted_run_continues_with_the_blocks_it_has(builds, tmp_path):
    first = Workers(stop_after=7)
    with pytest.raises(KeyboardInterrupt):
        compared(builds, tmp_path, first)
    second = Workers()
    outcome = compared(builds, tmp_path, second)
    assert second.requests[0]["block"] == 7
    assert len(second.requests) == 3
    assert all(len(blocks) == 10 for blocks in outcome.blocks.values())
    assert not list((tmp_path / "journals").iterdir())


def test_another_build_does_not_continue_the_blocks_of_this_one(builds, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        compared(builds, tmp_path, Workers(stop_after=4))
    other = Builds(builds.base, tmp_path / "other" / "_cpu.so", builds.twin, builds.planted)
    workers = Workers()
    compared(other, tmp_path, workers)
    assert workers.requests[0]["block"] == 0


def test_a_budget_that_ends_early_is_inconclusive_and_keeps_the_blocks(builds, tmp_path):
    said = []
    outcome = compared(builds, tmp_path, Workers(), deadline=0.0, say=said.append)
    assert outcome.answer == "inconclusive"
    assert "budget" in said[-1]
    assert list((tmp_path / "journals").iterdir())


def test_a_case_the_base_does_not_have_is_said_and_the_others_decided(builds, tmp_path):
    outcome = compared(builds, tmp_path, Workers(refused={CASES[0].name: "no such parameter"}))
    assert outcome.skipped == {CASES[0].name: "base: no such parameter"}
    assert list(outcome.cases) == [case.name for case in CASES[1:]]
    assert outcome.answer == "none"


def test_a_worker_that_fails_is_one_line_for_the_user(tmp_path):
    with pytest.raises(UserError, match="a worker failed"):
        run.run_worker({"packages": [], "data": "", "seconds": 0.01, "block": 0, "sides": [], "cases": [{}]})


def test_the_cuda_kernels_go_through_the_same_plan_with_controls_of_their_own(builds, tmp_path):
    workers = Workers({(CUDA.cases[0].name, "head"): 0.1})
    outcome = run.compare(builds, tmp_path / "data", tmp_path / "journals", suite=CUDA, work=workers)
    assert outcome.answer == "regression"
    assert [name for name, answer in outcome.cases.items() if answer == "regression"] == [CUDA.cases[0].name]
    assert [control.name for control in outcome.controls] == [
        "drift (CUDA)",
        "control pair (CUDA)",
        "planted slow-down (CUDA)",
    ]
    assert all(control.passed for control in outcome.controls)
    assert {request["device"] for request in workers.requests} == {"cuda"}


@pytest.mark.parametrize("control", [CUDA.drift, CUDA.twin])
def test_a_cuda_control_that_moves_makes_it_inconclusive(builds, tmp_path, control):
    side = "head" if control is CUDA.drift else "twin"
    workers = Workers({(control.name, side): 0.2})
    outcome = run.compare(builds, tmp_path / "data", tmp_path / "journals", suite=CUDA, work=workers)
    assert outcome.answer == "inconclusive"
    assert "(CUDA)" in outcome.reason
