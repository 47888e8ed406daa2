"""Has one quantity one value on a page? Read off the rendered page, and off everything that is drawn on it."""

from __future__ import annotations

from collections import defaultdict
from html.parser import HTMLParser
from pathlib import Path

import pytest
from synthetic import cell_id, write_run

from fffbench.analysis.attribution import every_attribution
from fffbench.analysis.speedup import speedups
from fffbench.report import render
from fffbench.report.analysed import analyse
from fffbench.results.store import load

RESULTS = Path(__file__).parents[2] / "results"


class Quantities(HTMLParser):
    """The first words of every element that says which quantity it is, by quantity."""

    def __init__(self):
        super().__init__()
        self.values, self._of = defaultdict(set), ""

    def handle_starttag(self, tag, attrs):
        named = dict(attrs).get("data-q")
        self._of = named or (self._of if tag == "a" else "")

    def handle_data(self, data):
        if self._of and data.strip():
            self.values[self._of].add(data.strip())
            self._of = ""


def quantities(page):
    found = Quantities()
    found.feed(page.read_text(encoding="utf-8"))
    return found.values


@pytest.fixture(scope="module")
def analysis():
    return analyse(load(RESULTS))


def test_every_number_of_the_committed_page_has_one_value(tmp_path):
    page = render(load(RESULTS), tmp_path)
    values = quantities(page)
    assert len(values) > 100
    archive = quantities(page.with_name("all.html"))
    assert len(archive) > 1000
    for name, said in archive.items():
        values[name] |= said
    assert {name: said for name, said in values.items() if len(said) > 1} == {}


def test_tables_answers_claims_waterfalls_and_ladders_agree_on_every_pair_of_cells(analysis):
    cells = {record.id: (record.machine, record.cell.id) for record in analysis.results.records}
    values = defaultdict(set)

    def told(value, *records):
        values[tuple(cells[record] for record in records)].add(value)

    answered = [row for one in analysis.answers for row in (*one.rows, one.deployed, one.with_tf32) if row]
    for row in [*analysis.rows, *answered]:
        if row.speedup is not None:
            told(row.speedup, row.record, row.baseline_record)
    for row in analysis.claims:
        if row.measured is not None and row.records:
            told(row.measured, *row.records)
    for item in [*analysis.attributions, *every_attribution(analysis.results, analysis.rows)]:
        told(item.speedup, item.record, item.baseline_record)
    for climb in analysis.climbs:
        for step in climb.steps:
            if step.speedup is not None:
                told(step.speedup, *step.records)
    assert len(values) > 1000
    assert {pair: said for pair, said in values.items() if max(said) > min(said) * (1 + 1e-9)} == {}


def test_runs_that_disagree_leave_one_value_on_the_page(tmp_path):
    for month, (run, scale, processes) in enumerate(
        (("a", 1.0, 6), ("b", 1.3, 16), ("c", 0.7, 3), ("d", 1.1, 6)), start=1
    ):
        cells = {}
        for routing, cache in (("uniform", "cold"), ("single-path", "hot"), ("single-path", "cold")):
            cells[cell_id("fff_cpu", routing=routing, cache=cache)] = [0.01 * scale] * processes
            cells[cell_id("dense_linear", cache=cache)] = [1.0] * processes
        write_run(tmp_path / "results", cells=cells, run=run, started=f"2026-0{month}-01T00:00:00Z")
    page = render(load(tmp_path / "results"), tmp_path / "out")
    assert {len(said) for said in quantities(page).values()} == {1}
    rows = [row for row in speedups(load(tmp_path / "results")) if row.baseline == "best-dense" and row.main]
    assert {row.runs for row in rows} == {4}
    gain = (100 * 76.92 * 142.86 * 90.91) ** 0.25  # of all four, whose weights differ little
    assert {round(row.speedup) for row in rows} == {round(gain)}
