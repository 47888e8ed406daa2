"""The command: exit codes, what is printed and stored, and how mistakes are said."""

import json

import pytest

from fffbench import cli
from fffbench.regress import check, run, sources
from fffbench.regress.build import BuildError
from fffbench.regress.run import Builds
from fffbench.regress.sources import Revision
from fffbench.regress.suite import DRIFT

REVISION = Revision("main", "a" * 40, ())


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """A check whose builds and workers are stand-ins; returns how head compares, by side."""
    planted = {"head": 0.0, "planted": 0.2, "twin": 0.0}

    def work(request):
        step = 0.004 * (-1) ** request["block"]
        times = {}
        for case in request["cases"]:
            times[case["name"]] = {}
            for side in case["sides"]:
                moved = 0.0 if case["name"] == DRIFT.name else planted.get(side, 0.0)
                times[case["name"]][side] = [1e-5 * (1 + moved + step * (side != "base"))] * 4
        return {"times": times, "reasons": {}}

    monkeypatch.setattr(sources, "repository", lambda: tmp_path)
    monkeypatch.setattr(sources, "read_revision", lambda *_: REVISION)
    monkeypatch.setattr(sources, "read_working_tree", lambda *_: REVISION)
    monkeypatch.setattr(check, "build_all", lambda *_: Builds(*(tmp_path / name / "x.so" for name in "abcd")))
    monkeypatch.setattr(check, "write_data", lambda *_: tmp_path)
    monkeypatch.setattr(run, "run_worker", work)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    monkeypatch.chdir(tmp_path)
    return planted


@pytest.mark.parametrize(
    ("changes", "code", "answer"),
    [({}, 0, "none"), ({"head": 0.2}, 1, "regression"), ({"twin": 0.3}, 3, "inconclusive")],
)
def test_the_exit_code_says_the_answer(measured, capsys, changes, code, answer):
    measured.update(changes)
    assert cli.run(["regress", "main", "--json"]) == code
    printed = json.loads(capsys.readouterr().out)
    assert printed["answer"] == answer
    assert len(printed["cases"]) == 7


def test_the_summary_goes_to_the_job_and_the_file(measured, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    assert cli.run(["regress", "main", "--markdown", "out.md"]) == 0
    assert (tmp_path / "summary.md").read_text() == (tmp_path / "out.md").read_text()
    assert "| planted slow-down | passed |" in (tmp_path / "out.md").read_text()
    assert len(list((tmp_path / "results" / "regress").glob("*/*.json"))) == 1


def test_only_chooses_cases_by_words(measured, capsys):
    assert cli.run(["regress", "main", "--only", "bf16", "--json"]) == 0
    assert all("bf16" in case["case"] for case in json.loads(capsys.readouterr().out)["cases"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--only", "nothing-like-it"], "the cases are"),
        (["--tolerance", "0.01"], "tolerance"),
        (["--budget", "soon"], "--budget"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(measured, capsys, arguments, words):
    assert cli.run(["regress", "main", *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert words in error
    assert "\n" not in error


def test_a_build_that_fails_is_exit_2_and_shows_the_compilers_lines(measured, monkeypatch, capsys):
    def fails(*_):
        raise BuildError(REVISION, ["call.cpp:1:1: error: no such thing", "ninja: build stopped"])

    monkeypatch.setattr(check, "build_all", fails)
    assert cli.run(["regress", "main"]) == 2
    error = capsys.readouterr().err
    assert "main (aaaaaaaaaa) does not build: call.cpp:1:1: error: no such thing" in error
    assert "ninja: build stopped" in error
