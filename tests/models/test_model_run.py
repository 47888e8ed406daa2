"""A run over whole models is measured in fresh processes, killed and continued, and stored where analysis reads it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("fffbench._cpu", reason="the C++ kernels are not built")

from fffbench.cli import measuring
from fffbench.errors import UserError
from fffbench.models.exporting import export
from fffbench.models.journal import Header, read_journal
from fffbench.models.outcome import ModelOutcome, failed, outcome_from_json
from fffbench.plan import options
from fffbench.plan.models import parse_model_cell
from fffbench.results.journal import Journal
from fffbench.results.models import Check, load_models
from fffbench.results.record import Machine, RunInfo

CELLS = [f"{v}@bert-tiny-encode-b1x16-fp32-cpu-2th-s0@eager" for v in ("dense", "none", "fff-1x4")]
CHECK = Check(error=0.5, tokens=4, layers=2)


def command(tmp_path, *arguments):
    environment = {**os.environ, "TMPDIR": str(tmp_path)}  # a lock of its own
    return subprocess.run(
        [sys.executable, "-P", "-m", "fffbench", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
        check=False,
    )


def test_a_preset_is_measured_stored_and_shown(tmp_path):
    results = str(tmp_path / "results")
    what = ("--preset", "models-tiny", "--implementations", "dense,none,fff-1x4", "--processes", "1")
    done = command(tmp_path, "run", *what, "--seconds", "0.02", "--threads", "1", "--results", results)
    assert done.returncode == 0, done.stderr
    found = load_models(results)
    assert not found.refused
    assert len(found.records) == 6
    for record in found.records:
        assert len(record.info.processes) == 1
        assert record.info.weights_bytes > 0
        assert bool(record.info.routing) == record.cell.variant.is_tree
        assert record.info.check.tokens == (
            0 if record.cell.variant.kind in ("dense", "none") else 2 * record.cell.work.new_tokens
        )
    [machine] = found.machines.values()
    assert machine.observed["transformers"]
    assert not list((tmp_path / "results" / "models").glob("*/*.journal"))
    shown = command(tmp_path, "models", "--results", results, "--json")
    assert len(json.loads(shown.stdout)) == 6


def test_a_job_can_also_be_done_by_an_interpreter_of_its_own():
    """Where a library has asked CUDA's driver before the fork."""
    job = {"cells": CELLS[2:], "process": 3, "seconds": 0.01, "until": None}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "fffbench.models.worker", json.dumps(job), "1"],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    begun, ended = map(json.loads, done.stdout.splitlines())
    assert begun == {"event": "cell", "cell": CELLS[2]}
    outcome = outcome_from_json(ended["outcome"])
    assert (outcome.cell, outcome.process, outcome.failure) == (CELLS[2], 3, None)


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ({"cache": "cold"}, "--cache does not apply to whole models"),
        ({"implementations": "nonsense"}, "unknown variant 'nonsense'"),
        ({"batches": "77"}, "has no cell with these values"),
        ({"threads": "65536"}, "cores can be used here"),
    ],
)
def test_what_does_not_apply_is_refused_before_anything_is_measured(tmp_path, axes, said):
    asked = options.axes(**axes)
    with pytest.raises(UserError, match=said) as error:
        measuring._run_models("models-tiny", asked, None, None, None, None, tmp_path, only_plan=True)
    assert "\n" not in str(error.value)


def journal_of(tmp_path, outcomes):
    run = RunInfo(
        format=1,
        run="models-x",
        preset="models-tiny",
        started="2026-11-27T00:00:00Z",
        machine=Machine(id="m", stable={}),
    )
    header = Header(plan="key", run=run, processes=2, cells=CELLS, skipped=[("a", "b")])
    path = tmp_path / "models-x.journal"
    with Journal.create(path, header.model_dump()) as journal:
        for outcome in outcomes:
            journal.append({"outcome": outcome.to_json()})
    return path


def good(name, process, seconds=0.1):
    return ModelOutcome(name, process, (seconds, seconds), CHECK, weights_bytes=1, peak_bytes=2)


def test_an_outcome_survives_the_journal():
    assert outcome_from_json(json.loads(json.dumps(good(CELLS[2], 1).to_json()))) == good(CELLS[2], 1)
    with pytest.raises(ValueError, match="no check"):
        outcome_from_json({"cell": CELLS[0], "process": 0, "samples": [0.1]})


def test_a_journal_becomes_a_file_in_which_every_planned_cell_has_its_times_or_a_reason(tmp_path):
    lost = failed(parse_model_cell(CELLS[1]), 0, "wrong result: layer 0")
    path = journal_of(tmp_path, [good(CELLS[0], 1), good(CELLS[0], 0, 0.2), lost])
    stored = json.loads(export(path).read_text())
    assert [cell["cell"] for cell in stored["cells"]] == CELLS[:1]
    assert stored["cells"][0]["processes"] == [[0.2, 0.2], [0.1, 0.1]]
    assert stored["cells"][0]["check"]["tokens"] == 8
    reasons = {entry["cell"]: entry["reason"] for entry in stored["skipped"]}
    assert reasons[CELLS[1]] == "wrong result: layer 0"
    assert reasons[CELLS[2]].startswith("the time budget ended")
    assert not path.exists()


def test_lines_that_cannot_be_used_cost_nothing_else(tmp_path):
    path = journal_of(tmp_path, [good(CELLS[0], 0), good(CELLS[0], 0, 9.0), good(CELLS[0], 7)])
    with path.open("a") as file:
        file.write('{"outcome": {"cell": "x"}}\nnot json\n{"outcome": {"cell": "cut')
    _, outcomes = read_journal(path)
    assert [(one.cell, one.process, one.samples[0]) for one in outcomes] == [(CELLS[0], 0, 0.1)]
