"""Is everything before the cut still there, and is a lie refused?"""

from __future__ import annotations

import errno
import os

import pytest

from fffbench.errors import UserError
from fffbench.results.journal import Journal


def test_entries_come_back_in_order(tmp_path):
    path = tmp_path / "new" / "run.jsonl"
    with Journal.create(path, {"run": "r"}) as journal:
        journal.append({"cell": 1})
        journal.append({"cell": "zwei"})
    assert Journal.read(path) == ({"run": "r"}, [{"cell": 1}, {"cell": "zwei"}])


def test_every_cut_loses_at_most_the_last_line(tmp_path):
    path = tmp_path / "run.jsonl"
    with Journal.create(path, {"run": "r"}) as journal:
        for index in range(3):
            journal.append({"cell": index})
    whole = path.read_bytes()
    header = whole.index(b"\n") + 1
    for length in range(header, len(whole)):
        path.write_bytes(whole[:length])
        assert len(Journal.read(path)[1]) == whole[header:length].count(b"\n")


def test_appending_after_a_cut_starts_on_a_fresh_line(tmp_path):
    path = tmp_path / "run.jsonl"
    Journal.create(path, {"run": "r"}).close()
    with path.open("ab") as file:
        file.write(b'{"cell": 1, "half')
    with Journal(path) as journal:
        journal.append({"cell": 2})
    assert Journal.read(path)[1] == [{"cell": 2}]


@pytest.mark.parametrize("damage", [b"garbage", b"[1]", b"\xff", b"", b"[" * 100_000, b"1" * 10_000, b"null"])
def test_a_damaged_line_is_left_out_and_named_in_one_line_and_the_others_count(tmp_path, damage):
    path = tmp_path / "run.jsonl"
    path.write_bytes(b'{"run": "r"}\n' + damage + b'\n{"cell": 1}\n')
    said = []
    assert Journal.read(path, said.append) == ({"run": "r"}, [{"cell": 1}])
    [line] = said
    assert "run.jsonl" in line
    assert "line 2" in line
    assert "1 other lines are kept" in line
    assert "\n" not in line


@pytest.mark.parametrize("kind", ["pipe", "folder", "link"])
def test_what_is_no_plain_file_is_refused_at_once(tmp_path, kind):
    path = tmp_path / "run.jsonl"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    for read in (Journal.read, Journal):
        with pytest.raises(UserError, match=r"run\.jsonl"):
            read(path)


@pytest.mark.parametrize("how", ["deleted", "moved", "replaced"])
def test_a_journal_that_vanishes_ends_the_run_at_the_next_result_with_that_reason(tmp_path, how):
    path = tmp_path / "results" / "run.jsonl"
    with Journal.create(path, {"run": "r"}) as journal:
        journal.append({"cell": 1})
        if how == "deleted":
            path.unlink()
        else:
            path.rename(path.with_suffix(".old"))
        if how == "replaced":
            path.write_text("")
        with pytest.raises(UserError, match="was deleted" if how == "deleted" else "was moved or replaced"):
            journal.append({"cell": 2})


def test_a_journal_without_header_is_refused(tmp_path):
    path = tmp_path / "run.jsonl"
    path.write_bytes(b"")
    with pytest.raises(UserError, match="no header"):
        Journal.read(path)


def test_an_existing_journal_is_never_overwritten(tmp_path):
    path = tmp_path / "run.jsonl"
    Journal.create(path, {"run": "r"}).close()
    with pytest.raises(UserError, match="cannot be created"):
        Journal.create(path, {"run": "other"})
    assert Journal.read(path)[0] == {"run": "r"}


def test_a_full_disk_keeps_what_was_written_and_gives_back_the_partial_line(tmp_path, monkeypatch):
    path = tmp_path / "run.jsonl"
    journal = Journal.create(path, {"run": "r"})
    journal.append({"cell": 1})
    real = os.write

    def half_then_full(fd, data):
        if len(data) < 20:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(fd, bytes(data)[:15])

    monkeypatch.setattr(os, "write", half_then_full)
    with pytest.raises(UserError, match=r"the disk is full.*is kept"):
        journal.append({"cell": "a longer entry"})
    monkeypatch.undo()
    assert path.read_bytes().endswith(b"\n")
    assert Journal.read(path) == ({"run": "r"}, [{"cell": 1}])
    journal.append({"cell": 2})
    journal.close()
    assert Journal.read(path)[1] == [{"cell": 1}, {"cell": 2}]


def test_a_number_that_is_not_json_is_refused_before_it_is_written(tmp_path):
    with Journal.create(tmp_path / "run.jsonl", {"run": "r"}) as journal, pytest.raises(UserError):
        journal.append({"time": float("nan")})
