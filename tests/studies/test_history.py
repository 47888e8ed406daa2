"""Are the commits of the history chosen by the rule, and does its page name the commit at which a step was planted?"""

import re
from itertools import pairwise

import pytest
from synthetic import COMMITS, CONTROL, OPTIMISED, write_history

from benchmarks.studies import history, history_commits, history_run
from benchmarks.studies.history_commits import FARTHEST, LEAST_LINES, choose, order, read

KNOWN = [
    {"commit": commit, "date": "", "place": 3 * place, "lines": 0, "subject": f"Subject *{place}*"}
    for place, commit in enumerate(COMMITS)
]


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A function that plants times, writes the page of them and gives its text."""

    def write(values, control=None):
        monkeypatch.setattr(history, "read", lambda: KNOWN)
        write_history(tmp_path / "results", {OPTIMISED: values, CONTROL: control or [[1.0, 1.0]] * len(values)})
        assert history.main(["--root", str(tmp_path)]) == 0
        return (tmp_path / history.PAGE).read_text(encoding="utf-8")

    return write


def row(page, commit):
    return next(line for line in page.splitlines() if line.startswith(f"| `{commit[:8]}`"))


def test_the_ends_every_commit_that_changed_kernels_and_no_gap_that_is_too_wide():
    lines = [0] * 100
    lines[40], lines[41] = LEAST_LINES, LEAST_LINES - 1
    found = choose(lines)
    assert {0, 40, 99} <= set(found)
    assert 41 not in found
    assert all(two - one <= FARTHEST for one, two in pairwise(found))
    assert found == [0, 20, 40, 69, 99]


def test_a_history_of_one_commit_is_that_commit():
    assert choose([5]) == [0]


def test_the_order_is_random_and_the_same_every_time():
    assert order(COMMITS) == order(COMMITS) != list(COMMITS)
    assert sorted(order(COMMITS)) == sorted(COMMITS)


def test_the_committed_choice_is_what_the_rule_says_of_it():
    chosen = read()
    assert len(chosen) >= 20
    assert chosen[0]["commit"].startswith(history_commits.FIRST)
    assert all(0 < two["place"] - one["place"] <= FARTHEST for one, two in pairwise(chosen))
    dates = [item["date"] for item in chosen]
    assert dates == sorted(set(dates))  # asv and the page order commits by their dates


def test_a_planted_step_is_named_by_commit_and_subject(made):
    page = made([[1.0, 1.0]] * 8 + [[1.3, 1.0]] * 8)
    steps = page.split("### Steps")[1].split("### Every time")[0]
    assert [line for line in steps.splitlines() if line.startswith("| `")] == [
        f"| `{COMMITS[8][:8]}` | Subject \\*8\\* | 3 | fff_cpu, batch 1: 1.30x slower |"
    ]
    assert "which no commit changes, stayed between +0.0% and +0.0% of its median of 1.00 s: no step." in page


def test_a_step_of_under_5_percent_is_none(made):
    assert "### Steps\n\nNone.\n" in made([[1.0, 1.0]] * 8 + [[1.04, 1.0]] * 8)


def test_a_step_that_a_control_shares_is_said_to_be_the_machines(made):
    jump = [[1.0, 1.0]] * 8 + [[0.7, 1.0]] * 8
    page = made(jump, jump)
    assert "fff_cpu, batch 1: 1.43x faster, as a control did there" in row(page, COMMITS[8])
    assert "stayed between" in page
    assert f"1.43x faster from {COMMITS[8][:8]} on" in page


def test_a_commit_alone_off_its_level_is_no_step(made):
    assert "### Steps\n\nNone.\n" in made([[1.0, 1.0]] * 5 + [[1.5, 1.0]] + [[1.0, 1.0]] * 10)


def test_two_steps_are_both_named(made):
    page = made([[1.0, 1.0]] * 5 + [[1.5, 1.0]] * 5 + [[1.2, 1.0]] * 6)
    assert "1.50x slower" in row(page, COMMITS[5])
    assert "1.25x faster" in row(page, COMMITS[10])


def test_what_would_have_been_seen_takes_the_steps_that_are_there_out_first(made):
    page = made([[1.0, 1.0]] * 8 + [[2.0, 1.0]] * 8)
    ((seen, places),) = re.findall(r"\| fff_cpu, batch 1 \|.* (\d+) of (\d+) \|$", page, re.MULTILINE)
    assert int(places) == 13
    assert int(seen) >= 11  # two commits at an end of sixteen are too few to show a step among four series


def test_what_is_stale_is_named_and_nothing_written(made, tmp_path, capsys):
    page = made([[1.0, 1.0]] * 16)
    assert history.main(["--check", "--root", str(tmp_path)]) == 0
    (tmp_path / history.PAGE).write_text("old")
    assert history.main(["--check", "--root", str(tmp_path)]) == 1
    assert "history.md is stale" in capsys.readouterr().err
    assert page != (tmp_path / history.PAGE).read_text() == "old"


def test_the_committed_page_is_up_to_date():
    assert history.main(["--check", "--root", str(history_commits.ROOT)]) == 0


def test_a_machine_with_few_commits_is_left_to_the_page(made):
    assert "### Steps" not in made([[1.0, 1.0]] * (history.LEAST_COMMITS - 1))


def test_a_history_that_asvs_cache_cannot_hold_is_not_begun(tmp_path, monkeypatch):
    pytest.importorskip("virtualenv")
    (tmp_path / "asv.conf.json").write_text('{"version": 1, "project": "x", "repo": ".", "build_cache_size": 1}')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r"build_cache_size in asv\.conf\.json must be at least 2"):
        history_run.build(["a", "b"])
