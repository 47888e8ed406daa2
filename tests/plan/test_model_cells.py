"""A cell of a whole model has an id that parses back; presets never leave out what a variant is compared with."""

from __future__ import annotations

import pytest

from fffbench.errors import UserError
from fffbench.plan.model_presets import PRESETS, ModelAxes, model_cells
from fffbench.plan.models import ModelCell, Variant, Work, parse_model_cell


@pytest.mark.parametrize("preset", PRESETS.values(), ids=lambda preset: preset.name)
def test_every_cell_parses_back_and_has_its_comparison(preset):
    cells = model_cells(preset, ModelAxes(), 2)
    assert len(cells) == len(set(cells))
    for cell in cells:
        assert parse_model_cell(cell.id) == cell
        for text in ("dense", "none"):
            assert any(other.work == cell.work and other.variant.id == text for other in cells), cell.id


@pytest.mark.parametrize(
    "text",
    [
        "fff-1x12@bert-base-encode-b1x128-fp32-cpu-2th-s0",
        "fff-1x12@bert-base-decode-b1x128-fp32-cpu-2th-s0@eager",
        "fff-1x12@bert-huge-encode-b1x128-fp32-cpu-2th-s0@eager",
        "fff-1x12@bert-base-encode-b1x1280-fp32-cpu-2th-s0@eager",
        "fff-1x12@bert-base-encode-b01x128-fp32-cpu-2th-s0@eager",
        "fff-1x12@bert-base-encode-b1x128-fp32-cpu-2th-s0@graph",
        "fff-1x99@bert-base-encode-b1x128-fp32-cpu-2th-s0@eager",
        "small-0@bert-base-encode-b1x128-fp32-cpu-2th-s0@eager",
        "moe-4x16-top5@bert-base-encode-b1x128-fp32-cpu-2th-s0@eager",
        "x" * 400,
    ],
)
def test_what_is_no_cell_is_refused_in_one_line(text):
    with pytest.raises(UserError) as error:
        parse_model_cell(text)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize(
    ("model", "phase", "batch", "sequence", "bound"),
    [
        ("bert-base", "encode", 1, 128, 2.85),
        ("bert-base", "encode", 8, 512, 2.50),
        ("bert-large", "encode", 1, 128, 2.88),
        ("llama-3-8b-layer", "prefill", 1, 512, 4.82),
        ("llama-3-8b-layer", "prefill", 1, 8192, 2.62),
        ("gpt-3-layer", "prefill", 1, 2048, 2.85),
    ],
)
def test_the_bound_is_amdahl_s_law_on_multiply_adds(model, phase, batch, sequence, bound):
    assert Work(model, phase, batch, sequence).bound == pytest.approx(bound, abs=0.006)


def test_neurons_are_counted_as_in_the_layer_suite():
    assert (Variant.parse("fff-1x12").neurons(3072), Variant.parse("fff-1x12").used(3072)) == (4095, 12)
    assert (Variant.parse("fff-128x5").neurons(3072), Variant.parse("fff-128x5").used(3072)) == (3968, 640)
    assert (Variant.parse("moe-32x96-top4").neurons(3072), Variant.parse("moe-32x96-top4").used(3072)) == (3072, 384)


def test_axes_narrow_a_preset_and_an_empty_choice_is_refused():
    preset = PRESETS["models"]
    cells = model_cells(preset, ModelAxes(devices=("cpu",), batches=(8,), variants=("dense", "none")), 2)
    assert {cell.id.split("@")[0] for cell in cells} == {"dense", "none"}
    assert {(cell.work.batch, cell.work.threads) for cell in cells} == {(8, 2)}
    with pytest.raises(UserError, match="has no cell with these values"):
        model_cells(preset, ModelAxes(batches=(77,)), 2)
    with pytest.raises(UserError, match="2 cores can be used here"):
        model_cells(preset, ModelAxes(threads=(3,)), 2)
    assert isinstance(cells[0], ModelCell)
