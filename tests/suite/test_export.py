"""A journal becomes pytest-benchmark's file whatever the user's pytest is set to; damage in it stays where it is."""

import json
import os
import subprocess
import sys

import pytest
from synthetic import CEILINGS, MACHINE, STABLE, STARTED, cell_id, facts_of

from fffbench.errors import UserError
from fffbench.measure.outcome import NEXT_RUN, Outcome
from fffbench.results import store
from fffbench.results.journal import Journal
from fffbench.results.record import FORMAT, OUT_OF_BUDGET, Machine, RunInfo
from fffbench.runs import journals
from fffbench.runs.collect import collect
from fffbench.runs.journals import Described, Header
from fffbench.suite.export import export

FFF, DENSE, LATE = cell_id("fff_cpu"), cell_id("dense_linear"), cell_id("dense_padded")
CHECKED = {"error": 1e-7, "tolerance": 1e-5, "tokens": 5}


def measured(cell, process, **rest):
    return Outcome(cell, process, samples=(1e-3 + process, 2e-3), wall=1.0, **{**CHECKED, **rest})


def begun(folder, outcomes, cells=(FFF, DENSE, LATE)):
    """The journal of a run over ``cells`` that holds ``outcomes``."""
    run = RunInfo(
        format=FORMAT,
        run="quick-1",
        preset="quick",
        started=STARTED,
        machine=Machine(id=MACHINE, stable=facts_of(MACHINE, STABLE), ceilings=CEILINGS),
    )
    named = {"fff_cpu": "fff", "dense_linear": "dense", "dense_padded": "dense"}
    described = {name: Described(family=family, summary="s", timed_sources="abc") for name, family in named.items()}
    header = Header(plan="key", run=run, processes=2, cells=list(cells), implementations=described)
    path = folder / "matrix" / MACHINE / f"quick-1{journals.SUFFIX}"
    with Journal.create(path, journals.to_json(header)) as journal:
        for outcome in outcomes:
            journal.append({"outcome": outcome.to_json()})
    return path


GOOD = [measured(cell, process) for cell in (FFF, DENSE) for process in range(2)]


def add(path, *lines):
    with path.open("ab") as file:
        file.writelines(line + b"\n" for line in lines)


@pytest.fixture
def hostile_pytest(tmp_path, monkeypatch):
    """A user's environment in which no pytest starts: options, plugins, configuration, conftest, modules, xdist."""
    here = tmp_path / "here"
    here.mkdir()
    (here / "conftest.py").write_text("raise SystemExit('conftest')")
    (here / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\nrequired_plugins = no-such-plugin\n")
    (here / "json.py").write_text("raise SystemExit('shadowed')")
    site = here / "site" / "hostile-1.0.dist-info"
    site.mkdir(parents=True)
    (site / "METADATA").write_text("Metadata-Version: 2.1\nName: hostile\nVersion: 1.0\n")
    (site / "entry_points.txt").write_text("[pytest11]\nhostile = hostile_plugin\n")
    (site.parent / "hostile_plugin.py").write_text("raise SystemExit('plugin')")
    monkeypatch.chdir(here)
    monkeypatch.setenv("PYTHONPATH", str(site.parent))
    monkeypatch.setenv("PYTEST_ADDOPTS", "--collect-only --no-such-option -n 4")
    monkeypatch.setenv("PYTEST_PLUGINS", "no_such_plugin")
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    monkeypatch.setenv("PYTHONWARNINGS", "error")


def test_nothing_of_the_users_pytest_disturbs_the_export(tmp_path, hostile_pytest):
    path = begun(tmp_path / "results", GOOD)
    target = export(path)
    assert not path.exists()
    assert [item.name for item in target.parent.iterdir()] == ["quick-1.json"]
    found = store.load(tmp_path / "results")
    assert not found.refused
    assert all("data" not in benchmark["stats"] for benchmark in json.loads(target.read_text())["benchmarks"])
    assert {record.cell.id: [list(one) for one in record.info.processes] for record in found.records} == {
        cell: [[1e-3, 2e-3], [1.001, 2e-3]] for cell in (FFF, DENSE)
    }
    assert [(item.cell.id, item.reason) for item in found.skipped] == [(LATE, OUT_OF_BUDGET)]


def test_pytest_benchmarks_own_compare_reads_the_file(tmp_path):
    target = export(begun(tmp_path / "results", GOOD))
    arguments = [sys.executable, "-m", "pytest_benchmark", "compare", str(target), "--columns", "min,median"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"test_cell[{FFF}]" in done.stdout
    assert f"benchmark '{FFF.split('@', 1)[1]}': 2 tests" in done.stdout


def test_a_result_file_is_never_replaced(tmp_path):
    path = begun(tmp_path / "results", GOOD)
    earlier = path.with_suffix(".json")
    earlier.write_text("of another run")
    assert export(path).name == "quick-1-2.json"
    assert earlier.read_text() == "of another run"
    assert not path.exists()
    assert not path.with_suffix(".draft").exists()


def test_a_file_system_without_links_takes_the_file_and_replaces_none(tmp_path, monkeypatch):
    def no_links(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    path = begun(tmp_path / "results", GOOD)
    target = export(path)
    assert json.loads(target.read_text())["fffbench"]["run"] == "quick-1"


def test_an_export_that_fails_says_why_keeps_the_journal_and_succeeds_when_repeated(tmp_path, monkeypatch):
    path = begun(tmp_path / "results", GOOD)
    path.with_suffix(".draft").mkdir()
    with pytest.raises((UserError, OSError)) as failed:
        export(path)
    assert "draft" in str(failed.value)
    assert path.exists()
    path.with_suffix(".draft").rmdir()
    assert export(path).exists()


def test_a_run_that_measured_no_cell_says_so_with_the_reason_and_promises_nothing(tmp_path):
    path = begun(tmp_path / "results", [Outcome(FFF, 0, failure="it crashed")])
    with pytest.raises(UserError, match=r"no cell was measured, so there is no result file: it crashed"):
        export(path)
    path = begun(tmp_path / "other", [])
    with pytest.raises(UserError, match="the time budget ended"):
        export(path)
    assert not path.exists()  # nothing was in it


LINES = {
    b'{"outcome": {"cell": "': "is damaged",
    b"\xff\x00": "is damaged",
    b"[" * 100_000: "is damaged",
    b"9" * 10_000: "is damaged",
    b"[]": "is no JSON object",
    b'{"outcome": 3}': "holds no outcome of this version",
    b'{"a line of": "the future"}': "is of no kind that this version knows",
    json.dumps({"outcome": GOOD[0].to_json()}).encode(): "repeats a process",
    json.dumps({"outcome": {**GOOD[0].to_json(), "process": 7}}).encode(): "was not planned",
    json.dumps({"outcome": {**GOOD[0].to_json(), "cell": cell_id("fff_cpu", batch=3)}}).encode(): "was not planned",
    json.dumps({"outcome": {**GOOD[0].to_json(), "samples": [-1.0]}}).encode(): "samples",
    json.dumps({"outcome": {**GOOD[0].to_json(), "of the future": 1}}).encode(): "of the future",
}


@pytest.mark.parametrize("line", LINES, ids=lambda line: line[:40].decode(errors="replace"))
def test_a_line_that_cannot_be_used_is_named_once_and_costs_no_other_line(tmp_path, line):
    path = begun(tmp_path, GOOD[:2])
    add(path, line, json.dumps({"outcome": GOOD[2].to_json()}).encode())
    said = []
    kept = journals.read(path, said.append)
    assert list(kept.outcomes) == GOOD[:3]
    [sentence] = said
    assert LINES[line] in sentence
    assert "line 4" in sentence
    assert "3 other lines are kept" in sentence
    assert "\n" not in sentence
    assert len(sentence) < 1000


@pytest.mark.parametrize(
    ("header", "word"),
    [
        (b"", "no header"),
        (b"{}", "not a journal of this version"),
        (b'{"run": {"format": 99}}', "newer version"),
        (b'{"run": []}', "not a journal of this version"),
        (b"garbage", "no header"),
    ],
)
def test_a_journal_that_cannot_be_used_is_named_and_hides_no_other(tmp_path, header, word):
    good = begun(tmp_path, GOOD)
    bad = good.with_name(f"quick-9{journals.SUFFIX}")
    bad.write_bytes(header + b"\n")
    os.mkfifo(good.with_name(f"quick-8{journals.SUFFIX}"))
    said = []
    found = journals.resumable(good.parent, "key", said.append)
    assert found.path == good
    assert list(found.outcomes) == GOOD
    [sentence] = said
    assert word in sentence
    assert "quick-9" in sentence
    assert bad.exists()
    mentioned = journals.unfinished(tmp_path)
    assert "2 unfinished runs" in mentioned
    assert "4 process results" in mentioned


def test_a_passing_failure_costs_its_process_and_an_own_failure_its_cell(tmp_path):
    passing = Outcome(DENSE, 1, failure="killed; so in 3 attempts", retry=NEXT_RUN)
    always = Outcome(LATE, 0, failure="no space", retry=NEXT_RUN)
    finished = collect(journals.read(begun(tmp_path / "a", [*GOOD[:3], passing, always])))
    by_cell = {info.cell: info for info in finished.measured}
    assert len(by_cell[DENSE].processes) == 1
    assert by_cell[DENSE].notes == ["1 of 2 processes: one was lost (killed; so in 3 attempts)"]
    assert {entry.cell: entry.reason for entry in finished.run.skipped} == {LATE: "no space; another run tries again"}
    own = Outcome(DENSE, 1, failure="wrong result")
    finished = collect(journals.read(begun(tmp_path / "b", [*GOOD[:3], own])))
    assert {entry.cell: entry.reason for entry in finished.run.skipped}[DENSE] == "wrong result"


def test_a_success_replaces_the_failure_of_an_earlier_attempt(tmp_path):
    passing = Outcome(FFF, 0, failure="killed", retry=NEXT_RUN)
    kept = journals.read(begun(tmp_path, [passing, *GOOD]))
    assert set(kept.outcomes) == set(GOOD)


@pytest.mark.parametrize(
    "lie", [{"samples": (5e-324,)}, {"tolerance": 1e300}, {"tokens": 0}, {"error": 1.0}, {"diverged": 9}], ids=str
)
def test_an_outcome_that_a_result_file_would_refuse_costs_its_process_and_not_its_cell(tmp_path, lie):
    good = measured(FFF, 0)
    path = begun(tmp_path, [good], cells=(FFF,))
    add(path, json.dumps({"outcome": measured(FFF, 1).to_json() | lie}).encode())
    said = []
    kept = journals.read(path, said.append)
    assert "line 3" in said[0]
    [info] = collect(kept).measured
    assert info.processes == [list(good.samples)]


def test_processes_of_a_run_that_continued_on_another_host_say_so(tmp_path):
    path = begun(tmp_path / "results", GOOD[:3])
    with Journal(path) as journal:
        journal.append({"host": "0123456789ab"})
        journal.append({"host": "no such word"})  # left out
        journal.append({"outcome": GOOD[3].to_json()})
    kept = journals.read(path)
    by_cell = {info.cell: info.hosts for info in collect(kept).measured}
    assert by_cell == {FFF: [], DENSE: ["", "0123456789ab"]}
    export(path)
    [record] = [record for record in store.load(tmp_path / "results").records if record.cell.id == DENSE]
    assert record.medians.hosts == {"", "0123456789ab"}
