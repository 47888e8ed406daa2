"""Is each side at its own fastest thread count, or is there no row? Generated runs with ties, gaps and every order."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from synthetic import cell_id, write_run

from fffbench.analysis.relative import TIE
from fffbench.analysis.speedup import speedups
from fffbench.results.store import load

COUNTS = (1, 4, 16)
NAMES = ("dense_fused", "dense_gemv", "fff_cpu")
CELLS = some.tuples(some.sampled_from(NAMES), some.sampled_from(COUNTS))
TIMES = some.sampled_from((1.0, 1.007, 1.03, 2.0, 6.4))  # ties within a percent and gaps of several times
RUN = some.dictionaries(CELLS, some.tuples(TIMES, some.sampled_from((1, 6))), min_size=1)
HOURS = some.sampled_from((0.5, 1.0, 3.0))  # how much slower all of a run is
ALL = [(name, threads) for name in NAMES for threads in COUNTS]


def rows_of(runs):
    with TemporaryDirectory() as name:
        folder = Path(name)
        for month, (run, cells) in enumerate(runs, start=1):
            times = {
                cell_id(name, batch=1, threads=threads): [time * (0.01 if name == "fff_cpu" else 1)] * processes
                for (name, threads), (time, processes) in cells.items()
            }
            started = f"2026-{month:02d}-01T00:00:00Z"
            write_run(folder, cells=times, run=run, started=started, stable={"cores": str(COUNTS[-1])})
        found = load(folder)
        return [row for row in speedups(found) if (row.baseline, row.baseline_threads) == ("best-dense", "fastest")]


def told(row):
    return (
        row.implementation, row.threads, row.baseline_implementation, row.baseline_thread_count, row.speedup, row.low,
        row.high, row.runs, row.processes, row.provisional, row.reason,
    )  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(some.lists(RUN, min_size=1, max_size=3))
def test_no_figure_depends_on_the_order_or_the_dates_of_runs(cells):
    runs = [(f"run{index}", item) for index, item in enumerate(cells)]
    assert len({tuple(map(told, rows_of(order))) for order in permutations(runs)}) == 1


@settings(max_examples=40, deadline=None)
@given(some.lists(RUN, min_size=1, max_size=3))
def test_there_is_a_ratio_where_both_sides_were_measured_at_every_count_and_else_the_reason(cells):
    runs = [(f"run{index}", item) for index, item in enumerate(cells)]
    known = {cell for item in cells for cell in item}
    counts = {side: {threads for name, threads in known if name.startswith(side)} for side in ("fff", "dense")}
    asked = {COUNTS[-1]} | counts["fff"] | counts["dense"]
    for row in rows_of(runs):
        assert (row.speedup is not None) == (counts["fff"] == asked == counts["dense"])
        assert row.speedup is not None or row.reason


@settings(max_examples=40, deadline=None)
@given(some.fixed_dictionaries(dict.fromkeys(ALL, TIMES)), some.lists(some.tuples(HOURS, some.sets(CELLS)), max_size=2))
def test_each_side_is_at_its_fastest_however_slow_the_hour_of_a_run_was(times, hours):
    runs = [("all", {cell: (times[cell], 6) for cell in ALL})]
    runs += [
        (f"hour{index}", {cell: (slow * times[cell], 6) for cell in sorted(some_of)})
        for index, (slow, some_of) in enumerate(hours)
        if some_of
    ]
    for row in rows_of(runs):
        ours = {cell: time for cell, time in times.items() if cell[0] == "fff_cpu"}
        dense = {cell: time for cell, time in times.items() if cell[0] != "fff_cpu"}
        chosen = times["fff_cpu", row.threads], times[row.baseline_implementation, row.baseline_thread_count]
        for time, least in zip(chosen, (min(ours.values()), min(dense.values())), strict=True):
            assert time == least or time * (1 - TIE) <= least
        assert row.speedup == pytest.approx(chosen[1] / (0.01 * chosen[0]))
