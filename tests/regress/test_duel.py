"""Does a duel find which of two implementations is the faster, also of two versions from two folders?"""

import json
import os

import pytest

from fffbench import scaffold
from fffbench.analysis.regression import INCONCLUSIVE, Plan
from fffbench.cli import run
from fffbench.errors import UserError
from fffbench.plan.workload import Shape, Workload
from fffbench.regress import duel

CASES = [Workload(Shape.tree(64, 1, 5), batch) for batch in (1, 16)]
PLAN = Plan()
ENDS = "        y.copy_(total)"  # of the scaffold's kernel
SMALL = ["--batch", "16", "--d", "64", "--levels", "5", "--blocks", "10", "--budget", "10m"]


def block(ratio, noise, again=1.0):
    """A worker's answer in which B takes ``ratio`` times A's time in each workload."""
    times = {}
    for place, work in enumerate(CASES):
        sides = {duel.A: [1.0, 1.0, 1.0, 1.0], duel.B: [ratio * (1 + noise)] * 4}
        times[work.id] = sides | ({duel.AGAIN: [again * (1 - noise)] * 4} if place == 0 else {})
    return {"times": times, "reasons": {}}


def found(ratio, *, count=40, again=1.0, noise=0.004):
    blocks = duel._Blocks(CASES, PLAN)
    for number in range(count):
        blocks.add(block(ratio, noise * (-1) ** number, again))
    return blocks


@pytest.mark.parametrize(
    ("ratio", "answer"), [(1.2, duel.SLOWER), (1 / 1.2, duel.FASTER), (1.0, duel.SAME), (1.02, duel.SAME)]
)
def test_the_answer_is_that_of_the_ratio_in_both_directions(ratio, answer):
    blocks = found(ratio)
    assert set(blocks.answers().values()) == {answer}
    row = blocks.row(CASES[0].id, answer)
    assert row.low < ratio < row.high
    assert duel._overall([row], blocks.control()) == answer


def test_of_scattered_blocks_and_before_the_first_look_nothing_is_said():
    assert set(found(1.2, count=9).answers().values()) == {INCONCLUSIVE}
    assert set(found(1.04, noise=0.1).answers().values()) == {INCONCLUSIVE}


def test_a_control_that_moves_takes_the_answer_away():
    blocks = found(1.2, again=1.1)
    assert not blocks.control().passed
    rows = [blocks.row(work.id, duel.SLOWER) for work in CASES]
    assert duel._overall(rows, blocks.control()) == INCONCLUSIVE
    assert duel._overall(rows, found(1.2).control()) == duel.SLOWER


def test_each_direction_has_half_the_chance_of_a_false_alarm():
    assert found(1.0)._plan.false_alarm == PLAN.false_alarm / 2


@pytest.fixture
def versions(tmp_path):
    """One kernel in two folders: the second sorts something besides; and one whose output is wrong."""
    folders = {}
    for version, spoiled in (
        ("once", None),
        ("sorts", (ENDS, f"{ENDS}\n        torch.sort(x.repeat(64, 1), dim=1)")),
        ("wrong", (ENDS, ENDS.replace("total", "2 * total"))),
    ):
        folder = tmp_path / version
        scaffold.write("fff_theirs", folder)
        if spoiled:
            module = folder / "fff_theirs.py"
            text = module.read_text()
            assert spoiled[0] in text
            module.write_text(text.replace(*spoiled))
        folders[version] = f"fff_theirs@{folder}"
    return folders


def test_two_versions_of_one_name_from_two_folders_are_told_apart(versions, capsys):
    assert run(["duel", versions["once"], versions["sorts"], *SMALL, "--json"]) in (1, 3)
    result = json.loads(capsys.readouterr().out)
    [row] = result["rows"]
    assert row["ratio"] > 1.5
    assert row["blocks"] == 10
    if os.getloadavg()[0] < 2:  # else the control may move, which is what it is for
        assert (result["answer"], row["answer"]) == ("slower", "slower")


def test_a_side_that_computes_something_else_is_refused_before_any_time_is_taken(versions, capsys):
    assert run(["duel", versions["once"], versions["wrong"], *SMALL]) == 2
    said = capsys.readouterr().err
    assert "wrong: 16 of 16 tokens differ" in said
    assert "b: " in said


@pytest.mark.parametrize(
    ("answers", "tries", "code"),
    [(["inconclusive", "slower"], 2, 1), (["inconclusive"] * 2, 2, 3), (["faster"], 1, 0)],
)
def test_again_is_one_longer_try_and_only_where_nothing_was_said(monkeypatch, tmp_path, answers, tries, code):
    limits, said = [], iter(answers)

    def measured(first, second, cases, plan, deadline, say):
        limits.append(plan.limit)
        answer = next(said)
        row = found(1.2).row(CASES[0].id, answer)
        return duel.Duel(first.shown, second.shown, answer, (row,), found(1.2).control(), {}, 1.0)

    monkeypatch.setattr(duel, "duel", measured)
    summary = tmp_path / "summary.md"
    assert run(["duel", "fff_cpu", "fff_cpu", "--again", "--markdown", str(summary)]) == code
    assert limits == [40, 80][:tries]
    assert answers[tries - 1] in summary.read_text()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["fff_cpu", "fff_cpv"], "did you mean 'fff_cpu'?"),
        (["fff_cpu", "fff_theirs@/nowhere/at/all"], "no folder"),
        (["fff_cpu", "not a name"], "NAME@FOLDER"),
        (["fff_cpu", "fff_cpu", "--threads", "1000"], "allows 1 to"),
        (["fff_cpu", "fff_cpu", "--margin", "0.1"], "tolerance"),
        (["fff_cpu", "fff_cpu", "--device", "cpu,cuda"], "one device"),
    ],
)
def test_a_mistake_is_a_line(capsys, arguments, named):
    assert run(["duel", *arguments]) == 2
    said = capsys.readouterr().err
    assert named in said
    assert said.count("\n") == 1


def test_a_side_is_a_name_or_a_name_in_a_folder(tmp_path):
    assert duel.read_side("fff_cpu") == duel.Side("fff_cpu")
    side = duel.read_side(f"fff_mine@{tmp_path}")
    assert (side.name, side.folder, side.shown) == ("fff_mine", str(tmp_path), f"fff_mine@{tmp_path}")
    with pytest.raises(UserError):
        duel.read_side("@x")
