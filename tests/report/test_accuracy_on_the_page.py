"""Trained layers with their times become points, a front, a sentence and a chart; whatever they say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from fffbench.analysis.accuracy import beaten, of_as_many, of_equal_time, points, sentence
from fffbench.report import accuracy_section
from fffbench.report.accuracy_section import accuracy, csv_rows, figure
from fffbench.results.accuracy import read_layer_times, read_trained

LAYERS = {  # accuracy, seconds for 1024 tokens
    "none": ({"form": "none"}, 0, 0.30, None),
    "dense-16": ({"form": "dense", "n": 16}, 16, 0.50, 1e-4),
    "dense-512": ({"form": "dense", "n": 512}, 512, 0.70, 1e-2),
    "tree-1x9-better": ({"form": "tree", "recipe": "better", "n": 511, "trees": 1, "levels": 9}, 9, 0.45, 2e-4),
    "leaf-4l32-better": (
        {"form": "leaf", "recipe": "better", "n": 512, "trees": 1, "levels": 4, "width": 32},
        32,
        0.65,
        1e-3,
    ),
}


@pytest.fixture
def results(tmp_path):
    for name, (arm, used, right, _) in LAYERS.items():
        test = [right + step / 1000 for step in range(-5, 5)]
        stored = {"format": 1, "id": name, "data": "MNIST-1D", "arm": arm, "used": used, "d": 128, "rate": 0.01}
        path = tmp_path / "accuracy" / "mnist1d" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(stored | {"validation": test, "test": test}))
    times = [
        {"id": name, "batch": 1024, "threads": threads, "processes": [seconds * threads] * 6}
        for name, (*_, seconds) in LAYERS.items()
        if seconds
        for threads in (1, 2)
    ]
    path = tmp_path / "layer-times" / "m" / "mnist1d.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"format": 1, "machine": "m", "data": "mnist1d", "times": times}))
    return tmp_path


def found(results):
    return points(read_trained(results)[0], read_layer_times(results)[0][0])


def test_a_layer_is_on_the_front_unless_another_is_as_fast_and_more_accurate(results):
    assert {p.trained.id for p in found(results) if p.on_front} == {"dense-16", "leaf-4l32-better", "dense-512"}


def test_the_time_is_that_at_the_fastest_number_of_threads(results):
    by_name = {p.trained.id: p for p in found(results)}
    assert by_name["dense-512"].time.value == 1e-2
    assert by_name["none"].time is None


def test_rivals_are_of_as_many_neurons_and_of_equal_time(results):
    every = found(results)
    by_name = {p.trained.id: p for p in every}
    assert of_as_many(by_name["tree-1x9-better"], every).trained.id == "dense-16"
    assert of_as_many(by_name["leaf-4l32-better"], every).trained.id == "dense-512"
    assert of_equal_time(by_name["leaf-4l32-better"], every) == pytest.approx(0.6, abs=0.002)  # half-way, in logarithms
    assert beaten(every) == (1, 2)


def test_a_layer_faster_than_every_dense_one_has_no_rival_of_equal_time(results):
    every = [p for p in found(results) if p.trained.id != "dense-16"]
    tree = next(p for p in every if p.form == "tree")
    assert of_equal_time(tree, every) is None


def test_the_sentence_has_the_fff_and_the_three_dense_layers(results):
    said = sentence(found(results))
    assert "a dense layer of 512 neurons (a token uses 32) 70.0 %" in said  # the narrowest here is no layer of as many
    assert "16 leaves of 32 neurons, better recipe, gets 65.0 % [" in said
    assert "a dense layer of equal time 59.9 %" in said or "a dense layer of equal time 60.0 %" in said
    assert "one of all 512 70.0 % [" in said


def test_the_chart_and_the_table_have_every_layer(results):
    shown = accuracy(results, {"m": "A machine"})
    drawn = figure(shown)
    assert "on A machine" in drawn.how_to_read
    assert "1 of 2 FFFs are less accurate than a dense layer that takes as long" in drawn.how_to_read
    assert "1 tree of 9 levels, better recipe: 45.0 %" in drawn.svg
    rows = csv_rows(shown)
    assert len(rows) == len(LAYERS)
    assert {tuple(row) for row in rows} == {accuracy_section.CSV_COLUMNS}


def test_every_figure_of_the_sentence_and_every_mark_has_a_card_with_seeds_times_and_both_files(results):
    shown = accuracy(results, {"m": "A machine"})
    said = shown.said
    cards = {card.id: card for card in shown.all_cards}
    assert [link.text for link in said.links] == re.findall(r"[\d.]+ %(?: \[[\d., ]+\])?", said.text)
    assert all(link.to in cards for link in said.links)
    drawn = figure(shown)
    assert drawn.count == 4
    for link in (one for numbers in drawn.numbers for one in numbers.links):
        right, time = cards[link.to].sides
        assert right.processes.startswith("10 seeds: ")
        assert time.processes.startswith("6 processes: ")
        assert [file.to.split("/")[1] for side in (right, time) for file in side.files] == ["accuracy", "layer-times"]
        assert cards[link.to].command.startswith("nox -s accuracy")
        assert f'data-to="#{link.to}"' in drawn.svg
        assert f'data-to="#{link.to}"' in drawn.narrow
    equal = cards[next(link.to for link in said.links if "[" not in link.text)]
    assert "interpolated" in equal.how
    assert {part.to for part in equal.parts} <= set(cards)


MADE = {"date": "2026-11-27T22:54:51Z", "commit": "fc5f405c45", "dirty": False}


def _say_how_made(results, **more):
    for path in results.rglob("*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"made": MADE | more}))


def _sides(results):
    return [side for card in accuracy(results, {"m": "A machine"}).all_cards for side in card.sides]


def test_cards_have_the_date_the_commit_and_whether_it_was_clean(results):
    _say_how_made(results)
    sides = _sides(results)
    assert {side.date for side in sides} == {"2026-11-27"}
    assert {side.sources for side in sides} == {"commit fc5f405c45, clean"}


def test_a_commit_from_the_history_of_the_file_is_called_one(results):
    _say_how_made(results, dirty=None, history="the parent of the commit that added the file")
    said = {side.sources for side in _sides(results)}
    assert said == {"commit fc5f405c45, clean or dirty unknown (the parent of the commit that added the file)"}


def test_files_of_before_are_read_and_their_cards_say_where_to_look(results):
    sides = _sides(results)
    assert sides
    assert {(side.date, side.sources) for side in sides} == {("", "date and commit: those of the file")}


@pytest.mark.parametrize("wrong", [{"commit": "<b>"}, {"date": "yesterday"}, {"dirty": "no"}])
def test_what_is_no_date_and_no_commit_is_refused_with_file_and_field(results, wrong):
    _say_how_made(results, **wrong)
    found, refused = read_trained(results)
    assert not found
    assert {refusal.field for refusal in refused} == {f"made.{next(iter(wrong))}"}


def test_every_card_of_the_committed_results_has_a_date_and_a_commit():
    committed = Path(__file__).parents[2] / "results"
    for side in _sides(committed):
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", side.date)
        assert re.match(r"commit [0-9a-f]{10}, (clean|dirty)", side.sources)


def test_without_times_there_is_a_sentence_and_no_chart(results):
    (results / "layer-times" / "m" / "mnist1d.json").unlink()
    shown = accuracy(results, {})
    assert figure(shown) is None
    assert "equal time" not in shown.said.text
    assert "65.0 %" in shown.said.text


def test_without_anything_it_says_so(tmp_path):
    assert accuracy(tmp_path, {}).said.text == accuracy_section.UNKNOWN
    assert accuracy(None, {}).said.text == accuracy_section.UNKNOWN
