"""What does the first screen say, and of which devices?"""

from __future__ import annotations

from dataclasses import replace

import pytest
from synthetic import STABLE, cell_id, write_run

from fffbench.claims.rule import EXCEEDED, NOT_REPRODUCED, REPRODUCED, UNDECIDED
from fffbench.report.analysed import analyse
from fffbench.report.build import cards_of, first_of
from fffbench.report.first import answers_table, facts, lede
from fffbench.results.store import load

GAINS = {"a-cpu": 80, "b-cpu": 500}


def first(folder, gains, older=()):
    for machine, gain in gains.items():
        cells = {cell_id("dense_linear"): [1.0] * 6, cell_id("fff_cpu"): [1 / gain] * 6}
        write_run(
            folder / "results",
            cells=cells,
            machine=machine,
            run=machine,
            stable=STABLE | {"cpu": machine, "cores": "1"},
        )
    analysis = analyse(load(folder / "results"))
    found = first_of(analysis)
    devices = [replace(device, older=device.machine in older) for device in found.devices]
    return replace(found, devices=devices), cards_of(analysis)


def said(found):
    return " ".join([lede(found), *(fact.answer for fact in facts(found))])


def test_what_is_said_first_is_said_of_sources_of_now_and_the_rest_stands_below(tmp_path):
    found, cards = first(tmp_path, GAINS, older={"b-cpu"})
    assert "80.0x" in said(found)
    assert "500x" not in said(found)
    for history, gain in ((False, "80.0x"), (True, "500x")):
        [row] = answers_table(found, cards, history=history).rows
        assert gain in row[-1].main


@pytest.mark.parametrize("older", [(), ("a-cpu", "b-cpu")])
def test_where_no_device_is_of_sources_of_now_all_speak(tmp_path, older):
    found, cards = first(tmp_path, GAINS, older)
    assert "80.0x to 500x" in said(found)
    assert len(answers_table(found, cards).rows) == 2
    assert answers_table(found, cards, history=True) is None


def test_a_figure_of_the_sentence_has_its_type_and_batch_and_is_the_most_of_several_devices_only(tmp_path):
    one, _ = first(tmp_path / "one", {"a-cpu": 80})
    assert "is 80.0x faster than the best dense layer on a CPU (strict fp32, batch 16384); " in lede(one)
    two, _ = first(tmp_path / "two", GAINS)
    assert "is up to 500x faster than the best dense layer on a CPU (strict fp32, batch 16384); " in lede(two)


def test_the_count_is_denied_under_fair_conditions_and_the_most_is_said_of_the_table_alone(tmp_path):
    found, cards = first(tmp_path, GAINS, older={"b-cpu"})
    count = facts(found, cards)[1].answer
    assert "Under fair conditions it was not reached as a speed: the most in the table is " in count
    two, _ = first(tmp_path, GAINS)
    assert "Under fair conditions it was reached as a speed: the most in the table is 500x" in facts(two)[1].answer


@pytest.mark.parametrize(
    ("verdicts", "answer"),
    [
        ((REPRODUCED, EXCEEDED), "Yes, "),
        ((NOT_REPRODUCED, NOT_REPRODUCED), "No, "),
        ((REPRODUCED, NOT_REPRODUCED), "Partly, "),
        ((REPRODUCED, UNDECIDED), "Yes, "),
        ((UNDECIDED, UNDECIDED), "Undecided, "),
    ],
)
def test_the_published_figure_is_denied_by_a_verdict_and_not_by_the_lack_of_one(tmp_path, verdicts, answer):
    found, _ = first(tmp_path, GAINS)
    of = dict(zip(GAINS, verdicts, strict=True))
    claims = [replace(row, verdict=of.get(row.machine, row.verdict)) for row in found.claims]
    assert facts(replace(found, claims=claims))[0].answer.startswith(answer)
