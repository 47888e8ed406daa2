"""One process on a side: a value, no interval, and every reader says so."""

import csv
import json

import pytest
from synthetic import cell_id, write_run

from fffbench.analysis.attribution import attributions
from fffbench.analysis.devices import savings
from fffbench.analysis.headline import answers, headline
from fffbench.analysis.speedup import speedups
from fffbench.claims.judging import judge_all
from fffbench.cli import run
from fffbench.report import render
from fffbench.results.store import load
from fffbench.units import ratio

SAID = "one process, no interval"


@pytest.fixture
def results(tmp_path):
    cells = {}
    for batch in (128, 16384):
        cells[cell_id("dense_linear", batch=batch)] = [[347.0, 348.0]]
        cells[cell_id("fff_cpu", batch=batch)] = [[1.0, 1.1]]
    for routing, cache in (("single-path", "hot"), ("single-path", "cold")):
        cells[cell_id("fff_cpu", routing=routing, cache=cache)] = [[0.5]]
    write_run(tmp_path / "results", cells=cells)
    return load(tmp_path / "results")


def test_a_speed_up_of_one_process_has_a_value_and_no_interval(results):
    rows = [row for row in speedups(results) if row.speedup is not None]
    assert rows
    assert all((row.low, row.high, row.provisional) == (None, None, True) for row in rows)


@pytest.mark.parametrize("ours", [[1.0], [1.0, 1.0]])
def test_there_is_an_interval_only_where_each_side_has_two(tmp_path, ours):
    write_run(tmp_path, cells={cell_id("dense_linear"): [2.0, 2.2], cell_id("fff_cpu"): ours})
    row = next(row for row in speedups(load(tmp_path)) if row.speedup is not None)
    if len(ours) == 1:
        assert (row.low, row.high) == (None, None)
    else:
        assert row.low < 2.0
        assert row.high > 2.2


def test_it_decides_no_claim(results):
    rows = [row for row in judge_all(results) if row.id == "cpu-78x"]
    assert {row.verdict for row in rows} == {"undecided"}
    assert all(SAID in row.reason for row in rows)
    assert any(row.measured and row.low is None for row in rows)


def test_headline_devices_and_attribution_do_without(results):
    rows = speedups(results)
    found = answers(results, rows)
    assert SAID in headline(results, rows).text
    assert all((item.low, item.high) == (None, None) for item in savings(found))
    (item,) = attributions(results, found)
    assert (item.low, item.high) == (None, None)
    assert any(factor.value and factor.low is None for factor in item.factors)


def test_page_tables_and_json_say_so(results, tmp_path, capsys):
    text = render(results, tmp_path / "out").read_text(encoding="utf-8")
    assert SAID in text
    assert "None" not in text
    with (tmp_path / "out" / "speedup.csv").open() as file:
        assert {row["low"] for row in csv.DictReader(file)} == {""}
    assert run(["speedup", "--results", str(tmp_path / "results"), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert {row["low"] for row in printed} == {None}


def test_a_ratio_is_written_with_its_interval_or_with_why_it_has_none():
    assert ratio(347.0, None, None) == f"347x ({SAID})"
    assert ratio(116.0, 112.0, 121.0) == "116x [112, 121]"
