"""Is every ratio over the baseline its name says, from one run?"""

from __future__ import annotations

import pytest
from synthetic import cell_id, quick_cells, write_run

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


def test_sides_of_different_runs_never_meet(tmp_path):
    write_run(tmp_path, cells={cell_id("dense_linear"): 1.0}, run="one")
    rows = rows_of(tmp_path, {cell_id("fff_cpu"): 0.1}, run="two", started="2026-03-01T00:00:00Z")
    assert all(row.speedup is None for row in rows)


def test_the_newest_run_with_both_sides_wins(tmp_path):
    both = {cell_id("dense_linear"): 1.0, cell_id("fff_cpu"): 0.1}
    write_run(tmp_path, cells=both, run="one")
    write_run(tmp_path, cells=both | {cell_id("fff_cpu"): 0.05}, run="two", started="2026-03-01T00:00:00Z")
    rows = rows_of(tmp_path, {cell_id("fff_cpu"): 0.01}, run="three", started="2026-04-01T00:00:00Z")
    assert one(rows, baseline="best-dense", baseline_threads="same").run == "two"


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


@pytest.mark.parametrize(("processes", "shown"), [(3, 2), (2, 1)])
def test_a_more_thorough_run_over_one_thread_does_not_make_it_the_fastest_count(tmp_path, processes, shown):
    two = {cell_id("dense_linear", threads=2): [5.0] * processes, cell_id("fff_cpu", threads=2): [0.1] * processes}
    write_run(tmp_path, cells=two, run="few")
    alone = {cell_id("dense_linear", threads=1): exact(18.0), cell_id("fff_cpu", threads=1): exact(0.2)}
    rows = rows_of(tmp_path, alone, run="many", started="2026-03-01T00:00:00Z")
    assert one(rows, baseline="best-dense", baseline_threads="fastest").threads == shown


def test_a_newer_run_over_slower_thread_counts_alone_is_not_fastest_threads(tmp_path):
    two = {cell_id("dense_linear", threads=2): exact(5.0), cell_id("fff_cpu", threads=2): exact(0.1)}
    write_run(tmp_path, cells=two, run="one")
    alone = {cell_id("dense_linear", threads=1): exact(18.0), cell_id("fff_cpu", threads=1): exact(0.2)}
    rows = rows_of(tmp_path, alone, run="two", started="2026-03-01T00:00:00Z")
    row = one(rows, baseline="best-dense", baseline_threads="fastest")
    assert (row.threads, row.run) == (2, "one")
    assert row.speedup == pytest.approx(50, rel=0.02)


def test_a_newer_run_without_the_baselines_fastest_thread_count_is_not_fastest_threads(tmp_path):
    both = {
        cell_id("dense_linear", threads=1): exact(4.0),
        cell_id("dense_linear", threads=2): exact(2.0),
        cell_id("fff_cpu", threads=1): exact(0.1),
        cell_id("fff_cpu", threads=2): exact(0.2),
    }
    write_run(tmp_path, cells=both, run="one")
    alone = {cell_id("dense_linear", threads=1): exact(4.0), cell_id("fff_cpu", threads=1): exact(0.1)}
    rows = rows_of(tmp_path, alone, run="two", started="2026-03-01T00:00:00Z")
    row = one(rows, baseline="best-dense", baseline_threads="fastest")
    assert (row.threads, row.baseline_thread_count, row.run) == (1, 2, "one")
    assert one(rows, baseline="best-dense", baseline_threads="same", threads=1).run == "two"


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
    begin = time.perf_counter()
    assert len(speedups(results)) > 5000
    assert time.perf_counter() - begin < 5
