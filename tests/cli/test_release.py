"""`run --preset release` makes one visit, and the second after an hour or when it is asked for."""

import json
import subprocess
import sys

import pytest

pytest.importorskip("torch")

FEW = (
    *("--implementations", "fff_cpu,dense_gemv", "--shape", "d64-n7-t1x3", "--batches", "1", "--dtypes", "fp32"),
    *("--devices", "cpu", "--threads", "1", "--cache", "hot", "--call", "kernel", "--routing", "uniform"),
    *("--seconds", "0.01"),
)


def fffbench(*arguments):
    command = [sys.executable, "-m", "fffbench", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow  # half a minute of measuring; what decides is tested on written results in tests/runs
def test_two_visits_make_a_release_and_the_second_waits_unless_it_is_asked_for(tmp_path):
    first = fffbench("run", "--preset", "release", "--results", tmp_path, *FEW)
    assert first.returncode == 0, first.stderr
    assert "headline cpu-d64-b1, users cpu-d64-b1" in first.stderr
    assert "the next visit may begin in" in first.stderr
    [path] = tmp_path.glob("matrix/*/release-*.json")
    stored = json.loads(path.read_text())
    cells = [benchmark["extra_info"]["fffbench"] for benchmark in stored["benchmarks"]]
    assert {len(cell["processes"]) for cell in cells} == {3}
    assert len({cell["timed_sources"] for cell in cells}) == 2
    second = fffbench("run", "--preset", "release", "--early", "--results", tmp_path, *FEW)
    assert second.returncode == 0, second.stderr
    assert "nothing is missing" in second.stderr
    assert len(list(tmp_path.glob("matrix/*/release-*.json"))) == 2


def test_early_is_about_a_preset_of_visits(tmp_path):
    done = fffbench("run", "--preset", "quick", "--early", "--results", tmp_path, *FEW)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--early goes with" in done.stderr


def test_a_budget_in_which_nothing_can_be_measured_is_refused(tmp_path):
    done = fffbench("run", "--preset", "release", "--budget", "30s", "--results", tmp_path, *FEW)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "too short for a visit" in done.stderr


@pytest.mark.parametrize("options", [("--claim", "cpu-78x"), ("--machine", "x")])
def test_the_ledger_of_a_release_is_about_this_machine_alone(tmp_path, options):
    done = fffbench("todo", "--release", "--results", tmp_path, *options)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "this machine" in done.stderr


def test_the_ledger_names_every_piece_with_its_visits_and_minutes(tmp_path):
    done = fffbench("todo", "--release", "--json", "--device", "cpu", "--results", tmp_path / "none")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert rows[0]["piece"].startswith("headline cpu-d768-b")
    assert {row["visits"] for row in rows} == {0}
    assert all(row["minutes"] > 0 and row["wanted"] == 2 for row in rows)
