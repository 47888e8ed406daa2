"""Are regression checks on the page, escaped, and foreign files refused by name?"""

import csv
import json

import pytest
from synthetic import quick_cells, write_run

from fffbench.report import render
from fffbench.results.regressions import read_checks
from fffbench.results.store import load

CHECK = {
    "format": 1,
    "machine": "m-1",
    "started": "2026-01-01T00:00:00+00:00",
    "base": "main",
    "head": "<b>evil</b>",
    "answer": "regression",
    "reason": "1 of 1 cases are slower beyond the margin",
    "seconds": 12.0,
    "plan": {"looks": [10, 20], "margin": 0.03, "tolerance": 0.05, "false_alarm": 0.01, "miss": 0.05},
    "cases": [
        {
            "case": "fff_cpu fp32 batch 1",
            "answer": "regression",
            "ratio": 1.2,
            "low": 1.1,
            "high": 1.3,
            "base_seconds": 4e-6,
            "blocks": [0.18, 0.2],
        }
    ],
    "controls": [{"name": "drift", "passed": True, "said": "did not move", "blocks": [0.0]}],
    "skipped": {"fff_cuda": "no NVIDIA device here"},
}


def write_check(root, name="x.json", **changes):
    folder = root / "regress" / "m-1"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps({**CHECK, **changes}))


@pytest.fixture
def root(tmp_path):
    write_run(tmp_path / "results", cells=quick_cells())
    return tmp_path / "results"


def test_the_page_shows_cases_and_controls_and_escapes_revisions(root, tmp_path):
    write_check(root)
    text = render(load(root), tmp_path / "out").with_name("all.html").read_text(encoding="utf-8")
    assert "1.20x" in text
    assert "did not move" in text
    assert "&lt;b&gt;evil" in text
    assert "<b>evil" not in text
    with (tmp_path / "out" / "regressions.csv").open(newline="") as file:
        assert [row["case"] for row in csv.DictReader(file)] == ["fff_cpu fp32 batch 1"]


def test_without_checks_there_is_no_section(root, tmp_path):
    assert "regression-checks" not in render(load(root), tmp_path / "out").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": 2}, "newer"),
        ({"machine": "other"}, "another machine"),
        ({"answer": "maybe"}, "answer"),
        ({"seconds": "12"}, "seconds"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_by_name(root, changes, words):
    write_check(root, **changes)
    checks, refused = read_checks(root)
    assert not checks
    assert "regress/m-1/x.json" in refused[0].line
    assert words in refused[0].line


def test_a_truncated_file_is_refused(root):
    write_check(root)
    path = root / "regress" / "m-1" / "x.json"
    path.write_text(path.read_text()[:100])
    assert "JSON" in read_checks(root)[1][0].line
