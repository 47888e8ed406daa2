"""Is a baseline in doubt as long as a layer with fewer processes may be faster? Planted times throughout."""

from itertools import product

import pytest
from synthetic import MACHINE, cell_id, write_run

from fffbench.analysis.headline import headline
from fffbench.analysis.speedup import speedups
from fffbench.claims.judging import judge_all
from fffbench.devices import DEVICES
from fffbench.implementations.registry import implementations
from fffbench.plan.candidates import CANDIDATES
from fffbench.plan.workload import DTYPES, Shape, Workload
from fffbench.results.record import OUT_OF_BUDGET
from fffbench.results.store import load

OURS, LATER = {cell_id("fff_cpu"): [0.01] * 6}, "2026-05-01T00:00:00Z"
SLOWEST = ("dense_linear", "dense_padded", "dense_tiled", "dense_onednn", "dense_fused", "dense_compiled", "dense_gemm")
ALL = {cell_id(name): [1.9] * 6 for name in SLOWEST}  # every other layer that belongs there
SLOW = ALL | {cell_id("dense_blas3"): [1.2, 1.21, 1.22, 1.2, 1.19, 1.21]}


def write_runs(folder, run="settled", **rest):
    """The same twice: what two runs say alike is settled."""
    for month in (1, 2):
        write_run(folder, run=f"{run}-{month}", started=f"2026-0{month}-02T00:00:00Z", **rest)


def best_dense(folder, threads="same"):
    [row] = [row for row in speedups(load(folder)) if (row.baseline, row.baseline_threads) == ("best-dense", threads)]
    return row


def test_a_baseline_measured_as_often_as_its_rivals_is_beyond_doubt(tmp_path):
    write_runs(tmp_path, cells=OURS | SLOW | {cell_id("dense_onednn"): [1.22, 1.0, 1.3, 1.3, 1.3, 1.3]})
    row = best_dense(tmp_path)
    assert (row.baseline_implementation, row.provisional, row.reason) == ("dense_blas3", False, None)


@pytest.mark.parametrize(
    ("rival", "doubted"),
    [([1.04, 1.24, 1.98], True), ([1.17], False), ([1.25], False), ([2.02], False), ([2.02] * 5, False)],
)
def test_a_layer_with_fewer_processes_is_judged_by_its_fastest_unless_that_is_a_tie(tmp_path, rival, doubted):
    cells = OURS | {cell: times for cell, times in SLOW.items() if "dense_fused" not in cell}
    write_runs(tmp_path, cells=cells)
    write_run(tmp_path, cells=cells | {cell_id("dense_fused"): rival}, run="third", started=LATER)
    row = best_dense(tmp_path)
    assert row.baseline_implementation == "dense_blas3"
    assert row.provisional == doubted
    assert row.speedup == pytest.approx(120, rel=0.02)
    said = "best of 8 tried, 1 not tried: dense_fused; dense_fused has 3 processes, the fastest of which is faster"
    assert row.reason == (f"{said} than dense_blas3" if doubted else None)


def test_a_lucky_process_does_not_make_the_baseline_where_a_thorough_layer_ties_with_it(tmp_path):
    write_run(tmp_path, cells=OURS | SLOW | {cell_id("dense_compiled"): [1.16]})
    assert best_dense(tmp_path).baseline_implementation == "dense_blas3"
    cells = SLOW | {cell_id("dense_compiled"): [0.9]}
    write_run(tmp_path, cells=cells, run="later", started="2026-06-01T00:00:00Z")
    row = best_dense(tmp_path)
    assert (row.baseline_implementation, row.provisional) == ("dense_compiled", True)


@pytest.mark.parametrize("hour", [1.0, 0.1, 10.0])
def test_a_rival_of_another_run_is_compared_through_a_third_layer_however_slow_that_hour_was(tmp_path, hour):
    write_runs(tmp_path, cells=OURS | {cell: times for cell, times in SLOW.items() if "dense_onednn" not in cell})
    there = {cell_id("dense_linear"): [1.9 * hour] * 6, cell_id("dense_onednn"): [1.0 * hour] * 6}
    write_run(tmp_path, cells=there, run="hour", started=LATER)
    row = best_dense(tmp_path)
    assert (row.baseline_implementation, row.runs, row.provisional) == ("dense_onednn", 0, True)


def test_a_rival_that_no_run_connects_with_the_others_was_not_tried(tmp_path):
    cells = {cell: times for cell, times in SLOW.items() if "dense_onednn" not in cell}
    write_runs(tmp_path, cells=OURS | cells)
    write_run(tmp_path, cells={cell_id("dense_onednn"): [1.18] * 6}, run="alone", started=LATER)
    row = best_dense(tmp_path)
    assert (row.baseline_implementation, row.not_measured) == ("dense_blas3", ("dense_onednn",))
    assert "dense_onednn was never measured in a run with dense_blas3" in row.reason


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"machine": "other-cpu-2c-0002"},
        {"cell": cell_id("dense_onednn", threads=2)},
        {"cell": cell_id("dense_onednn", batch=128)},
        {"cell": cell_id("dense_onednn", cache="hot")},
    ],
)
def test_what_another_machine_or_cell_took_raises_no_doubt(tmp_path, elsewhere):
    write_run(tmp_path, cells=OURS | SLOW)
    cell = elsewhere.get("cell", cell_id("dense_onednn"))
    write_run(tmp_path, cells={cell: [0.5] * 6}, run="elsewhere", machine=elsewhere.get("machine", MACHINE))
    rows = [row for row in speedups(load(tmp_path)) if row.speedup is not None and row.baseline_threads == "same"]
    assert {row.reason for row in rows} == {None}


def test_best_dense_says_how_many_it_is_the_best_of_and_which_are_missing(tmp_path):
    cells = {cell: times for cell, times in SLOW.items() if "dense_gemm" not in cell and "dense_tiled" not in cell}
    write_run(tmp_path, cells=OURS | cells, skipped={cell_id("dense_tiled"): OUT_OF_BUDGET})
    row = best_dense(tmp_path)
    assert (row.tried, row.not_measured, row.provisional) == (6, ("dense_gemm", "dense_tiled"), True)
    assert row.reason == "best of 6 tried, 2 not tried: dense_gemm, dense_tiled"
    assert best_dense(tmp_path, "fastest").not_measured == row.not_measured


def test_one_dense_layer_alone_gives_no_headline_without_saying_so(tmp_path):
    write_run(tmp_path, cells=OURS | {cell_id("dense_linear"): [1.0] * 6})
    results = load(tmp_path)
    text = headline(results, speedups(results)).text
    assert "best of 1 tried, 7 not tried" in text
    assert "; provisional)" in text


def test_a_layer_that_cannot_run_there_or_lost_beside_these_layers_elsewhere_is_not_missing(tmp_path):
    cells = {cell: times for cell, times in SLOW.items() if "dense_gemm" not in cell and "dense_tiled" not in cell}
    write_runs(tmp_path, cells=OURS | cells, skipped={cell_id("dense_tiled"): "needs 99 GB"})
    write_run(tmp_path, cells=OURS | SLOW, machine="other-cpu-2c-0002", run="elsewhere")
    [row] = [
        row
        for row in speedups(load(tmp_path))
        if (row.machine, row.baseline, row.baseline_threads) == (MACHINE, "best-dense", "same")
    ]
    assert (row.tried, row.not_measured, row.provisional) == (6, (), False)


def test_what_plan_says_of_the_candidates_is_what_they_say_themselves():
    lacking = ("CUDA", "triton", "NVRTC", "compiler", "not built", "no BLAS", "oneDNN with")
    for item in CANDIDATES:
        for device, dtype, batch in product(DEVICES, DTYPES, (1, 16, 17, 512, 513, 16384, 16385)):
            reason = implementations()[item.name].unsupported(
                Workload(Shape.tree(768, 1, 12), batch, dtype, device=device)
            )
            if reason is None or not any(word in reason for word in lacking):
                assert (reason is None) == item.runs(device, dtype, batch), (item.name, device, dtype, batch, reason)


def test_a_claim_names_the_doubt_about_its_baseline(tmp_path):
    write_run(tmp_path, cells=OURS | SLOW | {cell_id("dense_fused"): [1.04, 1.24, 1.98]})
    [row] = [row for row in judge_all(load(tmp_path)) if row.id == "cpu-78x" and row.conditions == "fair"]
    assert row.provisional
    assert "dense_fused has 3 processes, the fastest of which is faster than dense_blas3" in row.reason


ELSEWHERE, GEMM = "other-cpu-2c-0002", cell_id("dense_gemm")
HERE = {cell: times for cell, times in SLOW.items() if cell != GEMM}
FASTER_THERE = OURS | SLOW | {GEMM: [0.8] * 6}


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
    write_runs(tmp_path, cells=OURS | HERE, skipped=skipped)
    write_runs(tmp_path, cells=FASTER_THERE, machine=ELSEWHERE, run="elsewhere")
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
        "best of 7 tried, 1 not tried: dense_gemm; "
        f"dense_gemm was never measured here, and on {ELSEWHERE} it takes "
        "66.4 % of the time of the fastest layer that was"
    )
    assert here.reason == (reason if doubted else None)


def test_a_layer_that_is_fastest_elsewhere_at_another_number_of_threads_says_nothing_of_this_one(tmp_path):
    write_run(tmp_path, cells=OURS | HERE)
    several = {cell.replace("-1th-", "-8th-"): times for cell, times in FASTER_THERE.items()}
    write_run(tmp_path, cells=several, machine=ELSEWHERE, run="elsewhere")
    row = next(
        row
        for row in speedups(load(tmp_path))
        if (row.machine, row.baseline, row.baseline_threads) == (MACHINE, "best-dense", "same")
    )
    assert row.reason == "best of 7 tried, 1 not tried: dense_gemm"


@pytest.mark.parametrize(("beside", "doubted"), [(SLOW | {GEMM: [1.16] * 6}, False), ({GEMM: [0.8] * 6}, True)])
def test_a_layer_that_ties_elsewhere_is_ruled_out_and_one_that_beat_only_strangers_is_unknown(
    tmp_path, beside, doubted
):
    write_runs(tmp_path, cells=OURS | HERE)
    write_run(tmp_path, cells=OURS | beside, machine=ELSEWHERE, run="elsewhere")
    rows = speedups(load(tmp_path))
    here = [row for row in rows if row.machine == MACHINE and row.baseline == "best-dense"]
    assert {row.provisional for row in here} == {doubted}


@pytest.mark.parametrize(("apart", "chosen", "speedup"), [(0.5, "dense_linear", 50), (1.18, "dense_blas3", 120)])
def test_a_faster_layer_that_no_run_connects_is_not_lost_and_leaves_the_ratio_provisional(
    tmp_path, apart, chosen, speedup
):
    write_runs(tmp_path, cells=OURS | {cell_id("dense_blas3"): [1.2] * 6})
    write_run(tmp_path, cells={cell_id("dense_linear"): [apart] * 6}, run="alone", started=LATER)
    row = best_dense(tmp_path)
    assert (row.baseline_implementation, row.provisional) == (chosen, True)
    assert row.speedup == pytest.approx(speedup, rel=0.02)
