"""Rows of whole models: each side at its best mode, the gain, and the share of what could be gained at most."""

from __future__ import annotations

import random

import pytest

from fffbench.analysis.model_text import notes_of, sentence
from fffbench.analysis.models import effective, model_rows, realised
from fffbench.plan.models import parse_model_cell
from fffbench.results.models import Check, ModelInfo, ModelRecord, ModelResults, Routing

WORK = "bert-base-encode-b1x128-fp32-cpu-2th-s0"
CHECK = Check(error=0.2, tokens=12, layers=12)


def record(variant, seconds, mode="eager", run="models-1", processes=6, scatter=0.0, **more):
    draw = random.Random(f"{variant}{mode}{run}")
    name = f"{variant}@{WORK}@{mode}"
    info = ModelInfo(
        cell=name,
        processes=[[seconds * (1 + scatter * draw.uniform(-1, 1)) for _ in range(5)] for _ in range(processes)],
        check=CHECK,
        weights_bytes=1000,
        peak_bytes=2000,
        build_seconds=1.0,
        prepare_seconds=0.0,
        planned_processes=6,
        **more,
    )
    return ModelRecord(run, "machine", "2026-11-27T00:00:00Z", parse_model_cell(name), info)


def rows(*records):
    return {row.variant: row for row in model_rows(ModelResults(records=list(records)))}


def test_gain_and_share_are_against_the_best_mode_of_each_side():
    found = rows(
        record("dense", 0.100),
        record("dense", 0.090, "compiled"),
        record("none", 0.030),
        record("none", 0.035, "compiled"),
        record("fff-1x12", 0.036),
        record("fff-1x12", 0.045, "compiled"),
    )
    fff = found["fff-1x12"]
    assert (found["dense"].mode, found["none"].mode, fff.mode) == ("compiled", "eager", "eager")
    assert fff.gain == pytest.approx(0.090 / 0.036)
    assert fff.share == pytest.approx((0.090 - 0.036) / (0.090 - 0.030))
    assert found["none"].gain == pytest.approx(3.0)
    assert fff.same_mode["eager"].value == pytest.approx(0.1 / 0.036)
    assert fff.same_mode["compiled"].value == pytest.approx(2.0)
    assert fff.tokens_per_second == pytest.approx(128 / 0.036)
    assert found["dense"].gain is None


def test_a_mode_that_one_side_lost_is_compared_with_on_neither():
    records = [record("dense", 0.100), record("dense", 0.020, "compiled"), record("none", 0.050)]
    records += [record("none", 0.010, "compiled"), record("fff-1x12", 0.080)]
    lost = parse_model_cell(f"fff-1x12@{WORK}@compiled")
    found = {row.variant: row for row in model_rows(ModelResults(records, skipped=[("machine", lost, "it differs")]))}
    fff = found["fff-1x12"]
    assert fff.gain == pytest.approx(0.100 / 0.080)  # and not 0.020 / 0.080
    assert fff.share == pytest.approx((0.100 - 0.080) / (0.100 - 0.050))
    assert fff.notes[0].startswith("compiled has no time")
    assert found["none"].gain == pytest.approx(2.0)


def test_the_share_s_interval_holds_the_truth_and_shrinks_with_processes():
    def share(processes):
        kind = {"processes": processes, "scatter": 0.05}
        found = rows(record("dense", 0.1, **kind), record("none", 0.04, **kind), record("fff-1x12", 0.05, **kind))
        return found["fff-1x12"]

    few, many = share(6), share(60)
    for row in (few, many):
        low, high = row.share_interval
        assert low < 5 / 6 < high
    assert many.share_interval[1] - many.share_interval[0] < few.share_interval[1] - few.share_interval[0]
    assert not few.provisional
    assert share(3).provisional


def test_int8_has_no_share_because_it_makes_other_layers_faster_too():
    found = rows(record("dense", 0.1), record("none", 0.04), record("int8", 0.03), record("int8-fff-1x12", 0.02))
    assert found["int8"].share is None
    assert found["int8-fff-1x12"].share is None
    assert found["int8"].gain > found["none"].gain


def test_there_is_no_share_where_leaving_the_layers_out_gains_nothing():
    assert realised([1.0] * 6, [0.9] * 6, [1.0] * 6) is None
    assert realised([], [1.0], [1.0]) is None


def test_runs_are_pooled_and_none_is_picked():
    found = rows(
        record("dense", 0.1),
        record("dense", 0.1, run="models-2"),
        record("fff-1x12", 0.02),
        record("fff-1x12", 0.08, run="models-2"),
    )
    assert found["fff-1x12"].time == pytest.approx(0.05)
    assert len(found["fff-1x12"].records) == 2


def test_a_plain_layer_of_equal_time_lies_between_two_measured_ones():
    found = rows(record("dense", 0.100), record("none", 0.030), record("small-96", 0.040), record("fff-1x12", 0.035))
    assert found["fff-1x12"].equal_time_neurons == pytest.approx(48)
    assert rows(record("dense", 0.1), record("fff-1x12", 0.2))["fff-1x12"].equal_time_neurons is None


def test_effective_leaves_are_those_that_would_be_as_spread_out():
    assert effective(Routing(tokens=8, leaves=8, visits={"1": 8})) == pytest.approx(8)
    assert effective(Routing(tokens=8, leaves=8, visits={"0": 7, "8": 1})) == pytest.approx(1)
    assert effective(Routing(tokens=8, leaves=8, visits={"0": 8})) == 0


def test_a_reader_is_told_the_gain_its_bound_and_what_is_slower():
    found = model_rows(
        ModelResults(
            records=[
                record("dense", 0.1),
                record("none", 0.04),
                record("fff-1x12", 0.05, scatter=0.01),
                record("fff-128x5", 0.11),
                record("masked-1x12", 0.14),
                record("int8", 0.03),
            ]
        )
    )
    said = sentence(found)
    assert "BERT-base, 1 x 128 tokens, fp32, CPU with 2 threads: 100 ms as it is." in said
    assert "12 of 4095 neurons: 2.0" in said
    assert "multiply-adds alone would allow 2.85x" in said
    assert "FFF as published (masked), 1 tree of 12 levels 0.714x" in said
    assert "Slower than the model as it is in the same mode: FFF, 128 trees of 5 levels" in said
    assert notes_of(found)[0] == said
    assert all(row.to_json()["work"] == WORK for row in found)


def test_without_the_model_as_it_is_nothing_is_said_of_a_gain():
    found = model_rows(ModelResults(records=[record("fff-1x12", 0.05)]))
    assert found[0].gain is None
    assert sentence(found) == ""
    assert notes_of(found) == []
