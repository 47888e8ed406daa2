"""Is a file that cannot be used named on the page and on the screen, whatever folder of the results it lies in?"""

import csv

import pytest
from synthetic import MACHINE, quick_cells, write_run

from fffbench.cli import run

ROOMS = (
    "matrix",
    "models",
    "asv",
    "regress",
    "layer-times",
    "accuracy",
    "published",
    "archive/matrix",
    "archive/models",
)


@pytest.fixture
def results(tmp_path):
    write_run(tmp_path / "results", cells=quick_cells())
    return tmp_path / "results"


@pytest.mark.parametrize("room", ROOMS)
def test_a_damaged_file_is_named_wherever_it_lies(results, tmp_path, capsys, room):
    place = f"{room}/damaged.json" if room == "published" else f"{room}/{MACHINE}/damaged.json"
    path = results / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('{"format": 1, ')
    assert run(["report", "--results", str(results), "--out", str(tmp_path / "page")]) == 0
    assert capsys.readouterr().err.count(f"left out {place}") == 1
    assert place in (tmp_path / "page" / "all.html").read_text(encoding="utf-8")
    assert "1 parts of result files were refused" in (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    with (tmp_path / "page" / "refused.csv").open(newline="") as file:
        assert [row["path"] for row in csv.DictReader(file)] == [place]
