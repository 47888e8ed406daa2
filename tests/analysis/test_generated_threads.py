"""Is each side at its own fastest thread count, or is there no row? Generated runs with ties, gaps and every order."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from synthetic import cell_id, write_run

from fffbench.analysis.rivals import TIE
from fffbench.analysis.speedup import speedups
from fffbench.results.store import load

COUNTS = (1, 4, 16)
NAMES = ("dense_fused", "dense_gemv", "fff_cpu")
TIMES = some.sampled_from((1.0, 1.007, 1.03, 2.0, 6.4))  # ties within a percent and gaps of several times
RUN = some.dictionaries(
    some.tuples(some.sampled_from(NAMES), some.sampled_from(COUNTS)),
    some.tuples(TIMES, some.sampled_from((1, 6))),
    min_size=1,
)


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


def spoken_for(runs):
    """What the rule in words leaves: of each cell the record with the most processes, of equals the newest."""
    found = {}
    for _, cells in runs:
        for cell, (time, processes) in cells.items():
            if cell not in found or processes >= found[cell][1]:
                found[cell] = (time, processes)
    return found


@settings(max_examples=60, deadline=None)
@given(some.lists(RUN, min_size=1, max_size=3))
def test_both_sides_are_at_their_fastest_count_or_there_is_no_ratio(cells):
    runs = [(f"run{index}", item) for index, item in enumerate(cells)]
    for order in permutations(runs):
        told = spoken_for(order)
        sides = {
            side: {cell: known for cell, known in told.items() if cell[0].startswith(side)} for side in ("fff", "dense")
        }
        counts = {side: {threads for _, threads in known} for side, known in sides.items()}
        for row in rows_of(order):
            asked = {COUNTS[-1]} | counts["fff"] | counts["dense"]
            if not sides["dense"] or counts["fff"] != asked or counts["dense"] != asked:
                assert row.speedup is None
                assert row.reason
                continue
            chosen = {
                "fff": ("fff_cpu", row.threads),
                "dense": (row.baseline_implementation, row.baseline_thread_count),
            }
            for side, cell in chosen.items():
                time, processes = sides[side][cell]
                least = min(known[0] for known in sides[side].values())
                full = [known[0] for known in sides[side].values() if known[1] >= processes]
                assert time == min(full)
                assert time == least or (time * (1 - TIE) <= least and processes == 6)
            ratio = sides["dense"][chosen["dense"]][0] / (0.01 * sides["fff"][chosen["fff"]][0])
            assert row.speedup == pytest.approx(ratio)
