"""Is the list of changed figures in the CHANGELOG that of the results, short, and is staleness seen?"""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic import MACHINE, STABLE, quick_cells, write_run

from benchmarks.studies import changed, publish
from fffbench.results.snapshots import write_snapshot

ROOT = Path(__file__).parents[2]
BEFORE = "# Changelog\n\n### Measurement changes\n- by hand\n"
MARKERS = "<!-- changed:begin (generated) -->\n<!-- changed:end -->\n"


@pytest.fixture
def root(tmp_path):
    (tmp_path / "CHANGELOG.md").write_text(BEFORE + MARKERS + "\n## 0.1.0\n")
    results = tmp_path / "results"
    write_run(results, cells=quick_cells(), run="first")
    write_snapshot(results, publish.published("0.1.0", results))
    return tmp_path


def run(root, *arguments):
    return changed.main(["--root", str(root), *arguments])


def listed(root):
    return (root / "CHANGELOG.md").read_text().split("-->\n")[1].split("<!--")[0]


def remeasured(root, started):
    """A second run in which dense layers take half the time: every figure over them is another one."""
    cells = {cell: time / (2 if cell.startswith("dense") else 1) for cell, time in quick_cells().items()}
    write_run(root / "results", cells=cells, run="second", started=started)
    (root / "results" / "matrix" / MACHINE / "first.json").unlink()


def test_where_nothing_is_another_one_it_says_so_and_is_not_stale(root):
    assert run(root) == 0
    assert listed(root) == "- No published version has other figures.\n"
    assert run(root, "--check") == 0


def test_a_figure_is_listed_with_both_values_and_why_and_nothing_else_is_touched(root):
    remeasured(root, "2026-05-06T07:08:09Z")
    assert run(root, "--check") == 1
    assert run(root) == 0
    assert run(root, "--check") == 0
    text = (root / "CHANGELOG.md").read_text()
    assert text.startswith(BEFORE)
    assert text.endswith("<!-- changed:end -->\n\n## 0.1.0\n")
    lines = [line for line in listed(root).splitlines() if "strict fp32" in line]
    assert lines
    assert all(line.endswith("(measured since)") and " to " in line for line in lines)


def test_a_figure_that_no_later_run_moved_was_moved_by_the_rules(root):
    remeasured(root, "2026-01-02T03:04:05Z")  # the day of the published one
    assert run(root) == 0
    assert "(no later run: other rules)" in listed(root)
    assert "measured since" not in listed(root)


def test_a_machines_name_is_text_not_markup(root):
    stable = {**STABLE, "cpu": "<img src=x> **bold** <!-- changed:end -->"}
    for run_name, started in (("odd", "2026-01-03T03:04:05Z"), ("odder", "2026-05-06T07:08:09Z")):
        cells = {cell: time * len(run_name) for cell, time in quick_cells().items() if not cell.startswith("fff")}
        cells |= {cell: time for cell, time in quick_cells().items() if cell.startswith("fff")}
        for path in (root / "results" / "matrix" / "odd-0002").glob("*.json"):
            path.unlink()
        write_run(root / "results", cells=cells, stable=stable, machine="odd-0002", run=run_name, started=started)
        if run_name == "odd":
            write_snapshot(root / "results", publish.published("0.1.0", root / "results"))
    assert run(root) == 0
    assert "img src" in listed(root)
    assert "<img" not in (root / "CHANGELOG.md").read_text()
    assert run(root, "--check") == 0


def test_without_markers_nothing_is_written(root, capsys):
    (root / "CHANGELOG.md").write_text(BEFORE)
    assert run(root) == 2
    assert "no markers" in capsys.readouterr().err
    assert (root / "CHANGELOG.md").read_text() == BEFORE


def test_the_committed_list_is_short():
    assert listed(ROOT).startswith("- ")
    assert listed(ROOT).count("\n") <= 40
