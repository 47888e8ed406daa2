"""Published figures about whole models are judged by the rule of all claims; others' figures say how they are known."""

from __future__ import annotations

import pytest

from fffbench.analysis.model_text import csv_rows
from fffbench.analysis.models import model_rows
from fffbench.claims.model_claims import judge_models, load_figures, load_model_claims, pattern
from fffbench.errors import UserError
from fffbench.plan.models import parse_model_cell
from fffbench.report.model_section import claims_table, elsewhere_table, tables
from fffbench.results.models import Check, ModelInfo, ModelRecord, ModelResults


def record(variant, seconds, device="cpu", mode="eager", processes=6):
    name = f"{variant}@bert-base-encode-b1x128-fp32-{device}-2th-s0@{mode}"
    info = ModelInfo(
        cell=name,
        processes=[[seconds * (1 + 0.001 * i)] for i in range(processes)],
        check=Check(error=0.1, tokens=1, layers=12),
        weights_bytes=1,
        peak_bytes=1,
        build_seconds=1.0,
        prepare_seconds=0.0,
        planned_processes=6,
    )
    return ModelRecord("models-1", "m", "2026-11-27T00:00:00Z", parse_model_cell(name), info)


def judged(*records):
    rows = model_rows(ModelResults(records=list(records)))
    return {verdict.id: verdict for verdict in judge_models(rows)}


def test_a_masked_model_within_the_band_of_15_percent_is_reproduced():
    assert judged(record("dense", 1.0), record("masked-1x12", 1.2))["model-15-percent-slower"].verdict == "reproduced"
    assert judged(record("dense", 1.0), record("masked-1x12", 2.2))["model-15-percent-slower"].verdict == "exceeded"
    found = judged(record("dense", 1.0), record("masked-1x12", 0.7))["model-15-percent-slower"]
    assert (found.verdict, found.measured) == ("not-reproduced", pytest.approx(0.7, rel=0.01))


def test_the_slowdown_is_of_eager_models_whatever_else_is_faster():
    found = judged(record("dense", 1.0), record("dense", 0.5, mode="compiled"), record("masked-1x12", 1.1))
    assert found["model-15-percent-slower"].measured == pytest.approx(1.1, rel=0.01)


def test_what_a_model_gains_at_most_excludes_78x_and_341x():
    found = judged(record("dense", 0.1), record("none", 0.037))
    for name in ("model-bound-78x", "model-bound-341x"):
        assert found[name].verdict == "not-reproduced"
        assert found[name].measured == pytest.approx(2.7, rel=0.01)
    assert "28.9 times less than 78x" in found["model-bound-78x"].reason
    assert found["model-gpus-99.7-percent"].verdict == "not-measured"  # that one is about GPUs
    fewer = judged(record("dense", 4.0, "cuda"), record("none", 0.01, "cuda"))["model-gpus-99.7-percent"]
    assert fewer.verdict == "reproduced"
    assert "times less than 341x" in fewer.reason  # of a count of GPUs nothing is so many times less


def test_too_few_processes_decide_nothing():
    found = judged(record("dense", 0.1, processes=2), record("none", 0.037, processes=2))
    assert found["model-bound-78x"].verdict == "undecided"


def test_what_was_not_measured_says_what_to_run():
    for verdict in judge_models([]):
        assert verdict.verdict == "not-measured"
        assert "fffbench run --preset models" in verdict.reason


def test_every_figure_from_elsewhere_says_how_it_is_known_and_none_is_ours():
    figures = load_figures()
    assert {one.known for one in figures} == {"read", "secondary", "recalled"}
    assert not {one.work for one in figures} & {claim.statement for claim in load_model_claims()}
    assert pattern(figures).startswith(
        "Of 8 published figures for whole models with conditional computation, 6 lie between 1.15x and 2.00x"
    )


def test_a_claim_that_is_none_is_named(tmp_path):
    (tmp_path / "x.toml").write_text('id = "x"\n')
    with pytest.raises(UserError, match=r"claim x\.toml: order: "):
        load_model_claims(tmp_path)


def test_the_page_s_tables_have_a_cell_for_every_head():
    rows = model_rows(ModelResults(records=[record("dense", 0.1), record("none", 0.04), record("fff-1x12", 0.05)]))
    made = [*tables(rows, {"m": "a machine"}), claims_table(judge_models(rows), {}), elsewhere_table(load_figures())]
    for table in made:
        assert len(table.head) == len(table.numeric)
        assert all(len(row) == len(table.head) for row in table.rows)
    assert "on a machine" in made[0].caption
    assert csv_rows(rows)[2]["share"] == pytest.approx(5 / 6, rel=0.01)
