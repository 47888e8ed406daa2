"""Files of whole models are foreign files: what cannot be used is named, and the rest loads."""

from __future__ import annotations

import copy
import json

import pytest
from synthetic import MACHINE, STABLE, facts_of

from fffbench import timed
from fffbench.results import models
from fffbench.results.merge import merge
from fffbench.results.models import load_models

CELL = {
    "cell": "fff-1x12@bert-base-encode-b1x128-fp32-cpu-2th-s0@eager",
    "processes": [[0.1, 0.2], [0.1]],
    "check": {"error": 0.5, "tokens": 10, "layers": 12},
    "routing": [{"tokens": 4, "leaves": 4, "visits": {"0": 2, "2": 2}}],
    "weights_bytes": 1,
    "peak_bytes": 1,
    "build_seconds": 0.1,
    "prepare_seconds": 0.0,
    "planned_processes": 6,
}


def stored():
    one = {"id": MACHINE, "stable": facts_of(MACHINE, STABLE)}
    run = {"format": 1, "run": "models-20261127-000000-aaaaaa", "preset": "models", "started": "2026-11-27T00:00:00Z"}
    skipped = [{"cell": "dense@bert-base-encode-b1x128-bf16-cuda-1th-s0@graph", "reason": "no GPU"}]
    return {"fffbench": {**run, "machine": one}, "models_format": 1, "cells": [CELL], "skipped": skipped}


def load(tmp_path, data):
    folder = tmp_path / "models" / data["fffbench"]["machine"]["id"]
    folder.mkdir(parents=True)
    (folder / "a.json").write_text(json.dumps(data))
    return load_models(tmp_path)


def test_what_was_written_is_read(tmp_path):
    found = load(tmp_path, stored())
    [record] = found.records
    assert not found.refused
    assert record.info.processes == [[0.1, 0.2], [0.1]]
    assert record.info.routing[0].counts == [2, 2]
    assert found.skipped[0][2] == "no GPU"
    assert record.provisional


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda d: d["cells"][0].update(cell="nonsense"), "cells[0].cell"),
        (lambda d: d["cells"][0].update(processes=[]), "cells[0].processes"),
        (lambda d: d["cells"][0].update(processes=[[0.0]]), "cells[0].processes[0][0]"),
        (lambda d: d["cells"][0].update(processes=[["fast"]]), "cells[0].processes[0][0]"),
        (lambda d: d["cells"][0]["check"].update(error=1.5), "cells[0].check.error"),
        (lambda d: d["cells"][0]["check"].update(tokens=0), "cells[0]"),
        (lambda d: d["cells"][0]["routing"][0].update(visits={"x": 1}), "cells[0].routing[0].visits"),
        (lambda d: d["cells"].append(d["cells"][0]), "cells[1].cell"),
        (lambda d: d["skipped"][0].update(cell="?"), "skipped[0].cell"),
        (lambda d: d.update(models_format=2), "models_format"),
        (lambda d: d.update(cells={}), "cells"),
        (lambda d: d["fffbench"].update(format=9), "fffbench.format"),
        (lambda d: d["fffbench"]["machine"].update(id="other"), "fffbench.machine.id"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path, change, field):
    data = copy.deepcopy(stored())
    folder = data["fffbench"]["machine"]["id"]
    change(data)
    (tmp_path / "models" / folder).mkdir(parents=True)
    (tmp_path / "models" / folder / "a.json").write_text(json.dumps(data))
    found = load_models(tmp_path)
    assert [refusal.field for refusal in found.refused] == [field]


def test_a_folder_without_models_has_none(tmp_path):
    assert load_models(tmp_path).records == []


def test_results_of_another_machine_are_merged_as_all_others_are(tmp_path):
    load(tmp_path / "theirs", stored())
    merged = merge([tmp_path / "theirs"], tmp_path / "ours")
    assert not merged.refused
    assert [record.id for record in load_models(tmp_path / "ours").records] == [
        record.id for record in load_models(tmp_path / "theirs").records
    ]
    assert len(load_models(tmp_path / "ours").records) == 1


@pytest.mark.parametrize(
    ("processes", "threads", "left"),
    [(3, 2, {"new"}), (2, 2, {"old", "new"}), (3, 1, {"old", "new"})],
    ids=["whole", "processes", "threads"],
)
def test_a_run_that_was_cut_short_supersedes_nothing(tmp_path, monkeypatch, processes, threads, left):
    """As of layers: older results go with a visit in its processes on all threads, and with nothing less."""
    monkeypatch.setattr(models, "current", {timed.MODELS: "now"}.get)
    folder = tmp_path / "models" / MACHINE
    folder.mkdir(parents=True)
    for name, sources, many, on in (("old", "before", 6, 2), ("new", "now", processes, threads)):
        data = stored()
        data["fffbench"]["run"] = name
        cell = CELL["cell"].replace("2th", f"{on}th")
        data["cells"] = [{**CELL, "cell": cell, "processes": [[0.1]] * many, "timed_sources": sources}]
        (folder / f"{name}.json").write_text(json.dumps(data))
    found = load_models(tmp_path)
    assert {record.run for record in found.records} == left, found.refused
