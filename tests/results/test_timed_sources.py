"""Every record says of which sources it is, or the table says it for its commit, or nobody knows."""

import json
import subprocess

import pytest
from synthetic import cell_id, write_run

from benchmarks.studies import timed_sources as study
from fffbench import timed
from fffbench.results.current import TABLE
from fffbench.results.store import load

FFF, DENSE = cell_id("fff_cpu"), cell_id("dense_linear")
COMMIT = "ab" * 20


def sources_of(results):
    return {record.cell.implementation: record.timed_sources for record in load(results).records}


def stored(results, *, commit=COMMIT[:10], dirty=False, cells=(FFF, DENSE), **said):
    """A run of a commit, whose cells say ``said``."""
    path = write_run(results, cells=dict.fromkeys(cells, 1e-3))
    value = json.loads(path.read_text())
    value["fffbench"] |= {"commit": commit, "dirty": dirty, "sources": "1-2"}
    for benchmark in value["benchmarks"]:
        benchmark["extra_info"]["fffbench"] |= said
    path.write_text(json.dumps(value))
    return path


def table(results, **commits):
    (results / TABLE).write_text(json.dumps({"format": 1, "commits": commits}))


def test_a_record_says_itself_of_which_sources_it_is(tmp_path):
    stored(tmp_path, timed_sources="1234")
    table(tmp_path, **{COMMIT: {"fff_cpu": "5678", "dense_linear": "9"}})
    assert sources_of(tmp_path) == {"fff_cpu": "1234", "dense_linear": "1234"}


def test_what_an_older_record_was_timed_from_is_found_by_its_commit(tmp_path):
    stored(tmp_path)
    table(tmp_path, **{COMMIT: {"fff_cpu": "5678"}, "cd" * 20: {"dense_linear": "9"}})
    assert sources_of(tmp_path) == {"fff_cpu": "5678", "dense_linear": timed.UNKNOWN}


@pytest.mark.parametrize(
    "run", [{"dirty": True}, {"dirty": None}, {"commit": "unknown"}, {"commit": "ab"}, {"commit": "ef" * 5}]
)
def test_a_changed_or_unknown_commit_is_of_unknown_sources(tmp_path, run):
    stored(tmp_path, **run)
    table(tmp_path, **{COMMIT: {"fff_cpu": "5678", "dense_linear": "9"}})
    assert set(sources_of(tmp_path).values()) == {timed.UNKNOWN}


def test_a_commit_whose_digits_name_two_is_of_unknown_sources(tmp_path):
    stored(tmp_path)
    table(tmp_path, **{COMMIT: {"fff_cpu": "1"}, COMMIT[:-1] + "c": {"fff_cpu": "2"}})
    assert sources_of(tmp_path)["fff_cpu"] == timed.UNKNOWN


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 2, "commits": {}}', '{"format": 1, "commits": {"a": 1}}'])
def test_a_table_that_cannot_be_used_is_refused_by_name_and_the_results_load(tmp_path, text):
    stored(tmp_path)
    (tmp_path / TABLE).write_text(text)
    loaded = load(tmp_path)
    assert {record.timed_sources for record in loaded.records} == {timed.UNKNOWN}
    assert [refusal.path for refusal in loaded.refused] == [TABLE]


@pytest.fixture
def history(tmp_path):
    """A repository with two commits of this package's form, between which one module got a comment, one a statement."""
    folder = tmp_path / "checkout"
    inside = folder / "fffbench" / "implementations"
    inside.mkdir(parents=True)

    def git(*arguments):
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
        done = subprocess.run(["git", *identity, "-C", str(folder), *arguments], capture_output=True, check=True)
        return done.stdout.decode().strip()

    git("init", "-q", "-b", "main")
    found = []
    for comment, statement in (("", ""), ("# a comment\n", "X = 1\n")):
        (inside / "fff_cpu.py").write_text(f'"""F."""\nFAMILY = "fff"\n{comment}')
        (inside / "dense_linear.py").write_text(f'"""D."""\nFAMILY = "dense"\n{statement}')
        git("add", "-A")
        git("commit", "-q", "-m", "one")
        found.append(git("rev-parse", "HEAD"))
    return folder, *found


def test_the_study_takes_the_sources_of_a_commit_from_git(tmp_path, history, capsys):
    folder, one, two = history
    results = tmp_path / "results"
    stored(results, commit=one[:10], cells=(FFF,))
    stored(results, commit=two[:10], cells=(DENSE,)).rename(results / "matrix" / "test-cpu-2c-0001" / "b.json")
    stored(results, commit="12" * 5).rename(results / "matrix" / "test-cpu-2c-0001" / "c.json")
    stored(results, commit=one[:10], dirty=True)
    found = study.table(results, folder)
    assert capsys.readouterr().err.startswith("1212121212: not in this history")
    assert set(found) == {two}
    stored(results, commit=one[:10], cells=(FFF,))
    found = study.table(results, folder)
    assert found[one]["fff_cpu"] == found[two]["fff_cpu"]
    assert found[one]["dense_linear"] != found[two]["dense_linear"]
