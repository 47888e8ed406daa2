"""Is a baseline in doubt as long as a layer with fewer processes may be faster? Planted times throughout."""

import pytest
from synthetic import MACHINE, cell_id, write_run

from fffbench.analysis.claims import judge_all
from fffbench.analysis.speedup import speedups
from fffbench.plan.workload import Shape
from fffbench.results.record import OUT_OF_BUDGET
from fffbench.results.store import load

OURS, LATER = {cell_id("fff_cpu"): [0.01] * 6}, "2026-05-01T00:00:00Z"
SLOW = {cell_id("dense_blas3"): [1.2, 1.21, 1.22, 1.2, 1.19, 1.21]}


def best_dense(folder, threads="same"):
    [row] = [row for row in speedups(load(folder)) if (row.baseline, row.baseline_threads) == ("best-dense", threads)]
    return row


def test_a_baseline_measured_as_often_as_its_rivals_is_beyond_doubt(tmp_path):
    write_run(tmp_path, cells=OURS | SLOW | {cell_id("dense_onednn"): [1.22, 1.0, 1.3, 1.3, 1.3, 1.3]})
    row = best_dense(tmp_path)
    assert (row.baseline_implementation, row.provisional, row.reason) == ("dense_blas3", False, None)


@pytest.mark.parametrize(
    ("rival", "doubted"),
    [([1.04, 1.24, 1.98], True), ([1.25], False), ([2.02], False), ([2.02] * 5, False)],
)
def test_a_layer_with_fewer_processes_is_judged_by_its_fastest(tmp_path, rival, doubted):
    write_run(tmp_path, cells=OURS | SLOW | {cell_id("dense_fused"): rival})
    row = best_dense(tmp_path)
    assert row.baseline_implementation == "dense_blas3"
    assert row.provisional == doubted
    assert row.speedup == pytest.approx(120, rel=0.02)
    processes = f"{len(rival)} process{'es' * (len(rival) > 1)} in this run"
    assert row.reason == (
        f"dense_fused may be the faster baseline: {processes}, {said(min(rival))}" if doubted else None
    )


def said(time):
    return f"{time:.2f} s in its fastest"


def test_an_unlucky_process_is_told_by_another_run_whose_time_is_not_used(tmp_path):
    write_run(tmp_path, cells=OURS | SLOW | {cell_id("dense_onednn"): [2.02]}, run="unlucky", started=LATER)
    write_run(tmp_path, cells={cell_id("dense_onednn"): [1.03] * 2}, run="steady")
    row = best_dense(tmp_path)
    assert (row.baseline_implementation, row.run) == ("dense_blas3", "unlucky")
    assert row.speedup == pytest.approx(120, rel=0.02)
    assert row.provisional
    assert row.reason == (
        "dense_onednn may be the faster baseline: 1 process in this run, 1.03 s in its fastest in run steady"
    )


def test_a_layer_that_the_run_left_out_raises_the_same_doubt(tmp_path):
    write_run(tmp_path, cells=OURS | SLOW, run="without", started=LATER)
    write_run(tmp_path, cells={cell_id("dense_onednn"): [1.03] * 6}, run="with")
    assert "no process in this run" in best_dense(tmp_path).reason


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"machine": "other-cpu-2c-0002"},
        {"cell": cell_id("dense_onednn", threads=2)},
        {"cell": cell_id("dense_onednn", batch=128)},
        {"cell": cell_id("dense_onednn", cache="hot")},
        {"cell": cell_id("dense_onednn", shape=Shape.dense(768, 4096))},
    ],
)
def test_what_another_machine_or_cell_took_raises_no_doubt(tmp_path, elsewhere):
    write_run(tmp_path, cells=OURS | SLOW)
    cell = elsewhere.get("cell", cell_id("dense_onednn"))
    write_run(tmp_path, cells={cell: [0.5] * 6}, run="elsewhere", machine=elsewhere.get("machine", MACHINE))
    rows = [row for row in speedups(load(tmp_path)) if row.speedup is not None and row.baseline_threads == "same"]
    assert {row.reason for row in rows} == {None}


def test_a_dense_side_on_one_thread_alone_is_doubted_where_two_are_known_to_be_faster(tmp_path):
    write_run(tmp_path, cells=OURS | SLOW, run="one-thread", started=LATER)
    write_run(tmp_path, cells={cell_id("dense_blas3", threads=2): [0.6] * 6}, run="two-threads")
    assert best_dense(tmp_path).reason is None
    assert "dense_blas3 may be the faster baseline" in best_dense(tmp_path, "fastest").reason


def test_of_two_thorough_runs_the_one_beyond_doubt_counts(tmp_path):
    write_run(tmp_path, cells=OURS | SLOW | {cell_id("dense_onednn"): [1.03] * 6}, run="steady")
    write_run(tmp_path, cells=OURS | SLOW | {cell_id("dense_onednn"): [2.02]}, run="unlucky", started=LATER)
    row = best_dense(tmp_path)
    assert (row.run, row.baseline_implementation, row.provisional) == ("steady", "dense_onednn", False)


def test_a_run_beyond_doubt_does_not_hide_a_newer_one_that_says_less(tmp_path):
    faster = {cell_id("dense_blas3"): [1.1] * 6}
    write_run(tmp_path, cells=OURS | SLOW, run="older")
    write_run(tmp_path, cells=OURS | faster | {cell_id("dense_onednn"): [1.05, 1.3]}, run="newer", started=LATER)
    row = best_dense(tmp_path)
    assert (row.run, row.provisional) == ("newer", True)
    assert row.speedup == pytest.approx(110, rel=0.02)


@pytest.mark.parametrize(
    ("commit", "shown"), [("a", "thorough"), ("b", "newer"), ("unknown", "newer"), ("a-dirty", "newer")]
)
def test_of_full_runs_of_one_commit_the_one_with_the_most_processes_counts_and_of_two_commits_the_newer(
    tmp_path, commit, shown
):
    many = {cell: times * 3 for cell, times in (OURS | SLOW).items()}
    write_run(tmp_path, cells=many, run="thorough", commit="a" if commit == "b" else commit)
    write_run(tmp_path, cells=OURS | SLOW, run="newer", started=LATER, commit=commit)
    assert best_dense(tmp_path).run == shown


def test_a_claim_names_the_doubt_about_its_baseline(tmp_path):
    write_run(tmp_path, cells=OURS | SLOW | {cell_id("dense_fused"): [1.04, 1.24, 1.98]})
    [row] = [row for row in judge_all(load(tmp_path)) if row.id == "cpu-78x" and row.conditions == "fair"]
    assert row.provisional
    assert "provisional: dense_fused may be the faster baseline: 3 processes in this run" in row.reason


ELSEWHERE, GEMM = "other-cpu-2c-0002", cell_id("dense_gemm")
FASTER_THERE = OURS | {cell_id("dense_blas3"): [1.2] * 6, GEMM: [0.8] * 6}


@pytest.mark.parametrize(
    ("skipped", "doubted"),
    [
        ({}, True),
        ({GEMM: OUT_OF_BUDGET}, True),
        ({GEMM: "the C++ kernels are not built"}, False),
    ],
)
def test_a_layer_that_is_the_fastest_of_another_machine_and_was_never_tried_here_raises_doubt(
    tmp_path, skipped, doubted
):
    write_run(tmp_path, cells=OURS | SLOW, skipped=skipped)
    write_run(tmp_path, cells=FASTER_THERE, machine=ELSEWHERE, run="elsewhere")
    here, there = (
        next(
            row
            for row in speedups(load(tmp_path))
            if (row.machine, row.baseline, row.baseline_threads) == (machine, "best-dense", "same")
        )
        for machine in (MACHINE, ELSEWHERE)
    )
    assert (here.provisional, there.provisional) == (doubted, False)
    reason = (
        f"dense_gemm may be the faster baseline: never measured here, and on {ELSEWHERE} it takes "
        "66.7 % of the time of the fastest layer that was"
    )
    assert here.reason == (reason if doubted else None)


def test_a_layer_that_is_fastest_elsewhere_at_another_number_of_threads_raises_none(tmp_path):
    write_run(tmp_path, cells=OURS | SLOW)
    several = {cell.replace("-1th-", "-8th-"): times for cell, times in FASTER_THERE.items()}
    write_run(tmp_path, cells=several, machine=ELSEWHERE, run="elsewhere")
    row = next(
        row
        for row in speedups(load(tmp_path))
        if (row.machine, row.baseline, row.baseline_threads) == (MACHINE, "best-dense", "same")
    )
    assert not row.provisional


def test_a_layer_that_is_hardly_faster_elsewhere_or_beats_only_strangers_raises_none(tmp_path):
    hardly = FASTER_THERE | {GEMM: [1.16] * 6}
    for folder, cells in (("hardly", hardly), ("strangers", OURS | {GEMM: [0.8] * 6})):
        write_run(tmp_path / folder, cells=OURS | SLOW)
        write_run(tmp_path / folder, cells=cells, machine=ELSEWHERE, run="elsewhere")
        rows = speedups(load(tmp_path / folder))
        assert not any(row.provisional for row in rows if row.machine == MACHINE and row.baseline == "best-dense")
