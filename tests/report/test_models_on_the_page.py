"""Do whole models reach the first screen, the page and the archive once they are measured?"""

from __future__ import annotations

import csv
import random

import pytest

from fffbench.analysis.models import model_rows
from fffbench.claims.model_claims import judge_models
from fffbench.plan.architectures import ARCHITECTURES
from fffbench.plan.models import parse_model_cell
from fffbench.report import models
from fffbench.report.html import write_models
from fffbench.report.models import Models
from fffbench.results.models import Check, ModelInfo, ModelRecord, ModelResults

SECONDS = {"dense": 0.100, "none": 0.040, "fff-1x12": 0.050, "int8": 0.060, "small-768": 0.055}


def record(variant, seconds, work):
    draw = random.Random(variant + work)
    name = f"{variant}@{work}@eager"
    info = ModelInfo(
        cell=name,
        processes=[[seconds * draw.uniform(0.999, 1.001) for _ in range(5)] for _ in range(6)],
        check=Check(error=0.2, tokens=12, layers=12),
        weights_bytes=1000,
        peak_bytes=2000,
        build_seconds=1.0,
        prepare_seconds=0.0,
        planned_processes=6,
    )
    return ModelRecord("models-1", "machine", "2026-11-27T00:00:00Z", parse_model_cell(name), info)


@pytest.fixture
def whole():
    known = {name for name in SECONDS if name.split("-")[0] != "small"}
    records = [record(name, SECONDS[name], "bert-base-encode-b1x128-fp32-cpu-2th-s0") for name in sorted(known)]
    return Models(tuple(model_rows(ModelResults(records=records))), (), {"machine": "A machine"})


def test_the_first_screen_says_what_a_model_gains_and_what_it_could(whole):
    said = models.sentence(whole).text
    assert said == (
        "a whole model (BERT-base) runs at 2.00x of its speed with such layers on a CPU (2.50x with no feedforward "
        "layer at all)"
    )


def test_the_first_screen_says_it_of_cpus_and_of_gpus_apart():
    records = [
        record(name, SECONDS[name] / speed, f"bert-base-encode-b{batch}x128-{kind}-s0")
        for kind, batch, speed in (("fp32-cpu-2th", 1, 1), ("fp32-cpu-2th", 8, 1), ("bf16-cuda-1th", 1, 10))
        for name in ("dense", "none", "fff-1x12")
    ]
    said = models.sentence(Models(tuple(model_rows(ModelResults(records=records))), (), {})).text
    assert said.startswith("a whole model (BERT-base) runs at ")
    assert " on a CPU (" in said
    assert said.endswith(" and at 2.00x on a GPU (2.50x)")


def test_one_layer_of_a_larger_model_is_no_model():
    layer = next(name for name, one in ARCHITECTURES.items() if one.of_layers)
    work = f"{layer}-decode-b1x512-bf16-cuda-1th-s0"
    records = [record(name, SECONDS[name], work) for name in ("dense", "none")]
    records.append(record("fff-1x16", 0.05, work))
    assert models.sentence(Models(tuple(model_rows(ModelResults(records=records))), (), {})).text == ""


def test_the_table_has_the_model_as_it_is_and_the_best_of_each_kind_with_its_share(whole):
    table = models.table(whole)
    [row] = table.rows
    assert row[0].small == "A machine"
    assert row[1].main == "100 ms"
    assert row[2].main.startswith("2.00x [")
    assert "83." in row[2].small
    assert row[3].main.startswith("2.50x [")
    assert row[4].main == "not measured"
    assert row[5].main.startswith("1.67x [")


def test_every_row_is_in_the_csv(whole, tmp_path):
    write_models(whole, tmp_path)
    with (tmp_path / "models.csv").open() as file:
        rows = {row["variant"]: row for row in csv.DictReader(file)}
    assert set(rows) == {row.variant for row in whole.rows}
    assert float(rows["fff-1x12"]["gain"]) == pytest.approx(2.0, rel=0.01)
    write_models(None, tmp_path)
    assert (tmp_path / "models.csv").read_text().count("\n") == 1


def test_a_measured_claim_about_models_is_in_the_ledger_with_its_reason(whole):
    judged = Models(whole.rows, tuple(judge_models(whole.rows)), whole.names)
    [group] = models.ledger_group(judged, 6)
    by_id = {row.id: row for row in group.rows}
    assert by_id["model-bound-78x"].alone.verdict == "not-reproduced"
    assert "2.50x" in by_id["model-bound-78x"].alone.number
    assert "model-15-percent-slower" not in by_id  # the masked layer was not measured
    assert {note.id for note in models.notes(judged)} == {f"claim-{name}" for name in by_id}
    assert models.ledger_group(None, 6) == ()


def test_the_archive_has_what_others_published_and_its_sentence(whole, tmp_path):
    *_, table = models.archived(whole)
    assert (table.id, table.csv) == ("elsewhere", "elsewhere.csv")
    assert "none of it was measured here. Of 8 published figures" in table.caption
    write_models(whole, tmp_path)
    with (tmp_path / table.csv).open(encoding="utf-8", newline="") as file:
        assert [row["work"] for row in csv.DictReader(file)] == [row[0].main for row in table.rows]


def test_nothing_measured_is_nothing(tmp_path):
    assert models.models(tmp_path, {}) is None
    assert models.models(None, {}) is None
    assert models.archived(None) == ()
