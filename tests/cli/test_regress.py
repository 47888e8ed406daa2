"""The command: exit codes, what is printed and stored, and how mistakes are said."""

import json
import os

import pytest

from fffbench import cli
from fffbench.regress import check, cuda, run, sources
from fffbench.regress.build import BuildError
from fffbench.regress.run import Builds
from fffbench.regress.sources import Revision
from fffbench.regress.suite import suites

CPU, CUDA = suites()
SUITE, CUDA_SUITE, DRIFT = CPU.cases, CUDA.cases, CPU.drift

BASE = Revision("main", "a" * 40, ())
HEAD = Revision(sources.WORKING_TREE, "", (("CMakeLists.txt", b"changed"),))


def measured_work(planted, cuda_head=0.0):
    def work(request):
        step = 0.004 * (-1) ** request["block"]
        moves = planted if request["device"] == "cpu" else {**planted, "head": cuda_head}
        times = {}
        for case in request["cases"]:
            times[case["name"]] = {}
            for side in case["sides"]:
                moved = 0.0 if case["name"] in (DRIFT.name, CUDA.drift.name) else moves.get(side, 0.0)
                times[case["name"]][side] = [1e-5 * (1 + moved + step * (side != "base"))] * 4
        return {"times": times, "reasons": {}}

    return work


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """A check whose builds and workers are stand-ins; returns how head compares, by side."""
    planted = {"head": 0.0, "planted": 0.2, "twin": 0.0}
    work = measured_work(planted)
    monkeypatch.setattr(sources, "repository", lambda *_: tmp_path)
    monkeypatch.setattr(sources, "read", lambda _, name, *__: HEAD if name is None else BASE)
    monkeypatch.setattr(cuda, "reason", lambda: "no NVIDIA device here")
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
    assert len(printed["cases"]) == len(SUITE)


def test_the_summary_goes_to_the_job_and_the_file(measured, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    assert cli.run(["regress", "main", "--markdown", "out.md"]) == 0
    assert (tmp_path / "summary.md").read_text() == (tmp_path / "out.md").read_text()
    assert "| planted slow-down | passed |" in (tmp_path / "out.md").read_text()
    assert len(list((tmp_path / "results" / "regress").glob("*/*.json"))) == 1


def test_a_machine_without_a_gpu_says_so_in_the_data(measured, tmp_path, capsys):
    assert cli.run(["regress", "main", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["skipped"] == {
        "fff_cuda": "no NVIDIA device here",
        "fff_triton": "no NVIDIA device here",
    }
    assert cli.run(["regress", "main", "--devices", "cuda", "--json"]) == 3
    printed = json.loads(capsys.readouterr().out)
    assert printed["reason"] == "no case was compared"
    assert printed["skipped"]["fff_cuda"] == "no NVIDIA device here"
    assert printed["skipped"]["fff_cpu"] == "not asked for"


class Server:
    """Stands in for the process that measures on a GPU."""

    def __init__(self, work):
        self.work = work

    def __call__(self, request):
        return self.work(request)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


@pytest.mark.parametrize(("slower", "code"), [(0.0, 0), (0.2, 1)])
def test_where_a_gpu_is_both_devices_are_one_check(measured, monkeypatch, tmp_path, capsys, slower, code):
    monkeypatch.setattr(cuda, "reason", lambda: None)
    monkeypatch.setattr(cuda, "Server", lambda: Server(measured_work(measured, cuda_head=slower)))
    monkeypatch.setattr(cuda, "build_all", lambda *_: Builds(*(tmp_path / name / "src" for name in "abcd")))
    assert cli.run(["regress", "main", "--json"]) == code
    printed = json.loads(capsys.readouterr().out)
    assert printed["skipped"] == {}
    assert len(printed["controls"]) == 6
    assert len(printed["cases"]) == len(SUITE) + len(CUDA_SUITE)
    said = {row["case"]: row["answer"] for row in printed["cases"]}
    assert said[SUITE[0].name] == "none"
    assert said[CUDA_SUITE[0].name] == ("regression" if slower else "none")


def test_only_chooses_cases_by_words(measured, capsys):
    assert cli.run(["regress", "main", "--only", "bf16", "--json"]) == 0
    assert all("bf16" in case["case"] for case in json.loads(capsys.readouterr().out)["cases"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--only", "nothing-like-it"], "the cases are"),
        (["--tolerance", "0.01"], "tolerance"),
        (["--budget", "soon"], "--budget"),
        (["--devices", "tpu"], "cpu, cuda"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(measured, capsys, arguments, words):
    assert cli.run(["regress", "main", *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert words in error
    assert "\n" not in error


def test_a_build_that_fails_is_exit_2_and_shows_the_compilers_lines(measured, monkeypatch, capsys):
    def fails(*_):
        raise BuildError(BASE, ["call.cpp:1:1: error: no such thing", "ninja: build stopped"])

    monkeypatch.setattr(check, "build_all", fails)
    assert cli.run(["regress", "main"]) == 2
    error = capsys.readouterr().err
    assert "main (aaaaaaaaaa) does not build: call.cpp:1:1: error: no such thing" in error
    assert "ninja: build stopped" in error


def test_equal_sources_have_their_own_word_and_nothing_is_stored(measured, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sources, "read", lambda *_: BASE)
    monkeypatch.setattr(check, "build_all", lambda *_: pytest.fail("built"))
    assert cli.run(["regress", "main", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["answer"] == "unchanged"
    assert "nothing to compare" in printed["reason"]
    assert printed["skipped"]["fff_cpu"] == "the same sources on both sides"
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([""], "BASE is empty"),
        (["  "], "BASE is empty"),
        (["main", ""], "HEAD is empty"),
        (["main", "--only", ""], "--only"),
        (["main", "--only", ","], "--only"),
        (["main", "--budget", ""], "--budget"),
        (["main", "--budget", "9" * 400], "--budget"),
        (["main", "--results", ""], "--results is empty"),
        (["main", "--results="], "--results is empty"),
        (["main", "--markdown", ""], "--markdown is empty"),
        (["main", "--margin", "nan"], "--margin"),
        (["main", "--tolerance", "nan"], "--tolerance"),
    ],
)
def test_an_empty_or_degenerate_argument_is_refused(measured, capsys, arguments, words):
    assert cli.run(["regress", *arguments]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_a_summary_is_not_written_into_a_pipe(measured, tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe")
    assert cli.run(["regress", "main", "--markdown", "pipe"]) == 2
    assert "not a plain file" in capsys.readouterr().err.split("\n")[-2]
