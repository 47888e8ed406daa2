"""A branch with a slow commit in its middle, as asv measured it (``nox -s slowed_commit``): is that commit named?"""

import json
from pathlib import Path

import pytest

from fffbench.analysis.history import history
from fffbench.report import render
from fffbench.results.store import load

MEASURED = Path(__file__).parents[2] / "results" / "calibration" / "slowed_branch"
BRANCH = json.loads((MEASURED / "branch.json").read_text())


@pytest.fixture(scope="module")
def series():
    return history(load(MEASURED).history)


def test_the_slow_commit_lies_in_the_middle_of_the_branch(series):
    assert [point.commit for point in series[0].points] == BRANCH["commits"]
    assert BRANCH["commits"].index(BRANCH["slow"]) == len(BRANCH["commits"]) // 2


def test_the_history_names_the_slow_commit_and_the_benchmark_and_no_other(series):
    steps = {item.name: item.steps for item in series if item.steps}
    assert list(steps) == ["kernels.Optimised.time_pass, fff_cpu, 16384"]
    ((step,),) = steps.values()
    assert step.commit == BRANCH["slow"]
    assert step.ratio > 1.3
    assert step.stands
    assert not step.control_moved


def test_no_control_moved(series):
    assert {item.name for item in series if item.control}
    assert all(item.sentence == "no step" for item in series if item.control)


def test_the_page_says_it(tmp_path):
    text = render(load(MEASURED), tmp_path).with_name("all.html").read_text(encoding="utf-8")
    assert f"slower from {BRANCH['slow'][:8]} on" in text


def test_asvs_own_step_detection_lists_the_same_commit():
    """What ``asv publish`` does with the series."""
    detect = pytest.importorskip("asv.step_detect")
    (points,) = [
        item.points
        for item in history(load(MEASURED).history)
        if item.name.endswith("Optimised.time_pass, fff_cpu, 16384")
    ]
    steps = detect.detect_steps([point.value for point in points], [2 / (point.high - point.low) for point in points])
    _, _, jumps = detect.detect_regressions(steps, 0.05)
    assert BRANCH["commits"].index(BRANCH["slow"]) in {after for _, after, _, _ in jumps}
