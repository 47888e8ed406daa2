"""Does a number say where it comes from, by a name that stays, with the command for just its cells?"""

from __future__ import annotations

import re

from synthetic import cell_id, quick_cells, write_run

from fffbench.plan.workload import Shape, parse_cell
from fffbench.report.analysed import analyse
from fffbench.report.anchors import Anchors
from fffbench.report.build import cards_of
from fffbench.report.cards import command_of
from fffbench.report.sources import source
from fffbench.results.store import load


def answered(folder):
    analysis = analyse(load(folder / "results"))
    [answer] = analysis.answers
    return analysis, answer.rows[0]


def test_a_card_has_both_sides_with_run_commit_date_and_file(tmp_path):
    write_run(tmp_path / "results", cells=quick_cells(), commit="a" * 10)
    analysis, row = answered(tmp_path)
    cards = cards_of(analysis)
    key = cards.link("a value", row.record, row.baseline_record)
    [card] = cards.all
    assert (card.id, card.value) == (key, "a value")
    assert [side.what for side in card.sides] == [row.implementation, row.baseline_implementation]
    for side in card.sides:
        assert side.path == f"results/matrix/test-cpu-2c-0001/{side.run}.json"
        assert (side.date, f"commit {'a' * 10}" in side.sources) == ("2026-01-02", True)
        assert side.processes.startswith("6 processes: ")
        assert side.link.startswith("all.html#r-")


def test_the_same_cells_have_the_same_card_and_an_unknown_record_has_none(tmp_path):
    write_run(tmp_path / "results", cells=quick_cells())
    analysis, row = answered(tmp_path)
    cards = cards_of(analysis)
    assert cards.link("a", row.record, row.baseline_record) == cards.link("a", row.record, row.baseline_record)
    assert cards.link("a", row.record) not in ("", cards.link("a", row.record, row.baseline_record))
    assert cards.link("a", "no such record") == ""
    assert len(cards.all) == 2


def test_a_name_stays_when_other_results_come_and_when_another_run_speaks(tmp_path):
    write_run(tmp_path / "results", cells=quick_cells())
    analysis, row = answered(tmp_path)
    before = analysis.anchors.quantity(row.record, row.baseline_record)
    records = dict(analysis.anchors)
    write_run(tmp_path / "results", cells=quick_cells(), machine="a-new-one-0001", run="aaa")
    write_run(tmp_path / "results", cells=quick_cells(), run="later", started="2027-01-01T00:00:00Z")
    after = analyse(load(tmp_path / "results"))
    row = next(item for item in after.answers if item.machine == row.machine).rows[0]
    assert row.run == "later"
    assert after.anchors.quantity(row.record, row.baseline_record) == before
    assert records.items() <= after.anchors.items()


def test_another_kind_of_names_shares_none(tmp_path):
    write_run(tmp_path / "results", cells=quick_cells())
    records = load(tmp_path / "results").records
    ours, theirs = (Anchors(records, kind).quantity(records[0].id) for kind in ("n", "y"))
    assert ours[1:] == theirs[1:]
    assert ours != theirs


def test_the_command_names_the_axes_of_both_cells_and_no_others():
    cells = [
        parse_cell(cell_id("fff_cpu", batch=128, dtype="bf16", threads=1)),
        parse_cell(cell_id("dense_linear", batch=128, dtype="bf16", threads=2)),
    ]
    said = dict(re.findall(r"--(\w+) (\S+)", command_of(cells)))
    assert said == {
        "d": "768", "trees": "1", "levels": "12", "implementations": "fff_cpu,dense_linear", "batches": "128",
        "dtypes": "bf16", "routing": "uniform", "threads": "1,2", "devices": "cpu", "cache": "cold", "call": "kernel",
    }  # fmt: skip
    other = [cells[0], parse_cell(cell_id("dense_linear", shape=Shape.dense(768, 3072), batch=128))]
    assert command_of(other).startswith("fffbench run --preset paper --implementations fff_cpu,dense_linear")
    leaf = [parse_cell(cell_id(name, shape=Shape.leaf(768, 1, 7, 32))) for name in ("fff_cpu", "dense_linear")]
    assert command_of(leaf).startswith("fffbench run --preset leaf ")
    wrong = [parse_cell(cell_id(name)) for name in ("faulty_blas_fff2_rows", "faulty_blas_ff3_random")]
    assert command_of(wrong).startswith("fffbench run --preset fidelity ")


def test_a_source_is_a_link_where_its_words_name_a_place():
    assert source("arXiv:2311.10770, abstract").link == "https://arxiv.org/abs/2311.10770"
    assert (
        source("a report on an M2, UltraFastBERT issue 1").link == "https://github.com/pbelcak/UltraFastBERT/issues/1"
    )
    assert source("figures in the repository a-b/c.d").link == "https://github.com/a-b/c.d"
    assert source("UltraSparseBERT, ACL 2024 short paper 10").link == "https://aclanthology.org/2024.acl-short.10/"
    assert source("notes of a talk").link == ""
    assert source('arXiv:"><script>').link == ""
