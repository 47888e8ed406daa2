"""Does every result file load, or get refused by name, whatever is in it?"""

from __future__ import annotations

import copy
import json
import os
import random
import time

import pytest
from synthetic import MACHINE, cell_id, quick_cells, run_json, write_run

from fffbench.errors import UserError
from fffbench.results.store import load

DENSE, FFF = cell_id("dense_linear"), cell_id("fff_cpu")
CELLS = {DENSE: 1.0, FFF: 0.01}


def write(results, value, name="odd.json", machine=MACHINE):
    folder = results / "matrix" / machine
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    if isinstance(value, bytes):
        path.write_bytes(value)
    else:
        path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def only_refusal(results):
    loaded = load(results)
    assert len(loaded.refused) == 1, loaded.refused
    return loaded.refused[0]


def test_a_written_run_comes_back_whole(tmp_path):
    write_run(tmp_path, cells=CELLS, skipped={cell_id("cmm_masked"): "needs 99 GB"})
    loaded = load(tmp_path)
    assert loaded.refused == ()
    assert {record.cell.id for record in loaded.records} == set(CELLS)
    assert all(len(record.info.processes) == 6 for record in loaded.records)
    assert [item.reason for item in loaded.skipped] == ["needs 99 GB"]
    assert loaded.machine_of(loaded.records[0]).ceiling("fma_fp32", 2) == 1.5e11


def test_a_missing_results_folder_is_the_users_to_mend(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        load(tmp_path / "nowhere")


def test_an_empty_results_folder_holds_nothing(tmp_path):
    loaded = load(tmp_path)
    assert (loaded.records, loaded.refused, loaded.machines) == ((), (), {})


def test_order_of_records_does_not_depend_on_file_names(tmp_path):
    write_run(tmp_path / "a", cells=CELLS, run="r1").rename(tmp_path / "a" / "matrix" / MACHINE / "z.json")
    write_run(tmp_path / "a", cells=CELLS, run="r2", started="2026-02-02T00:00:00Z")
    write_run(tmp_path / "b", cells=CELLS, run="r2", started="2026-02-02T00:00:00Z")
    write_run(tmp_path / "b", cells=CELLS, run="r1")
    assert load(tmp_path / "a").records == load(tmp_path / "b").records


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "not complete JSON"),
        ('{"benchmarks": [', "not complete JSON"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "nested too deeply"),
        (b"\xff\xfe{}", "not UTF-8"),
        ('{"fffbench": NaN}', "NaN is not a JSON number"),
        ('{"fffbench": ' + "9" * 5000 + "}", "not valid JSON"),
        ("[]", "not a result file of fffbench"),
        ('{"benchmarks": [], "machine_info": {}, "version": "5.3.1"}', "not a result file of fffbench"),
        ('{"fffbench": []}', "not a result file of fffbench"),
        ('{"fffbench": {"format": 2}}', "newer than the newest"),
        ('{"fffbench": {"format": true}}', "must be 1"),
        ('{"fffbench": {"format": "1"}}', "must be 1"),
    ],
)
def test_a_file_that_is_no_result_is_refused_in_one_line_and_the_rest_loads(tmp_path, content, said):
    write_run(tmp_path, cells=CELLS)
    write(tmp_path, content)
    refusal = only_refusal(tmp_path)
    assert said in refusal.line
    assert refusal.line.startswith(f"matrix/{MACHINE}/odd.json")
    assert "\n" not in refusal.line
    assert len(load(tmp_path).records) == 2


def test_a_run_in_another_machines_folder_is_refused(tmp_path):
    write(tmp_path, run_json(CELLS), machine="another-machine")
    assert "folder of another machine" in only_refusal(tmp_path).reason


def test_links_and_folders_named_like_results_are_refused(tmp_path):
    path = write_run(tmp_path, cells=CELLS)
    path.with_name("link.json").symlink_to(path)
    path.with_name("folder.json").mkdir()
    os.mkfifo(path.with_name("pipe.json"))
    (path.parent.parent / "loop").symlink_to(path.parent)
    (path.parent.parent / "stray.json").write_text("{}")
    loaded = load(tmp_path)
    assert len(loaded.records) == 2
    assert sorted(refusal.path.split("/")[-1] for refusal in loaded.refused) == [
        "folder.json",
        "link.json",
        "loop",
        "pipe.json",
        "stray.json",
    ]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("processes", []),
        ("processes", [[]]),
        ("processes", [[-1.0]]),
        ("processes", [[0.0]]),
        ("processes", [["1"]]),
        ("processes", [[1e9]]),
        ("family", "quantum"),
        ("summary", "x" * 10_000_000),
        ("check", {"error": 1.0, "tolerance": 0.5, "tokens": 1, "diverged": 0, "diverged_cap": 0}),
        ("check", {"error": 0.1, "tolerance": 0.5, "tokens": 1, "diverged": 9, "diverged_cap": 0}),
        ("check", None),
        ("cell", "no cell"),
        ("cell", FFF.replace("n4095", "n4096")),
        ("cell", FFF.replace("d768", "d0768")),
        ("cell", FFF.replace("b16384", "b" + "9" * 100)),
        ("cell", FFF.replace("fp32", "fp31")),
        ("distinct_rows", True),
        ("extra_bytes", -1),
        ("notes", "a string"),
    ],
)
def test_a_bad_cell_is_refused_by_field_and_its_neighbour_loads(tmp_path, field, value):
    run = run_json(CELLS)
    run["benchmarks"][1]["extra_info"]["fffbench"][field] = value
    write(tmp_path, run)
    refusal = only_refusal(tmp_path)
    assert refusal.field.startswith(f"benchmarks[1].extra_info.fffbench.{field}")
    assert len(refusal.line) < 600
    assert [record.cell.id for record in load(tmp_path).records] == [DENSE]


def test_infinity_written_as_a_large_number_is_refused(tmp_path):
    text = json.dumps(run_json(CELLS)).replace('"distinct_rows": 4095.0', '"distinct_rows": 1e999', 1)
    write(tmp_path, text if "1e999" in text else text.replace('"prepare_seconds": 0.01', '"prepare_seconds": 1e999', 1))
    assert "finite" in only_refusal(tmp_path).reason


def test_half_a_surrogate_pair_never_reaches_the_page(tmp_path):
    write(tmp_path, json.dumps(run_json(CELLS)).replace("Test CPU", "\\ud800"))
    assert "not valid JSON" in only_refusal(tmp_path).reason


def test_a_cell_measured_twice_in_one_run_counts_once(tmp_path):
    path = write_run(tmp_path, cells=CELLS)
    path.with_name("copy.json").write_bytes(path.read_bytes())
    refusal = only_refusal(tmp_path)
    assert "measured twice" in refusal.reason
    assert "and 1 more" in refusal.reason
    assert len(load(tmp_path).records) == 2


def test_a_broken_writer_is_reported_a_few_times_not_a_thousand(tmp_path):
    run = run_json({cell_id("fff_cpu", batch=batch): 1.0 for batch in range(1, 1001)})
    for benchmark in run["benchmarks"]:
        benchmark["extra_info"] = {}
    write(tmp_path, run)
    refused = load(tmp_path).refused
    assert len(refused) == 21
    assert any("980 more parts" in refusal.reason for refusal in refused)


HOSTILE = (
    None,
    True,
    -1,
    0,
    1e999,
    "",
    "<script>alert(1)</script>",
    "x" * 5000,
    [],
    {},
    [[]],
    [None],
    {"": None},
    "\u0000",
    "../../etc/passwd",
    2**70,
    -0.5,
    [1, "a"],
    {"id": "x"},
    "NaN",
)


def places(value, path=()):
    """Every place in a JSON value, as a path of keys."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in items:
        yield from places(child, (*path, key))


@pytest.mark.parametrize("seed", range(200))
def test_generated_hostile_files_never_stop_the_rest_from_loading(tmp_path, seed):
    rng = random.Random(seed)
    write_run(tmp_path, cells=CELLS, run="honest")
    run = run_json(CELLS, run="hostile", skipped={cell_id("cmm_masked"): "reason"})
    for _ in range(rng.randint(1, 3)):
        path = rng.choice([place for place in places(run) if place])
        target = run
        for key in path[:-1]:
            target = target[key]
        if rng.random() < 0.3 and isinstance(target, dict):
            del target[path[-1]]
        else:
            target[path[-1]] = copy.deepcopy(rng.choice(HOSTILE))
    text = json.dumps(run)
    if rng.random() < 0.2:
        text = text[: rng.randrange(len(text))]
    write(tmp_path, text, "hostile.json")
    loaded = load(tmp_path)
    assert sum(record.run == "honest" for record in loaded.records) == 2
    assert all("\n" not in refusal.line and len(refusal.line) < 600 for refusal in loaded.refused)
    assert all(refusal.path.endswith("hostile.json") for refusal in loaded.refused)


def test_five_thousand_cells_load_in_seconds(tmp_path):
    for index in range(5):
        cells = {cell_id("fff_cpu", batch=batch): 1e-3 for batch in range(1, 1001)}
        write_run(tmp_path, cells=cells, run=f"r{index}")
    begin = time.perf_counter()
    assert len(load(tmp_path).records) == 5000
    assert time.perf_counter() - begin < 3


def test_a_run_without_ceilings_borrows_those_of_its_machine(tmp_path):
    write_run(tmp_path, cells={DENSE: 1.0}, run="one")
    write_run(tmp_path, cells={FFF: 1.0}, run="two", started="2026-03-01T00:00:00Z", ceilings={})
    loaded = load(tmp_path)
    assert {loaded.machine_of(record).ceiling("fma_fp32", 1) for record in loaded.records} == {7.5e10}


def test_quick_cells_load(tmp_path):
    write_run(tmp_path, cells=quick_cells())
    assert not load(tmp_path).refused


@pytest.mark.parametrize(
    ("run", "beside", "commit", "dirty"),
    [
        ({"commit": "2a0848cd9f"}, {"id": "6ffa9cf" + "0" * 33, "dirty": True}, "2a0848cd9f-dirty", True),
        ({"commit": "2a0848cd9f"}, {"id": "2a0848cd9f" + "0" * 30, "dirty": False}, "2a0848cd9f", False),
        ({"commit": "2a0848cd9f"}, {"id": "c7e82af" + "0" * 33, "dirty": False}, "2a0848cd9f", None),
        ({"commit": "2a0848cd9f"}, {"id": "unversioned", "dirty": False}, "2a0848cd9f", None),
        ({"commit": "2a0848cd9f"}, "nonsense", "2a0848cd9f", None),
        ({"commit": "2a0848cd9f-dirty"}, {"id": "2a0848cd9f", "dirty": False}, "2a0848cd9f-dirty", True),
        ({}, {"id": "6ffa9cf", "dirty": True}, "unknown", True),
        ({"commit": "2a0848cd9f", "dirty": False, "sources": "x"}, {"id": "a", "dirty": True}, "2a0848cd9f", False),
        ({"commit": "2a0848cd9f", "dirty": True, "sources": "x"}, None, "2a0848cd9f-dirty", True),
        ({"commit": "2a0848cd9f", "dirty": None, "sources": "x"}, None, "2a0848cd9f", None),
    ],
)
def test_a_run_is_dirty_where_its_file_says_so_anywhere(tmp_path, run, beside, commit, dirty):
    path = write_run(tmp_path, cells={FFF: 1.0})
    value = json.loads(path.read_text())
    del value["fffbench"]["commit"]
    value["fffbench"] |= run
    value["commit_info"] = beside
    path.write_text(json.dumps(value))
    [found] = load(tmp_path).runs.values()
    assert (found.commit, found.dirty) == (commit, dirty)
    assert {True: "dirty", False: "clean", None: "unknown"}[dirty] in found.sources
