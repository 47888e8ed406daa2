"""Do printed intervals hold the next run? On the committed results, on planted ones, and without the run's effect."""

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from synthetic import cell_id, write_run

from benchmarks.studies import replication
from fffbench.report.proofs import sentences
from fffbench.report.published import load_published
from fffbench.results.store import load

RESULTS = Path(__file__).parents[2] / "results"


def holds(summary):
    """The rule of the study."""
    return summary["comparisons"] >= 200 and summary["share"] >= replication.HELD


@pytest.fixture(scope="module")
def left_out():
    return list(replication.left_out(load_published(RESULTS)))


@pytest.fixture(scope="module")
def study(left_out):
    return json.loads(json.dumps(replication.tallied(left_out, replication.printed(load_published(RESULTS)))))


def test_the_intervals_of_the_committed_results_hold_the_run_that_was_left_out(study):
    found = study
    assert holds(found["all"])
    assert len({one["machine"] for one in found["machines"]}) >= 3
    assert all(one["share"] >= replication.HELD for one in found["machines"] if one["comparisons"] >= 50)
    assert found["printed figures"]["median width over before"] <= replication.WIDER


def test_intervals_without_the_effect_of_runs_fail_the_same_test(left_out):
    alone = [replace(one, low=one.before[0], high=one.before[1]) for one in left_out if one.before]
    assert len(alone) >= 200
    assert not holds(replication.summary(alone))


def test_what_is_kept_is_what_the_results_give(study):
    kept = json.loads((RESULTS / replication.KEPT / "replication.json").read_text(encoding="utf-8"))
    assert kept["left out"] == study, "python -m benchmarks.studies.replication --write"
    assert f"{kept['left out']['all']['held']} of {kept['left out']['all']['comparisons']}" in " ".join(
        sentences(RESULTS)
    )


def test_simulated_runs_are_held_as_often_as_the_interval_says():
    low, high = replication.SIMULATED
    assert all(low <= one["share"] <= high for one in replication.simulated())


def test_simulated_runs_are_held_far_too_seldom_without_the_effect_of_runs(monkeypatch):
    monkeypatch.setattr(replication, "MACHINES", 5)
    assert all(one["share"] < replication.SIMULATED[0] for one in replication.simulated(replication.without_runs))


def test_a_planted_machine_whose_runs_differ_is_held_and_by_processes_alone_it_is_not(tmp_path):
    rng = random.Random(7)
    for run in range(6):
        cells = {}
        for batch in (1, 16, 128, 1024, 4096, 16384):
            for name, time in (("dense_linear", 1.0), ("dense_padded", 0.9), ("fff_cpu", 0.02), ("fff_triton", 0.03)):
                centre = time * rng.lognormvariate(0, 0.05)
                cells[cell_id(name, batch=batch)] = [centre * rng.lognormvariate(0, 0.01) for _ in range(6)]
        write_run(tmp_path, cells=cells, run=f"run-{run}", started=f"2026-01-0{run + 1}T00:00:00Z")
    results = load(tmp_path)
    shares = [
        replication.summary(list(replication.left_out(results, interval)))["share"]
        for interval in (replication.pooled, replication.processes_alone)
    ]
    assert shares[0] >= 0.9
    assert shares[1] < 0.6
