"""Whatever a file of results or a journal holds, it is read or refused by name, and costs nothing but itself."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import MACHINE, cell_id, run_json

from fffbench.errors import UserError
from fffbench.plan.presets import read_presets
from fffbench.results.journal import Journal
from fffbench.results.store import load

HONEST = run_json({cell_id("dense_linear"): [1.0] * 6, cell_id("fff_cpu"): [0.01] * 6})
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def places(value, path=()):
    """Every place in a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


PLACES = [path for path in places(HONEST) if path]


def put(value, path, new):
    """A copy of ``value`` with ``new`` at ``path``."""
    changed = copy.deepcopy(value)
    holder = changed
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = new
    return changed


def read(tmp_path, content):
    """What is loaded from one file of that content beside an honest one, and how often each is named."""
    folder = tmp_path / "matrix" / MACHINE
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "odd.json").write_bytes(content)
    (folder / f"{HONEST['fffbench']['run']}.json").write_text(json.dumps(HONEST))
    return load(tmp_path)


def honest_cells(results):
    return sum(record.run == HONEST["fffbench"]["run"] for record in results.records)


@given(st.binary(max_size=300))
def test_bytes_that_are_no_result_file_are_refused_by_name_and_cost_no_other_file(tmp_path, content):
    results = read(tmp_path, content)
    assert honest_cells(results) == 2
    assert any("odd.json" in refusal.path for refusal in results.refused)


@given(st.sampled_from(PLACES), ANYTHING)
def test_a_result_file_with_anything_at_any_place_is_read_or_refused(tmp_path, path, new):
    other = put(HONEST, ("fffbench", "run"), "odd")
    results = read(tmp_path, json.dumps(put(other, path, new)).encode())
    assert honest_cells(results) == 2 or any("odd.json" in refusal.path for refusal in results.refused)
    for record in results.records:
        assert all(sample > 0 for samples in record.info.processes for sample in samples)


@given(st.lists(st.dictionaries(st.text(max_size=5), st.integers(), max_size=2), max_size=6), st.data())
def test_a_journal_that_was_cut_anywhere_keeps_every_whole_line(tmp_path, entries, data):
    path = tmp_path / "journal.jsonl"
    path.unlink(missing_ok=True)
    with Journal.create(path, {"header": 1}) as journal:
        for entry in entries:
            journal.append(entry)
    whole = path.read_bytes()
    cut = data.draw(st.integers(len(whole.split(b"\n")[0]) + 1, len(whole)))
    path.write_bytes(whole[:cut])
    with Journal(path) as journal:
        journal.append({"after": True})
    kept = whole[:cut].count(b"\n") - 1
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines == [{"header": 1}, *entries[:kept], {"after": True}]


@given(st.text(max_size=200))
def test_text_that_is_no_preset_is_refused_by_the_files_name(tmp_path, text):
    (tmp_path / "odd.toml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"^preset odd.toml: "):
        read_presets(tmp_path)
