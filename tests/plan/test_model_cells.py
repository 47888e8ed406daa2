"""A cell of a whole model has an id that parses back; presets never leave out what a variant is compared with."""

from __future__ import annotations

import pytest

from fffbench.errors import UserError
from fffbench.plan.models import ModelCell, Variant, Work, parse_model_cell
from fffbench.plan.presets_of_models import ModelAxes, model_cells, model_presets, read_model_presets


@pytest.mark.parametrize("preset", model_presets().values(), ids=lambda preset: preset.name)
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
    preset = model_presets()["models"]
    cells = model_cells(preset, ModelAxes(devices=("cpu",), batches=(8,), variants=("dense", "none")), 2)
    assert {cell.id.split("@")[0] for cell in cells} == {"dense", "none"}
    assert {(cell.work.batch, cell.work.threads) for cell in cells} == {(8, 2)}
    with pytest.raises(UserError, match="has no cell with these values"):
        model_cells(preset, ModelAxes(batches=(77,)), 2)
    with pytest.raises(UserError, match="2 cores can be used here"):
        model_cells(preset, ModelAxes(threads=(3,)), 2)
    assert isinstance(cells[0], ModelCell)


GOOD = """
summary = "x"
[[block]]
model = "bert-tiny"
phase = "encode"
sizes = [[1, 16]]
variants = ["dense", "none", "fff-1x4"]
"""


def test_a_preset_is_a_file(tmp_path):
    (tmp_path / "mine.toml").write_text(GOOD)
    [preset] = read_model_presets(tmp_path).values()
    assert [cell.id for cell in model_cells(preset, ModelAxes(threads=(1,)), 2)] == [
        f"{variant}@bert-tiny-encode-b1x16-fp32-cpu-1th-s0@{mode}"
        for variant in ("dense", "none", "fff-1x4")
        for mode in ("eager", "compiled")
    ]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"none", ', "", "variants must have none, their comparison"),
        ('"fff-1x4"', '"fff-1x99"', "levels=99"),
        ("bert-tiny", "bert-huge", "unknown model 'bert-huge'"),
        ("encode", "decode", "unknown phase of bert-tiny 'decode'"),
        ("[[1, 16]]", "[[1, 160]]", "the sequence from 1 to 64"),
        ('["dense", "none", "fff-1x4"]', '"all"', "unknown list in variants 'all'"),
        ("summary", "sumary", "summary: Field required"),
        ("summary", 'includes = ["other"]\nsummary', "unknown preset in includes 'other'"),
        ("model =", 'modes = ["graph"]\nmodel =', "unknown mode on cpu 'graph'"),
    ],
)
def test_a_preset_that_is_wrong_is_named_in_one_line(tmp_path, old, new, said):
    (tmp_path / "mine.toml").write_text(GOOD.replace(old, new))
    with pytest.raises(UserError, match=r"mine\.toml: ") as error:
        read_model_presets(tmp_path)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
