"""Only records of the sources of now speak where there are any; a device that has none is shown, and named older."""

from __future__ import annotations

import json

import pytest
from synthetic import MACHINE, cell_id, write_run

from benchmarks.studies import archive_older
from fffbench import timed
from fffbench.claims.judging import judge_all
from fffbench.errors import UserError
from fffbench.report.analysed import analyse
from fffbench.report.published import split
from fffbench.results import current as current_sources
from fffbench.results.store import load

FFF, DENSE, BMM = cell_id("fff_cpu"), cell_id("dense_linear"), cell_id("dense_bmm")
TWO_THREADS = [cell_id(name, threads=2) for name in ("fff_cpu", "dense_linear")]
ON_GPU = cell_id("fff_triton", device="cuda", threads=1, call="graph")
NOW = {"fff_cpu": "f2", "dense_linear": "d2", "dense_bmm": "b2", "fff_triton": "t2", timed.MODELS: "m2"}
BEFORE = {"fff_cpu": "f1", "dense_linear": "d1", "dense_bmm": "b2", "fff_triton": "t1"}  # one did not change
ELSEWHERE = "other-cpu-2c-0002"


@pytest.fixture(autouse=True)
def _sources_of_now(monkeypatch):
    monkeypatch.setattr(current_sources, "current", NOW.get)


def run(results, name, sources, cells=(FFF, DENSE, BMM), *, seconds=1e-3, machine=MACHINE, room="", skipped=None):
    """A run of ``cells`` of these ``sources``."""
    path = write_run(
        results / room, cells=dict.fromkeys(cells, seconds), run=name, machine=machine, skipped=skipped or {}
    )
    value = json.loads(path.read_text())
    for benchmark in value["benchmarks"]:
        info = benchmark["extra_info"]["fffbench"]
        info["timed_sources"] = sources.get(info["cell"].partition("@")[0], "")
    path.write_text(json.dumps(value))
    return path


def runs_of(records):
    return {(record.run, record.cell.implementation) for record in records}


def test_where_the_kernels_were_measured_from_the_sources_of_now_only_those_of_now_speak(tmp_path):
    run(tmp_path, "old", BEFORE)
    run(tmp_path, "new", NOW)
    loaded = load(tmp_path)
    assert runs_of(loaded.superseded) == {("old", "fff_cpu"), ("old", "dense_linear")}
    assert runs_of(loaded.records) == {
        ("old", "dense_bmm"),
        *(("new", name) for name in BEFORE if name != "fff_triton"),
    }
    assert loaded.older == frozenset()
    assert set(loaded.runs) == {"old", "new"}


def test_where_they_were_not_everything_speaks_and_nothing_is_called_older_if_nothing_is_newer(tmp_path):
    run(tmp_path, "old", BEFORE)
    run(tmp_path, "unknown", {})
    loaded = load(tmp_path)
    assert (len(loaded.records), loaded.superseded, loaded.older) == (6, (), frozenset())


@pytest.mark.parametrize(
    ("seconds", "cells"),
    [([2e-3, 2e-3], (FFF, DENSE, *TWO_THREADS)), (2e-3, (FFF, DENSE, TWO_THREADS[1]))],
    ids=["processes", "threads"],
)
def test_a_run_that_was_cut_short_supersedes_nothing(tmp_path, seconds, cells):
    """Two processes of three, or one thread where there were two: what the older runs have stays in the figures."""
    run(tmp_path, "old", BEFORE, (FFF, DENSE, *TWO_THREADS))
    run(tmp_path, "new", NOW, cells, seconds=seconds)
    run(tmp_path, "elsewhere", NOW, machine=ELSEWHERE)
    loaded = load(tmp_path)
    assert (loaded.superseded, loaded.older) == ((), {(MACHINE, "cpu")})
    assert {record.run for record in loaded.records} == {"old", "new", "elsewhere"}


def test_a_short_run_is_of_the_sources_of_now_where_nothing_older_is(tmp_path):
    run(tmp_path, "new", NOW, (FFF, DENSE), seconds=[1e-3])
    run(tmp_path, "elsewhere", NOW, machine=ELSEWHERE)
    assert load(tmp_path).older == frozenset()


def test_a_device_without_newer_results_is_shown_and_named_older_and_the_newer_one_comes_first(tmp_path):
    run(tmp_path, "old", BEFORE, (*(FFF, DENSE, BMM), ON_GPU), machine=ELSEWHERE)
    run(tmp_path, "new", NOW)
    loaded = load(tmp_path)
    assert loaded.older == {(ELSEWHERE, "cpu"), (ELSEWHERE, "cuda")}
    devices = {device.place: device for device in analyse(loaded).shown}
    assert (MACHINE, "cpu") in devices, "of one model of hardware the machine of the sources of now stands on the page"
    assert "older" not in devices[MACHINE, "cpu"].name
    assert devices[ELSEWHERE, "cuda"].name.endswith(", older sources")


def test_one_device_of_a_machine_may_be_of_now_and_the_other_older(tmp_path):
    run(tmp_path, "old", BEFORE, (FFF, DENSE, ON_GPU))
    run(tmp_path, "new", NOW, (FFF, DENSE))
    loaded = load(tmp_path)
    assert loaded.older == {(MACHINE, "cuda")}
    assert ("old", "fff_triton") in runs_of(loaded.records)


def test_the_archive_is_read_and_speaks_only_where_nothing_newer_is(tmp_path):
    run(tmp_path, "old", BEFORE, room="archive")
    run(tmp_path, "older", BEFORE, room="archive", machine=ELSEWHERE)
    run(tmp_path, "new", NOW)
    loaded = load(tmp_path)
    assert loaded.refused == ()
    assert {record.run for record in loaded.records} == {"old", "older", "new"}
    assert runs_of(loaded.superseded) == {("old", "fff_cpu"), ("old", "dense_linear")}
    assert loaded.runs["old"].paths == (f"archive/matrix/{MACHINE}/old.json",)
    assert loaded.older == {(ELSEWHERE, "cpu")}


def test_no_claim_and_no_figure_takes_a_superseded_record(tmp_path):
    run(tmp_path, "old", BEFORE, (FFF,), seconds=1e-6)
    run(tmp_path, "old2", BEFORE, (DENSE,), seconds=10.0)
    run(tmp_path, "new", NOW, (FFF, DENSE))
    used = {record for row in judge_all(load(tmp_path)) for record in row.records}
    assert all(record.startswith("new/") for record in used)


def test_why_a_cell_had_no_time_is_forgotten_with_the_run_that_said_so(tmp_path):
    run(tmp_path, "old", BEFORE, (FFF,), skipped={DENSE: "wrong result: then"})
    run(tmp_path, "new", NOW, (FFF,), skipped={BMM: "needs 99 GB"})
    assert [item.reason for item in load(tmp_path).skipped] == ["needs 99 GB"]


def test_what_nobody_can_know_here_changes_nothing(tmp_path, monkeypatch):
    run(tmp_path, "old", BEFORE)
    run(tmp_path, "new", NOW)
    run(tmp_path, "theirs", {"dense_theirs": "x"}, (cell_id("dense_theirs"),))
    assert ("theirs", "dense_theirs") in runs_of(load(tmp_path).records), "another package's, which is not here"
    monkeypatch.setattr(current_sources, "current", lambda name: None)
    loaded = load(tmp_path)
    assert (loaded.superseded, loaded.older) == ((), frozenset())


def test_the_study_moves_files_that_have_no_cell_of_now_and_nothing_is_lost(tmp_path):
    run(tmp_path, "old", {**BEFORE, "dense_bmm": "b1"})
    run(tmp_path, "unknown", {})
    mixed, new = run(tmp_path, "mixed", BEFORE), run(tmp_path, "new", NOW)
    before = load(tmp_path)
    found = archive_older.older(tmp_path, NOW.get)
    assert [path.stem for path in found] == ["old", "unknown"]
    for path in found:
        target = archive_older.move(tmp_path, path)
        assert target == tmp_path / "archive" / "matrix" / MACHINE / f"{path.name}.gz"
    assert (mixed.exists(), new.exists()) == (True, True)
    after = load(tmp_path)
    assert runs_of(after.records) == runs_of(before.records)
    assert runs_of(after.superseded) == runs_of(before.superseded)
    assert archive_older.older(tmp_path, NOW.get) == []


def test_the_study_writes_over_nothing(tmp_path):
    path = run(tmp_path, "old", BEFORE)
    run(tmp_path, "old", BEFORE, room="archive")
    with pytest.raises(UserError, match="there already"):
        archive_older.move(tmp_path, path)
    assert path.exists()


def test_a_file_that_cannot_be_read_stays(tmp_path):
    path = run(tmp_path, "old", BEFORE)
    path.write_text("{")
    assert archive_older.older(tmp_path, NOW.get) == []


def test_a_readers_run_of_the_sources_of_now_supersedes_nothing_that_is_published(tmp_path):
    skips = {cell_id("dense_gemv"): "no budget"}
    run(tmp_path, "published", BEFORE, skipped=skips)
    alone = load(tmp_path)
    run(tmp_path, "mine", NOW)
    found = load(tmp_path)
    assert ("published", "fff_cpu") not in runs_of(found.records)
    published, own = split(found, frozenset({"mine"}))
    assert (published.records, published.skipped, published.older) == (alone.records, alone.skipped, alone.older)
    assert published.superseded == ()
    assert own is not None
    assert {record.run for record in own.records} == {"mine"}
