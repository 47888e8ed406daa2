"""Is every ratio over the baseline its name says, from the records that speak for its two cells?"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from synthetic import STABLE, cell_id, quick_cells, write_run

from fffbench.analysis.speedup import speedups
from fffbench.plan.workload import Shape
from fffbench.results.store import load


def rows_of(tmp_path, cells, **rest):
    write_run(tmp_path, cells=cells, **rest)
    return speedups(load(tmp_path))


def one(rows, **want):
    found = [row for row in rows if all(getattr(row, name) == value for name, value in want.items())]
    assert len(found) == 1, found
    return found[0]


SIX = [0.98, 0.99, 1.0, 1.0, 1.01, 1.02]


def exact(time):
    return [[time * share] for share in SIX]


def test_best_dense_is_the_fastest_with_at_least_as_many_neurons(tmp_path):
    rows = rows_of(
        tmp_path,
        {
            cell_id("dense_linear"): exact(10.0),
            cell_id("dense_padded"): exact(8.0),
            cell_id("dense_linear", shape=Shape.dense(768, 4096)): exact(6.0),
            cell_id("dense_linear", shape=Shape.dense(768, 3072)): exact(2.0),
            cell_id("dense_linear", shape=Shape.dense(1024, 8192)): exact(1.0),
            cell_id("fff_cpu"): exact(0.1),
        },
    )
    best = one(rows, baseline="best-dense", baseline_threads="same")
    assert (best.baseline_n, best.baseline_implementation) == (4096, "dense_linear")
    assert best.speedup == pytest.approx(60, rel=0.02)
    assert best.low < best.speedup < best.high
    assert one(rows, baseline="published", baseline_threads="same").speedup == pytest.approx(100, rel=0.02)
    assert one(rows, baseline="bert", baseline_threads="same").speedup == pytest.approx(20, rel=0.02)


TWO_CORES = {**STABLE, "cores": "2"}


@pytest.mark.parametrize(
    "axis",
    [{"batch": 128}, {"dtype": "bf16"}, {"cache": "hot"}, {"call": "torch"}, {"threads": 2}, {"device": "cuda"}],
)
def test_a_dense_record_that_differs_in_any_axis_is_no_baseline(tmp_path, axis):
    rows = rows_of(tmp_path, {cell_id("dense_linear", **axis): 1.0, cell_id("fff_cpu"): 0.1})
    row = one(rows, baseline="best-dense", baseline_threads="same")
    assert row.speedup is None
    assert "no best-dense baseline" in row.reason


def test_dense_times_serve_every_routing(tmp_path):
    rows = rows_of(tmp_path, {cell_id("dense_linear"): 1.0, cell_id("fff_cpu", routing="single-path"): 0.1})
    assert one(rows, baseline="best-dense", baseline_threads="same").speedup == pytest.approx(10, rel=0.1)


def test_sides_of_different_runs_are_compared_and_said_to_be(tmp_path):
    write_run(tmp_path, cells={cell_id("dense_linear"): exact(1.0)}, run="one")
    rows = rows_of(tmp_path, {cell_id("fff_cpu"): exact(0.1)}, run="two", started="2026-03-01T00:00:00Z")
    row = one(rows, baseline="published", baseline_threads="same")
    assert row.speedup == pytest.approx(10, rel=0.02)
    assert (row.runs, row.provisional, row.reason) == (0, True, None)
    assert row.low < 8
    assert row.high > 12  # both sides have the spread of times between runs


def test_all_runs_with_both_sides_make_a_ratio_none_is_picked(tmp_path):
    both = {cell_id("dense_linear"): exact(1.0), cell_id("fff_cpu"): exact(0.1)}
    write_run(tmp_path, cells=both, run="one")
    write_run(tmp_path, cells=both | {cell_id("fff_cpu"): exact(0.09)}, run="two", started="2026-03-01T00:00:00Z")
    rows = rows_of(tmp_path, {cell_id("fff_cpu"): [0.01] * 5}, run="three", started="2026-04-01T00:00:00Z")
    row = one(rows, baseline="published", baseline_threads="same")
    assert (row.runs, row.processes, row.provisional) == (2, 12, False)
    assert row.speedup == pytest.approx(math.sqrt(10 / 0.09), rel=1e-3)
    assert row.low < 10 < 1 / 0.09 < row.high
    assert row.between_runs_from == "assumed"


def test_of_sources_that_changed_the_newest_runs_count_and_of_unknown_ones_all(tmp_path):
    both = {cell_id("dense_linear"): exact(1.0), cell_id("fff_cpu"): exact(0.1)}
    write_run(tmp_path, cells=both, run="one")
    write_run(tmp_path, cells=both, run="two", started="2026-02-01T00:00:00Z")
    results = load(tmp_path)
    [early, late] = [r for r in results.records if r.cell.implementation == "fff_cpu"]
    for digests, runs in ((("", ""), 2), (("a", "a"), 2), (("a", "b"), 1), (("", "b"), 1)):
        for record, digest in zip((early, late), digests, strict=True):
            object.__setattr__(record, "timed_sources", digest)
        fresh = replace(results)
        assert one(speedups(fresh), baseline="published", baseline_threads="same").runs == runs


def test_fastest_threads_lets_each_side_choose(tmp_path):
    rows = rows_of(
        tmp_path,
        {
            cell_id("dense_linear", threads=1): exact(4.0),
            cell_id("dense_linear", threads=2): exact(2.0),
            cell_id("fff_cpu", threads=1): exact(0.1),
            cell_id("fff_cpu", threads=2): exact(0.2),
        },
    )
    row = one(rows, baseline="best-dense", baseline_threads="fastest")
    assert (row.threads, row.baseline_thread_count) == (1, 2)
    assert row.speedup == pytest.approx(20, rel=0.02)
    same = one(rows, baseline="best-dense", baseline_threads="same", threads=1)
    assert same.speedup == pytest.approx(40, rel=0.02)


@pytest.mark.parametrize("order", [("one", "two"), ("two", "one")])
def test_a_run_over_one_thread_alone_neither_hides_nor_replaces_the_fastest_count(tmp_path, order):
    runs = {
        "two": {cell_id("dense_linear", threads=2): exact(5.0), cell_id("fff_cpu", threads=2): exact(0.1)},
        "one": {cell_id("dense_linear", threads=1): exact(18.0), cell_id("fff_cpu", threads=1): exact(0.2)},
    }
    for month, run in enumerate(order, start=1):
        write_run(tmp_path, cells=runs[run], run=run, started=f"2026-0{month}-01T00:00:00Z", stable=TWO_CORES)
    row = one(speedups(load(tmp_path)), baseline="best-dense", baseline_threads="fastest")
    assert (row.threads, row.baseline_thread_count, row.run) == (2, 2, "two")
    assert row.speedup == pytest.approx(50, rel=0.02)


@pytest.mark.parametrize("order", [("one", "all"), ("all", "one")])
@pytest.mark.parametrize("tie", [0.993, 1.0, 1.007])
def test_a_tie_of_the_thread_counts_on_one_side_does_not_lose_the_other_sides_fastest(tmp_path, order, tie):
    runs = {
        name: {cell_id("dense_gemv", threads=threads): exact(dense), cell_id("fff_cpu", threads=threads): exact(ours)}
        for name, threads, dense, ours in (("one", 1, 2.05, 0.01 * tie), ("all", 16, 0.32, 0.01))
    }
    for month, run in enumerate(order, start=1):
        write_run(tmp_path, cells=runs[run], run=run, started=f"2026-0{month}-01T00:00:00Z", stable={"cores": "16"})
    row = one(speedups(load(tmp_path)), baseline="best-dense", baseline_threads="fastest")
    assert row.baseline_thread_count == 16
    assert row.speedup == pytest.approx(32, rel=0.03)


@pytest.mark.parametrize("side", ["dense_linear", "fff_cpu"])
def test_a_side_not_measured_on_all_threads_has_no_fastest_count_and_the_row_says_which(tmp_path, side):
    cells = {cell_id(name, threads=n): 1.0 for name in ("dense_linear", "fff_cpu") for n in (1, 2)}
    del cells[cell_id(side, threads=2)]
    row = one(rows_of(tmp_path, cells), baseline="best-dense", baseline_threads="fastest")
    assert row.speedup is None
    named = "FFF" if side == "fff_cpu" else "dense"
    assert row.reason == f"fastest number of threads not known: the {named} side was not measured on 2 (threads)"


def test_a_run_over_one_thread_on_a_machine_with_more_is_no_fastest_count(tmp_path):
    cells = {cell_id("dense_linear"): 1.0, cell_id("fff_cpu"): 0.1}
    rows = rows_of(tmp_path, cells, stable={"cores": "16"})
    assert one(rows, baseline="best-dense", baseline_threads="fastest").speedup is None
    assert one(rows, baseline="best-dense", baseline_threads="same").speedup == pytest.approx(10, rel=0.1)


def test_same_primitive_exists_only_where_there_is_one(tmp_path):
    rows = rows_of(tmp_path, {cell_id("dense_bmm"): 8.0, cell_id("cmm_gather_bmm"): 0.2, cell_id("fff_cpu"): 0.1})
    row = one(rows, baseline="same-primitive", baseline_threads="same")
    assert (row.implementation, row.baseline_implementation) == ("cmm_gather_bmm", "dense_bmm")


def test_a_skipped_cell_is_a_row_with_its_reason(tmp_path):
    rows = rows_of(tmp_path, {cell_id("dense_linear"): 1.0}, skipped={cell_id("fff_cpu"): "out of memory"})
    row = one(rows, implementation="fff_cpu")
    assert (row.time, row.speedup, row.reason) == (None, None, "out of memory")


def test_a_cell_skipped_once_and_measured_later_is_measured(tmp_path):
    write_run(tmp_path, cells={cell_id("dense_linear"): 1.0}, run="one", skipped={cell_id("fff_cpu"): "no time"})
    both = {cell_id("dense_linear"): 1.0, cell_id("fff_cpu"): 0.1}
    rows = rows_of(tmp_path, both, run="two", started="2026-03-01T00:00:00Z")
    assert all(row.time is not None for row in rows)


def test_a_skipped_baseline_gives_its_reason(tmp_path):
    rows = rows_of(tmp_path, {cell_id("fff_cpu"): 0.1}, skipped={cell_id("dense_linear"): "needs 99 GB"})
    assert "needs 99 GB" in one(rows, baseline="published", baseline_threads="same").reason


def test_few_processes_are_provisional(tmp_path):
    rows = rows_of(tmp_path, {cell_id("dense_linear"): [1.0, 1.1], cell_id("fff_cpu"): 0.1})
    assert one(rows, baseline="best-dense", baseline_threads="same").provisional


def test_rows_have_what_the_command_line_promises(tmp_path):
    row = rows_of(tmp_path, quick_cells())[0].to_json()
    promised = (
        "machine device implementation baseline baseline_threads d n trees levels batch dtype routing threads cache "
        "call time speedup low high roofline_share error reason"
    )
    assert set(promised.split()) <= set(row)
    assert isinstance(row["threads"], int)


def test_thirty_thousand_rows_take_seconds(tmp_path):
    import time

    cells = {}
    for batch in range(1, 301):
        for threads in (1, 2):
            for name in ("dense_linear", "dense_padded", "dense_bmm", "fff_cpu", "fff_two", "cmm_gather_bmm"):
                cells[cell_id(name, batch=batch, threads=threads)] = 1.0
    write_run(tmp_path, cells=cells)
    results = load(tmp_path)
    begin = time.process_time()
    assert len(speedups(results)) > 5000
    assert time.process_time() - begin < 5
