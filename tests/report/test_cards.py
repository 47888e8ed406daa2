"""Does a number say where it comes from, by a name that stays, with the command for just its cells?"""

from __future__ import annotations

import re

from synthetic import cell_id, quick_cells, write_run

from fffbench.plan.workload import Shape, parse_cell
from fffbench.report.analysed import analyse
from fffbench.report.anchors import Anchors
from fffbench.report.build import cards_of
from fffbench.report.cards import command_of
from fffbench.report.html import _cited, render
from fffbench.report.raw import copy_files, raw_files
from fffbench.report.sources import source
from fffbench.report.view import Link, Said
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
        [file] = side.files
        assert file.text == f"results/matrix/test-cpu-2c-0001/{side.run}.json"
        assert file.to == ""  # nobody said where the raw files are
        assert (side.date, f"commit {'a' * 10}" in side.sources) == ("2026-01-02", True)
        assert side.processes.startswith("6 processes: ")
        assert side.link.startswith("all.html#r-")


def test_a_raw_file_is_linked_where_it_lies_and_only_inside_the_results(tmp_path):
    (tmp_path / "matrix").mkdir()
    (tmp_path / "matrix" / "a b.json").write_text("{}")
    (tmp_path.parent / "outside.json").write_text("{}")
    names = ["matrix/a b.json", "matrix/none.json", "../outside.json", str(tmp_path / "matrix" / "a b.json")]
    files = raw_files(names, tmp_path)
    assert [file.to for file in files] == ["results/matrix/a%20b.json", "", "", ""]
    copy_files(files, tmp_path, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").rglob("*.json")] == ["a b.json"]


def test_a_page_in_the_folder_of_its_own_results_overwrites_none(tmp_path):
    write_run(tmp_path / "results", cells=quick_cells())
    before = {path: path.read_bytes() for path in (tmp_path / "results").rglob("*.json")}
    render(load(tmp_path / "results"), tmp_path, folder=tmp_path / "results")
    assert before == {path: path.read_bytes() for path in (tmp_path / "results").rglob("*.json")}


def test_a_number_made_of_others_says_how_and_one_made_of_nothing_known_has_no_card(tmp_path):
    write_run(tmp_path / "results", cells=quick_cells())
    analysis, row = answered(tmp_path)
    cards = cards_of(analysis)
    part = Link("3x", cards.link("3x", row.record, row.baseline_record))
    key = cards.derived("about 3", "A crossing", "Between these:", [part, Link("2x", "")])
    assert (cards.all[-1].id, cards.all[-1].parts, cards.all[-1].how) == (key, (part,), "Between these:")
    assert key == cards.derived("another value", "A crossing", "Between these:", [part])
    assert cards.derived("about 3", "A crossing", "Between these:", [Link("2x", "")]) == ""


def test_a_figure_in_a_sentence_leads_to_its_card_and_the_sentence_stays_what_it_was():
    said = Said("1x & 2x, then 1x", (Link("1x", "n-1"), Link("2x", ""), Link("1x", "n-2"), Link("9x", "n-3")))
    assert str(_cited(Said("`a --b <c`, <d>"))) == "<code>a --b &lt;c</code>, &lt;d&gt;"  # a command of a reason
    assert str(_cited(said)) == '<a href="#n-1">1x</a> &amp; 2x, then <a href="#n-2">1x</a>'


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
