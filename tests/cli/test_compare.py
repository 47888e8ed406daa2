"""Does ``compare`` find the difference between two sets of results, and none where there is none?"""

import csv
import io
import json
import shutil

import pytest
from synthetic import cell_id, quick_cells, write_run

from fffbench.cli import run

LATER = "2026-03-01T00:00:00Z"


@pytest.fixture
def results(tmp_path):
    """A run, one of the same machine in which fff_cpu is 1.3 times slower, and one of a machine of four cores."""
    cells = quick_cells()
    write_run(tmp_path, cells=cells, run="before")
    slower = {name: time * (1.3 if name.startswith("fff_cpu") else 1.0) for name, time in cells.items()}
    write_run(tmp_path, cells=slower, run="after", started=LATER)
    wide = {cell_id("fff_cpu", threads=4): 0.005, cell_id("dense_padded", threads=4): 0.4}
    write_run(tmp_path, cells=wide, machine="test-wide-4c-0001", run="wide")
    return tmp_path


def rows(capsys, *arguments):
    assert run(["compare", *arguments, "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def test_what_became_slower_is_slower_and_the_rest_is_the_same(results, capsys):
    found = rows(capsys, "before", "after", "--results", str(results))
    assert len(found) == len(quick_cells())
    for row in found:
        slower = row["implementation"] == "fff_cpu"
        assert row["verdict"] in ({"slower"} if slower else {"same", "undecided"})
        assert row["ratio"] == pytest.approx(1 / 1.3 if slower else 1.0, rel=0.03)
        assert row["low"] <= row["ratio"] <= row["high"]
        assert (row["record_a"].split("/")[0], row["record_b"].split("/")[0]) == ("before", "after")


def test_the_other_way_round_slower_is_faster(results, capsys):
    there = rows(capsys, "before", "after", "--results", str(results))
    back = rows(capsys, "after", "before", "--results", str(results))
    turned = {"faster": "slower", "slower": "faster", "same": "same", "undecided": "undecided"}
    assert [row["verdict"] for row in back] == [turned[row["verdict"]] for row in there]


def test_two_machines_are_compared_at_the_threads_that_are_fastest_for_each(results, capsys):
    found = rows(capsys, "test-cpu", "wide", "--results", str(results))
    assert {(row["implementation"], row["threads_a"], row["threads_b"]) for row in found} == {
        ("fff_cpu", 2, 4), ("dense_padded", 2, 4)
    }  # fmt: skip
    assert all(row["verdict"] == "faster" for row in found)


def test_folders_and_files_are_sides_too(results, tmp_path, capsys):
    other = tmp_path / "elsewhere"
    (other / "matrix" / "test-cpu-2c-0001").mkdir(parents=True)
    file = results / "matrix" / "test-cpu-2c-0001" / "after.json"
    shutil.copy(file, other / "matrix" / "test-cpu-2c-0001")
    by_run = rows(capsys, "before", "after", "--results", str(results))
    before = str(file.with_name("before.json"))
    for side in (str(other), str(file)):
        assert rows(capsys, before, side, "--results", str(tmp_path / "nowhere")) == by_run


def test_one_process_a_side_decides_nothing(tmp_path, capsys):
    for name, time in (("one", 1.0), ("two", 9.0)):
        write_run(tmp_path, cells={cell_id("fff_cpu"): [time]}, run=name, started=LATER)
    [row] = rows(capsys, "one", "two", "--results", str(tmp_path))
    assert (row["verdict"], row["low"]) == ("undecided", None)


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_and_counts_what_it_shows(results, capsys, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    assert run(["compare", "before", "after", "--results", str(results)]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= width
    shown = [line for line in text.splitlines() if line.endswith((" slower", " same"))]
    assert len([line for line in shown if line.endswith("slower")]) == 6
    assert "6 slower, " in text


def test_markdown_and_csv_have_the_same_rows(results, capsys):
    asked = ["compare", "before", "after", "--results", str(results), "--impl", "fff_cpu", "--all"]
    assert run([*asked, "--markdown"]) == 0
    marked = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| fff")]
    assert run([*asked, "--csv"]) == 0
    lines = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(marked) == len(lines) == 12
    assert {line["verdict"] for line in lines} == {"slower"}


@pytest.mark.parametrize(
    ("a", "b", "named"),
    [
        ("befor", "after", "did you mean 'before'?"),
        ("test", "after", "is part of 3 machines"),
        ("", "after", "a side is empty"),
        ("before", "\0", "unknown folder, file, run or machine"),
        ("before", "x" * 5000, "unknown folder, file, run or machine"),
        ("before", "wide", "no cell in common"),
    ],
)
def test_a_mistake_is_a_line(results, capsys, a, b, named):
    write_run(results, cells={cell_id("dense_linear", batch=7): 1.0}, machine="test-gpu-0001", run="other")
    if named == "no cell in common":
        b = "other"
    assert run(["compare", a, b, "--results", str(results)]) == 2
    said = capsys.readouterr().err
    assert named in said
    assert said.count("\n") == 1


def test_a_file_that_is_no_result_file_is_refused_by_what_is_wrong_with_it(results, tmp_path, capsys):
    (tmp_path / "x.json").write_text("{}")
    assert run(["compare", str(tmp_path / "x.json"), "after", "--results", str(results)]) == 2
    assert "x.json" in capsys.readouterr().err
