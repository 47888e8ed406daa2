"""Which run is newest does not hang on a clock alone, and no run is written over."""

import errno
import os
import time
from datetime import UTC, datetime

import pytest
import synthetic

from fffbench.results import chronology, names
from fffbench.results.store import load

NOW = datetime(2026, 11, 27, tzinfo=UTC)
WHEN = time.gmtime(1795700000)


def order(*runs, now=NOW):
    dates = chronology.effective(runs, now)
    return sorted(dates, key=lambda run: (dates[run], run))


def test_dates_that_can_be_true_are_left_alone():
    runs = [("a", "2026-01-01T00:00:00Z", ()), ("b", "2026-01-02T00:00:00Z", ("nowhere",))]
    assert chronology.effective(runs, NOW) == {"a": "2026-01-01T00:00:00Z", "b": "2026-01-02T00:00:00Z"}


def test_a_run_of_2099_is_older_than_the_runs_that_found_it_there():
    found = ("old", "2026-01-01T00:00:00Z", ()), ("future", "2099-01-01T00:00:00Z", ())
    assert order(*found, ("next", "2026-11-01T00:00:00Z", ("future",))) == ["old", "future", "next"]
    later = ("last", "2026-11-02T00:00:00Z", ())
    assert order(*found, ("next", "2026-11-01T00:00:00Z", ("future",)), later)[-1] == "last"


def test_a_run_of_the_future_with_nothing_after_it_is_the_oldest():
    assert order(("future", "2099-01-01T00:00:00Z", ()), ("now", "2026-11-26T00:00:00Z", ())) == ["future", "now"]
    a_month = ("month", "2026-12-27T10:00:00Z", ())
    assert order(a_month, ("now", "2026-11-26T00:00:00Z", ()))[-1] == "month"


def test_a_reader_whose_clock_is_wrong_moves_no_run():
    runs = [("a", "2026-11-20T00:00:00Z", ()), ("b", "2026-11-21T00:00:00Z", ()), ("c", "2026-11-22T00:00:00Z", ())]
    assert order(*runs, now=datetime(1970, 1, 1, tzinfo=UTC)) == ["a", "b", "c"]
    no_day = ("0", "2026-99-99T00:00:00Z", ())
    assert chronology.effective([no_day, *runs[:1]], NOW)["a"] == "2026-11-20T00:00:00Z"


def test_a_clock_that_was_set_back_turns_no_order_round():
    first, second = "2026-11-20T10:00:00Z", "2026-11-20T09:30:00Z"
    assert chronology.dated_no_earlier(second, {"first": first, "older": "2026-11-19T00:00:00Z"}) == ["first"]
    assert order(("first", first, ()), ("second", second, ("first",))) == ["first", "second"]


def test_bounds_are_passed_on_and_circles_end():
    chain = [("a", "2099-01-01T00:00:00Z", ()), ("b", "2098-01-01T00:00:00Z", ("a",))]
    assert order(*chain, ("c", "2026-11-01T00:00:00Z", ("b",))) == ["a", "b", "c"]
    circle = [("a", "2026-01-01T00:00:00Z", ("b",)), ("b", "2026-01-01T00:00:00Z", ("a",)), ("a2", "x", ("a2",))]
    assert set(order(*circle)) == {"a", "b", "a2"}
    assert order(("a", "2026-99-99T99:99:99Z", ("b",)), ("b", "2099-01-01T00:00:00Z", ()))


def test_the_newest_machine_and_the_order_of_records_follow_it(tmp_path):
    cell = {synthetic.cell_id("fff_cpu"): 1.0}
    synthetic.write_run(tmp_path, cells=cell, run="quick-a", started="2099-01-01T00:00:00Z", observed={"torch": "old"})
    path = synthetic.write_run(
        tmp_path, cells=cell, run="quick-b", started="2026-01-02T00:00:00Z", observed={"torch": "new"}
    )
    path.write_text(path.read_text().replace('"preset"', '"after": ["quick-a"], "preset"', 1))
    results = load(tmp_path)
    assert results.machines[synthetic.MACHINE].observed["torch"] == "new"
    assert [record.run for record in results.records] == ["quick-a", "quick-b"]
    assert results.runs["quick-a"].dated == "2099-01-01T00:00:00Z"
    assert results.runs["quick-a"].started < results.runs["quick-b"].started
    assert results.runs["quick-b"].dated == ""


def test_runs_of_one_second_have_names_of_their_own(tmp_path):
    found = {names.fresh("quick", tmp_path, WHEN) for _ in range(50)}
    assert len(found) == 50
    assert all(name.startswith("quick-20261126-") for name in found)


def test_a_name_that_is_taken_is_drawn_again(tmp_path, monkeypatch):
    drawn = iter(["aaaaaa", "aaaaaa", "bbbbbb"])
    monkeypatch.setattr(names.secrets, "token_hex", lambda _: next(drawn))
    first = names.fresh("quick", tmp_path, WHEN)
    (tmp_path / f"{first}.journal").touch()
    assert names.fresh("quick", tmp_path, WHEN).endswith("-bbbbbb")


@pytest.mark.parametrize("links", [True, False])
def test_a_result_that_is_there_is_never_written_over(tmp_path, monkeypatch, links):
    if not links:

        def refuse(*_):
            raise OSError(errno.EPERM, "no links here")

        monkeypatch.setattr(os, "link", refuse)
    target = tmp_path / "run.json"
    target.write_text("first")
    for number in (2, 3):
        draft = tmp_path / "run.draft"
        draft.write_text(f"number {number}")
        assert names.publish(draft, target).read_text() == f"number {number}"
        assert not draft.exists()
    assert target.read_text() == "first"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run-2.json", "run-3.json", "run.json"]


def test_dates_are_read_from_names_old_and_new(tmp_path):
    for name in ("quick-20261120-100000.json", "quick-20261120-093000-1a2b3c.journal", "notes.json", "x.draft"):
        (tmp_path / name).touch()
    assert names.dates(tmp_path) == {
        "quick-20261120-100000": "2026-11-20T10:00:00Z",
        "quick-20261120-093000-1a2b3c": "2026-11-20T09:30:00Z",
    }
    assert names.dates(tmp_path / "nowhere") == {}
