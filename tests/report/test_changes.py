"""Does the page say what changed since the last published version, by its rule and nothing else?"""

import csv
import json
import math
import re

import pytest
from synthetic import cell_id, write_run

from benchmarks.studies import publish
from fffbench.report import changes, render
from fffbench.report.changes import Now
from fffbench.results.record import FULL_PROCESSES
from fffbench.results.snapshots import Figure, Snapshot, write_snapshot
from fffbench.results.store import load


def figure(key, value=10.0, low=9.0, high=11.0, verdict=""):
    return Figure(key=key, what=f"figure {key}", value=value, low=low, high=high, verdict=verdict)


def since(tmp_path, before, now, version="0.1.0", date="2026-10-01"):
    write_snapshot(tmp_path, Snapshot(format=1, version=version, date=date, figures=before))
    return changes.changes(tmp_path, [Now(one) for one in now])


@pytest.mark.parametrize(
    ("now", "listed"),
    [
        ({"value": 10.9}, False),  # inside what was published
        ({"value": 11.1}, True),
        ({"value": 8.9}, True),
        ({"value": 10.0, "low": 1.0, "high": 99.0}, False),  # surer or not, the figure stands
        ({"value": 10.0, "verdict": "exceeded"}, True),  # the same number, judged otherwise
        ({"value": None, "low": None, "high": None}, True),
    ],
)
def test_a_figure_is_listed_where_it_left_its_interval_or_its_verdict(tmp_path, now, listed):
    found = since(tmp_path, [figure("a")], [figure("a", **now)])
    assert (len(found.found), found.same) == ((1, 0) if listed else (0, 1))


@pytest.mark.parametrize(("value", "listed"), [(10.9, False), (11.1, True), (9.0, True)])
def test_one_without_an_interval_must_move_by_more(tmp_path, value, listed):
    found = since(tmp_path, [figure("a", low=None, high=None)], [figure("a", value)])
    assert bool(found.found) == listed


def test_one_without_an_upper_bound_cannot_be_above_it(tmp_path):
    assert since(tmp_path, [figure("a", high=None)], [figure("a", 1e6)]).found == ()


def test_new_and_gone_figures_are_counted_and_verdicts_come_first(tmp_path):
    before = [figure("a"), figure("b"), figure("c", verdict="undecided")]
    now = [figure("a", 100.0), figure("c", verdict="reproduced"), figure("d")]
    found = since(tmp_path, before, now)
    assert (len(found.found), found.same, found.new, found.gone) == (2, 0, 1, 1)
    said = changes.sentence(found)
    assert said.startswith("Beside version 0.1.0 (measured up to 2026-10-01): 1 verdict changed, 1 figure moved")
    table = changes.table(found)
    assert [row[0].main for row in table.rows] == ["figure c", "figure a"]
    assert [cell.main for cell in table.rows[1][1:]] == ["10.0x [9.00, 11.0]", "100x [9.00, 11.0]"]


def test_a_version_is_compared_with_the_one_before_it(tmp_path):
    now = [figure("a", 20.0)]
    write_snapshot(tmp_path, Snapshot(format=1, version="0.2.0", date="2026-11-01", figures=now))
    assert since(tmp_path, [figure("a")], now).version == "0.1.0"
    assert changes.changes(tmp_path, [Now(figure("a", 30.0))]).version == "0.2.0"


def test_without_a_version_the_page_has_no_such_section(tmp_path):
    assert changes.sentence(changes.changes(tmp_path, [Now(figure("a"))])) == ""
    assert changes.sentence(changes.changes(None, [Now(figure("a"))])) == ""


def measured(folder, gain, run, month):
    cells = {cell_id("dense_linear"): [1.0] * FULL_PROCESSES, cell_id("fff_cpu"): [1 / gain] * FULL_PROCESSES}
    write_run(folder, cells=cells, run=run, started=f"2026-{month:02d}-01T00:00:00Z")


def test_from_the_command_at_a_release_to_the_section_on_the_page(tmp_path, capsys):
    results = tmp_path / "results"
    measured(results, 50, "first", 1)
    assert publish.main(["0.1.0", "--results", str(results)]) == 0
    assert capsys.readouterr().out.strip().endswith("results/published/0.1.0.json")
    published = json.loads((results / "published" / "0.1.0.json").read_text())
    values = [one["value"] for one in published["figures"] if one["key"].startswith("layer|")]
    assert values
    assert all(math.isclose(value, 50) for value in values)

    page = render(load(results), tmp_path / "same", folder=results).read_text()
    assert 'id="changed"' not in page  # these are the figures of that version

    (results / "matrix" / "test-cpu-2c-0001" / "first.json").unlink()
    measured(results, 80, "second", 2)
    out = tmp_path / "later"
    page = render(load(results), out, folder=results).read_text()
    section = re.search(r'<section id="changed">(.*?)</section>', page, re.DOTALL)[1]
    assert "Beside version 0.1.0" in section
    assert re.search(r"<a href=\"results/published/0\.1\.0\.json\">50\.0x \[", section)
    assert (out / "results/published/0.1.0.json").is_file()
    assert re.search(r"50\.0x \[.*?<a href=\"#n-\w+\">80\.0x \[", section, re.DOTALL)
    with (out / "changes.csv").open() as file:
        rows = {row["key"]: row for row in csv.DictReader(file)}
    assert (
        rows["claim|cpu-78x|test-cpu-2c-0001|cpu"]["verdict"]
        != rows["claim|cpu-78x|test-cpu-2c-0001|cpu"]["before_verdict"]
    )


@pytest.mark.parametrize("version", ["", "../up", "a b"])
def test_a_version_that_is_no_file_name_is_refused(tmp_path, version, capsys):
    assert publish.main([version, "--results", str(tmp_path)]) == 2
    assert "letters, digits" in capsys.readouterr().err


def test_nothing_measured_publishes_nothing(tmp_path, capsys):
    assert publish.main(["0.1.0", "--results", str(tmp_path)]) == 2
    assert "nothing to publish" in capsys.readouterr().err
