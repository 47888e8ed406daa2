"""The archive: its files are compressed, say what they said before, and cost no more to refuse than others."""

from __future__ import annotations

import gzip
import json

import pytest
from synthetic import cell_id, write_run

from benchmarks.studies import archive_older
from fffbench.analysis.speedup import speedups
from fffbench.errors import UserError
from fffbench.files import unpacked
from fffbench.results.store import load

CELLS = {cell_id("dense_linear"): 1.0, cell_id("fff_cpu"): 0.01}


@pytest.fixture
def results(tmp_path):
    write_run(tmp_path / "results", cells=CELLS, run="first")
    write_run(tmp_path / "results", cells={name: 1.1 * time for name, time in CELLS.items()}, run="second")
    return tmp_path / "results"


def figures(results):
    return [(row.time, row.speedup, row.low, row.high) for row in speedups(load(results))]


def test_a_file_that_was_moved_says_what_it_said(results):
    before = figures(results)
    assert before
    path = next(results.glob("matrix/*/first*.json"))
    content = path.read_bytes()
    target = archive_older.move(results, path)
    assert not path.exists()
    assert target.name == f"{path.name}.gz"
    assert gzip.decompress(target.read_bytes()) == content
    assert figures(results) == before
    assert not load(results).refused


def test_it_is_never_written_over(results):
    path = next(results.glob("matrix/*/first*.json"))
    content = path.read_bytes()
    archive_older.move(results, path)
    path.write_bytes(content)
    with pytest.raises(UserError, match="is there already"):
        archive_older.move(results, path)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda data: data[:-9], "is cut"),
        (lambda data: data + b"more", "behind its end"),
        (lambda data: data[5:], "no gzip file"),
        (lambda data: gzip.compress(b"[" + b"0," * 70_000_000 + b"0]"), "more than"),
        (lambda data: gzip.compress(b'{"a": '), "not complete JSON"),
    ],
    ids=["cut", "longer", "no gzip", "expands to 140 MB", "no JSON"],
)
def test_a_damaged_one_is_refused_by_name_and_the_rest_is_read(results, damage, said):
    target = archive_older.move(results, next(results.glob("matrix/*/first*.json")))
    target.write_bytes(damage(target.read_bytes()))
    loaded = load(results)
    assert [record.run for record in loaded.records] == ["second"] * len(CELLS)
    (refusal,) = loaded.refused
    assert said in refusal.line
    assert refusal.path == str(target.relative_to(results))


def test_no_more_is_expanded_than_is_allowed():
    data = json.dumps(list(range(1000))).encode()
    assert unpacked(gzip.compress(data), len(data)) == data
    with pytest.raises(ValueError, match="more than"):
        unpacked(gzip.compress(data), len(data) - 1)
