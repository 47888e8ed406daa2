"""What a release lacks: visits an hour apart, of the sources of now, of whole groups, what matters most first."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from synthetic import MACHINE, cell_id, write_run

from fffbench import timed
from fffbench.plan import options
from fffbench.plan.presets import presets
from fffbench.plan.workload import parse_cell
from fffbench.results.store import load
from fffbench.runs import planning, release
from fffbench.runs.release import Choice, Seen, Visits, choose, pieces, processes_of_visit

FFF, DENSE = cell_id("fff_cpu", batch=1), cell_id("dense_linear", batch=1)
OTHER = cell_id("dense_linear", batch=1, threads=2)
CELLS = tuple(map(parse_cell, (FFF, DENSE, OTHER)))
KEEP = frozenset(CELLS[:2])
NOW = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)
CURRENT = {"fff_cpu": "f", "dense_linear": "d"}


def at(minutes):
    """A moment so many minutes before now, as a run says it."""
    return (NOW - timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")


def visit(results, minutes, *, processes=3, cells=(FFF, DENSE, OTHER), sources=CURRENT, machine=MACHINE, skipped=None):
    """A run of ``cells`` so many minutes ago."""
    times = dict.fromkeys(cells, [[1e-3] * 5] * processes)
    changes = {cell: {"timed_sources": sources[parse_cell(cell).implementation]} for cell in cells}
    path = write_run(
        results, cells=times, run=f"r{minutes}", started=at(minutes), machine=machine, skipped=skipped or {},
    )  # fmt: skip
    value = json.loads(path.read_text())
    for benchmark in value["benchmarks"]:
        info = benchmark["extra_info"]["fffbench"]
        info |= changes[info["cell"]]
    path.write_text(json.dumps(value))


def piece(results, *, unable=(), machine=MACHINE):
    seen = Seen.of(load(results), machine, CURRENT.get)
    [found] = pieces({"headline": CELLS}, KEEP, frozenset(map(parse_cell, unable)), seen, 2)
    return found


def opened(found, *, early=False):
    return {cell.id for group in found.open(NOW, early=early) for cell in group}


def test_a_piece_without_results_is_open(tmp_path):
    found = pieces({"headline": CELLS}, KEEP, frozenset(), Seen(), 2)[0]
    assert (found.name, found.done, opened(found)) == ("headline cpu-d768-b1", 0, {FFF, DENSE, OTHER})
    assert len(found.missing()) == 6


def test_the_second_visit_is_open_an_hour_after_the_first_began(tmp_path):
    visit(tmp_path, 59)
    found = piece(tmp_path)
    assert (found.done, opened(found)) == (1, set())
    assert found.wait(NOW) == 60
    assert opened(found, early=True) == {FFF, DENSE, OTHER}
    visit(tmp_path / "later", 61)
    assert opened(piece(tmp_path / "later")) == {FFF, DENSE, OTHER}


def test_two_visits_are_all(tmp_path):
    visit(tmp_path, 200)
    visit(tmp_path, 100)
    found = piece(tmp_path)
    assert (found.done, found.lacking, opened(found, early=True), found.missing()) == (2, False, set(), [])


@pytest.mark.parametrize(
    "sources",
    [
        {"fff_cpu": "older", "dense_linear": "older"},
        {"fff_cpu": timed.UNKNOWN, "dense_linear": timed.UNKNOWN},
        {"fff_cpu": "older", "dense_linear": "d"},
    ],
)
def test_older_or_unknown_sources_are_no_visit_of_what_they_changed(tmp_path, sources):
    visit(tmp_path, 200, sources=sources)
    assert FFF in opened(piece(tmp_path))
    assert piece(tmp_path).done == 0


def test_another_machine_is_no_visit(tmp_path):
    visit(tmp_path, 200, machine="other-cpu-2c-0002")
    assert piece(tmp_path).done == 0


def test_a_group_that_a_short_budget_cut_stays_open_whole_and_the_others_do_not(tmp_path):
    visit(tmp_path, 10, cells=(FFF, OTHER))  # on one thread the dense layer got no process
    found = piece(tmp_path)
    assert opened(found) == {FFF, DENSE}
    assert found.done == 0


def test_runs_that_were_cut_short_make_one_visit_together(tmp_path):
    visit(tmp_path, 300, processes=1)
    visit(tmp_path, 200, processes=1)
    assert piece(tmp_path).done == 0
    visit(tmp_path, 100, processes=1)
    assert piece(tmp_path).done == 1
    visit(tmp_path, 10, processes=2)
    assert piece(tmp_path).done == 1


def test_a_kept_cell_with_two_processes_is_no_visit_and_another_one_is(tmp_path):
    visit(tmp_path, 10, processes=2)
    assert opened(piece(tmp_path)) == {FFF, DENSE}


def test_a_cell_that_failed_by_itself_is_visited_and_one_out_of_budget_is_not(tmp_path):
    visit(tmp_path / "failed", 10, cells=(FFF, OTHER), skipped={DENSE: "wrong result: all of it"})
    assert opened(piece(tmp_path / "failed")) == set()
    visit(tmp_path / "cut", 10, cells=(FFF, OTHER), skipped={DENSE: release.OUT_OF_BUDGET})
    assert opened(piece(tmp_path / "cut")) == {FFF, DENSE}


def test_what_cannot_run_here_is_in_no_group_and_nothing_else_is_no_piece():
    [found] = pieces({"headline": CELLS}, KEEP, frozenset(CELLS[:1]), Seen(), 2)
    assert (set(found.cells), found.unable) == (set(CELLS[1:]), CELLS[:1])
    assert pieces({"headline": CELLS}, KEEP, frozenset(CELLS), Seen(), 2) == []


def test_parts_stand_in_their_order_and_their_blocks_in_that_of_their_cells():
    late = parse_cell(cell_id("fff_cpu", batch=128))
    found = pieces({"b": [late, CELLS[0]], "a": [CELLS[0]]}, KEEP, frozenset(), Seen(), 2)
    assert [one.name for one in found] == ["b cpu-d768-b128", "b cpu-d768-b1", "a cpu-d768-b1"]


def many(*names):
    return [parse_cell(cell_id(name, batch=1)) for name in names]


A, B, C = many("fff_cpu", "dense_linear", "dense_gemm")
COST = {A: 10.0, B: 20.0, C: 40.0}


@pytest.mark.parametrize(
    ("most", "whole", "names", "seconds"),
    [
        (100, 100, ("a", "b", "c"), 70),
        (35, 100, ("a", "b"), 30),  # both first ones, not the third
        (15, 100, ("a",), 10),
        (5, 100, ("a",), 10),  # by itself, where it fits the budget
    ],
)
def test_the_most_important_pieces_that_fit_are_chosen(most, whole, names, seconds):
    found = choose([("a", [[A]]), ("b", [[B]]), ("c", [[C]])], COST.__getitem__, most, whole)
    assert found is not None
    assert (found.names, found.seconds) == (names, seconds)


def test_a_piece_too_large_for_the_rest_is_passed_over_for_a_smaller_one():
    found = choose([("b", [[B]]), ("c", [[C]]), ("a", [[A]])], COST.__getitem__, 35, 35)
    assert found == Choice((B, A), ("b", "a"), 30.0)


def test_the_most_important_piece_is_begun_even_where_no_visit_is_long_enough_for_all_of_it():
    found = choose([("all", [[A], [C], [B]]), ("b", [[B]])], COST.__getitem__, 35, 35)
    assert found == Choice((A, B), ("all",), 30.0), "whole groups, as many as fit"
    found = choose([("all", [[C], [A]])], COST.__getitem__, 5, 5)
    assert found == Choice((C,), ("all",), 40.0), "and one at least"


def group(dtype, threads, batch=16384):
    return [parse_cell(cell_id(name, dtype=dtype, threads=threads, batch=batch)) for name in ("fff_cpu", "dense_gemm")]


# in the order of the preset's cells: as they came before their importance was asked for
GROUPS = [group("fp32", 1), group("fp32", 16), group("bf16", 1), group("bf16", 16)]
SECONDS = {("fp32", 1): 360.0, ("fp32", 16): 60.0, ("bf16", 1): 90.0, ("bf16", 16): 30.0}


def of_group(cell):
    return SECONDS[cell.workload.dtype, cell.workload.threads] / 2


def test_what_the_first_screen_shows_comes_first_where_a_piece_is_longer_than_the_budget():
    found = choose([("headline cpu-d768-b16384", GROUPS)], of_group, 350, 350)
    assert found.cells == (*GROUPS[3], *GROUPS[1], *GROUPS[2]), "all threads before one, bf16 before fp32"
    assert found.seconds == 180
    found = choose([("headline cpu-d768-b16384", GROUPS)], of_group, 100, 100)
    assert found.cells == (*GROUPS[3], *GROUPS[1])


def test_a_visit_that_does_not_fit_is_not_begun_while_another_one_fits():
    long, short = [group("fp32", 1)], [group("bf16", 16, batch=1)]
    assert choose([("long", long), ("short", short)], of_group, 100, 100).names == ("short",)
    assert choose([("long", long)], of_group, 100, 100) == Choice(tuple(long[0]), ("long",), 360.0)


def test_a_forecast_counts_twice_under_a_budget_and_its_piece_is_measured_alone():
    pieces_ = [(name, [[cell]]) for name, cell in (("a", A), ("b", B), ("c", C))]

    def nothing(_):
        return False

    found = choose(pieces_, COST.__getitem__, 100, 100, nothing)
    assert found == Choice((A,), ("a",), 20.0), "its measured time plans the others"
    assert choose(pieces_, COST.__getitem__, 100, 100, {A, C}.__contains__) == Choice((A, C), ("a", "c"), 50.0)
    assert choose(pieces_[1:], COST.__getitem__, 35, 35, nothing).seconds > 35, "20 s by forecast do not fit into 35"
    assert choose(pieces_, COST.__getitem__, 100, known=nothing).names == ("a", "b", "c"), "without a budget all alike"


def test_nothing_open_is_no_choice():
    assert choose([], COST.__getitem__, 100) is None


def test_a_cell_of_two_pieces_is_measured_once():
    found = choose([("a", [[A, B]]), ("b", [[B, C]])], COST.__getitem__, 100)
    assert found == Choice((A, B, C), ("a", "b"), 70.0)


@pytest.mark.parametrize(("processes", "visits", "each"), [(6, 2, 3), (7, 2, 4), (4, 2, 3), (12, 2, 6), (12, 3, 4)])
def test_a_visit_gives_its_share_of_the_processes_and_three_at_least(processes, visits, each):
    assert processes_of_visit(processes, visits) == each


def test_the_release_has_every_cell_of_its_parts_and_the_first_screen_first():
    chosen = presets()["release"]
    assert chosen.visits == 2
    assert chosen.parts[:1] == ("headline",)
    assert {"headline", "users", "paper", "family", "leaf", "wide", "width", "batch", "fidelity"} <= set(chosen.parts)
    assert chosen.blocks == tuple(block for part in chosen.parts for block in presets()[part].blocks)
    assert chosen.models["after"] in chosen.parts


def test_a_visit_without_a_date_that_can_be_is_long_ago():
    assert Visits(("0001-01-01T00:00:00Z",), 2).wait(NOW) == 0


def test_a_block_of_a_release_is_one_visit_and_of_another_preset_all_its_processes():
    pytest.importorskip("torch")
    axes = options.axes(batches="1", devices="cpu", implementations="fff_cpu", threads="1", d="768")
    for name, expected in (("release", 3), ("headline", None)):
        found = planning.of_block(planning.Options(name, axes), "cpu-d768-b1")
        assert found.processes == expected
    assert planning.of_block(planning.Options("release", axes, processes=5), "cpu-d768-b1").processes == 5
