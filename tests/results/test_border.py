"""The border: what comes in from anybody's file costs little, is what it says it is, and can be printed."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from error_model import logit_std, output_std
from synthetic import MACHINE, OPTIMISED, STABLE, asv_json, cell_id, run_json, write_history, write_run

from benchmarks.studies import readme
from fffbench.analysis.speedup import speedups
from fffbench.files import NotPlainError, read_plain, write_plain
from fffbench.measure import fingerprint
from fffbench.plan.workload import DTYPES, Shape, parse_cell
from fffbench.problems.judging import NORM_SIGMAS
from fffbench.report import render
from fffbench.results import asv, identity, plausible, store
from fffbench.results.reader import read_file
from fffbench.results.record import MAX_PROCESSES, Machine
from fffbench.results.store import load
from fffbench.text import markdown, message, plain

DENSE, FFF = cell_id("dense_linear"), cell_id("fff_cpu")
CELLS = {DENSE: 1.0, FFF: 0.01}
NASTY = "\x1b[31m[pay](https://example.org)\u202e\r\nwww.example.org"


@pytest.fixture
def results(tmp_path):
    """A folder with an honest run, which everything must leave alone."""
    write_run(tmp_path / "results", cells=CELLS, run="honest")
    return tmp_path / "results"


def put(results, value, name="odd.json", room="matrix"):
    folder = results / room / MACHINE
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")


def refused_beside_the_honest(results):
    """The refusals of a folder whose honest run is shown whole."""
    loaded = load(results)
    assert sum(record.run == "honest" for record in loaded.records) == 2
    return loaded.refused


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"error": 1e5, "tolerance": 1e300, "tokens": 0}, "check.tolerance"),
        ({"error": 0.1, "tolerance": 0.2}, "check.tolerance"),
        ({"tokens": 0}, "check.tokens"),
        ({"tokens": 3, "diverged_cap": 4}, "check.diverged_cap"),
        ({"tolerance": 0.0, "error": 0.0}, "check.tolerance"),
        ({"error": 1.0001e-5}, "check"),
    ],
)
def test_a_check_that_cannot_have_been_is_not_believed(results, changes, field):
    check = {"error": 1e-6, "tolerance": 1e-5, "tokens": 256, "diverged": 0, "diverged_cap": 4, **changes}
    put(results, run_json({FFF: 1e-6}, run="hostile", changes={"check": check}))
    (refusal,) = refused_beside_the_honest(results)
    assert refusal.field.startswith(f"benchmarks[0].extra_info.fffbench.{field}")


def test_rows_that_the_layer_does_not_have_are_not_believed(results):
    put(results, run_json({FFF: 1e-3}, run="hostile", changes={"distinct_rows": 5000.0}))
    (refusal,) = refused_beside_the_honest(results)
    assert refusal.field.endswith("distinct_rows")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [Shape.tree(768, 1, 12), Shape.tree(8192, 1, 13), Shape.dense(768, 3072)])
def test_the_bound_on_tolerances_lies_above_the_error_model_and_not_far(dtype, shape):
    rng = np.random.default_rng(1)
    neurons, d = min(shape.active, 4096), shape.d
    z = rng.normal(0, 0.5, (50, neurons))
    norm = np.full(neurons, d**0.5)
    gelu = z * 0.5 * (1 + np.tanh(0.8 * z))
    z_std = logit_std(z, np.asarray(d**0.5), np.asarray(0.5), d, dtype)
    std, scale = output_std(z, gelu, z_std, norm, np.linalg.norm(gelu * norm, axis=1), dtype)
    allowed = NORM_SIGMAS * std / scale
    family = "fff" if shape.is_tree else "dense"
    cell = parse_cell(cell_id(f"{family}_x", shape=shape, dtype=dtype))
    assert allowed.max() < plausible.most_tolerance(cell, family) < 40 * np.median(allowed)


@pytest.mark.parametrize("time", [5e-324, 1e-300, 1e-10])
def test_times_that_no_clock_sees_are_refused(results, time):
    put(results, run_json({FFF: [[time]] * 6}, run="hostile"))
    (refusal,) = refused_beside_the_honest(results)
    assert "processes" in refusal.field
    assert speedups(load(results))


@pytest.mark.parametrize("value", [5e-324, 1e300])
def test_ceilings_of_no_machine_are_refused(results, value):
    put(results, run_json({FFF: 1.0}, run="hostile", ceilings={"fma_fp32": {"1": value}}))
    (refusal,) = refused_beside_the_honest(results)
    assert refusal.field == "fffbench.machine.ceilings.fma_fp32.1"


def test_a_cell_of_many_processes_is_shown_and_one_of_too_many_refused_by_name(results):
    many = {cell_id("fff_cpu", batch=1): [1e-3] * 150, cell_id("dense_linear", batch=1): [1e-2] * 150}
    put(results, run_json(many, run="many"), "many.json")
    put(results, run_json({FFF: [1e-3] * (MAX_PROCESSES + 1)}, run="more"), "more.json")
    (refusal,) = refused_beside_the_honest(results)
    assert refusal.path.endswith("more.json")
    assert str(MAX_PROCESSES) in refusal.reason
    assert any(row.speedup == 10 and row.run == "many" for row in speedups(load(results)))


@pytest.mark.parametrize(("word", "said"), [("Infinity", "Infinity"), ("-Infinity", "-Infinity"), ("NaN", "NaN")])
def test_what_is_no_json_number_is_refused_by_file_and_field(results, word, said):
    put(results, json.dumps(run_json(CELLS, run="hostile")).replace("7.5e10", word).replace("75000000000.0", word))
    (refusal,) = refused_beside_the_honest(results)
    assert refusal.field == "fffbench.machine.ceilings.fma_fp32.1"
    assert refusal.reason.startswith(f"{said} is not a JSON number")


@pytest.mark.parametrize(
    "content",
    ['{"fffbench": {}, "benchmarks": [' + ",".join(["{}"] * 3_000_000) + "]}", "[" + ",".join(["[[]]"] * 3_000_000)],
)
def test_a_file_that_would_take_gigabytes_is_refused_before_it_does(results, content):
    put(results, content)
    (refusal,) = refused_beside_the_honest(results)
    assert "MB of memory" in refusal.reason


def test_any_number_of_skipped_cells_is_read_in_a_moment(results):
    """Each was compared with a set made anew for it: 10,000 took minutes, in a file of a megabyte."""
    data = run_json(CELLS, run="odd")
    data["fffbench"]["skipped"] = [
        {"cell": cell_id("cmm_masked"), "family": "cmm", "reason": f"reason {index // 2}"} for index in range(8000)
    ]
    put(results, data)
    began = time.process_time()
    found = load(results)
    assert time.process_time() - began < 10
    assert len(found.skipped) == 4000


def test_files_that_take_too_much_together_are_left_out_from_the_largest_on(results, monkeypatch):
    for index in range(3):
        cells = {cell_id("fff_cpu", batch=batch): 1e-3 for batch in range(1, 20 + 10 * index)}
        put(results, run_json(cells, run=f"large-{index}"), f"large-{index}.json")
    monkeypatch.setattr(store, "MOST_MEMORY", 3 * 10**5)
    monkeypatch.setattr(store, "MEMORY_OF_A_BYTE", 0)
    refused = refused_beside_the_honest(results)
    assert [refusal.path.rsplit("/", 1)[-1] for refusal in refused] == ["large-1.json", "large-2.json"]
    assert all("all files together" in refusal.reason for refusal in refused)


@pytest.mark.parametrize("processes", [1, 2, 6, 16])
def test_no_file_is_left_out_for_its_size_however_many_there_are(tmp_path, processes):
    cells = {cell_id("fff_cpu", batch=batch): [1e-3] * processes for batch in range(1, 100)}
    skipped = {cell_id("dense_linear", batch=batch): "needs an NVIDIA GPU" for batch in range(1, 100)}
    place = tmp_path / "matrix" / MACHINE / "x.json"
    place.parent.mkdir(parents=True)
    place.write_text(json.dumps(run_json(cells, skipped=skipped), separators=(",", ":")))
    assert read_file(place, tmp_path).cost < store.MEMORY_OF_A_BYTE * place.stat().st_size


def test_no_file_asks_for_any_number_of_points_of_history(results):
    write_history(results, {OPTIMISED: [[1e-3, 1e-3]]})
    wide = asv_json({}, index=3)
    wide["results"] = {f"kernels.time_{index}": [None, [["a", "b"]] * 12] for index in range(6)}
    put(results, wide, "wide.json", room="asv")
    loaded = load(results)
    assert len(loaded.history) == 2
    assert str(asv.MAX_POINTS) in loaded.refused[0].reason


@pytest.mark.parametrize("parameter", ["{[]: 1}", "{[]}", "'\\ud800'", "'\\d'", "1" * 190, "(" * 150, "\x1b[31m'x'"])
def test_parameters_of_asv_that_are_no_plain_text_are_shown_as_they_are(results, parameter):
    odd = asv_json({}, index=3)
    odd["results"] = {OPTIMISED: [[1e-3], [[parameter]]]}
    put(results, odd, "odd.json", room="asv")
    loaded = load(results)
    assert not loaded.refused
    ((_, shown),) = loaded.history[0].params
    assert shown.isprintable()


@pytest.mark.parametrize("value", [1e300, 5e-324, True, "1", 10**400])
def test_results_of_asv_that_nothing_can_be_computed_with_are_refused(results, value):
    odd = asv_json({}, index=3)
    odd["results"] = {OPTIMISED: [[value], []]}
    put(results, odd, "odd.json", room="asv")
    (refusal,) = refused_beside_the_honest(results)
    assert refusal.field == f"results.{OPTIMISED}"


def test_text_of_a_file_moves_no_cursor_and_makes_no_link(results, tmp_path):
    cells = {cell_id("dense_linear", batch=64): 1.0, cell_id("fff_cpu", batch=64): 0.01}
    odd = run_json(cells, run="odd", stable={**STABLE, "cpu": NASTY}, machine="odd-0002", skipped={FFF: NASTY})
    folder = results / "matrix" / "odd-0002"
    folder.mkdir()
    (folder / "odd.json").write_text(json.dumps(odd))
    (folder / "\x1b[2J\n[x](http:\u202e.json").write_text("{")
    loaded = load(results)
    shown = [*loaded.machines["odd-0002"].stable.values(), loaded.skipped[0].reason, *(r.line for r in loaded.refused)]
    assert len(loaded.refused) == 1
    assert all(text.isprintable() for text in shown)
    block = readme.block(readme.analyse(loaded))
    assert "](http" not in block
    page = render(loaded, tmp_path / "out").read_text(encoding="utf-8")
    assert not {"\x1b", "\u202e", "\r"} & set(page)


def test_foreign_text_is_nothing_but_text():
    assert plain(NASTY) == "\\x1b[31m[pay](https://example.org)\\u202e  www.example.org"
    assert markdown("[a](https://x) @you www.x") == "[a\\](https&#58;//x) &#64;you www&#46;x"
    assert len(message(f"--d {'9' * 100_000}: allowed are whole numbers")) < 300
    assert message(f"{'a ' * 50_000}allowed: b").endswith("allowed: b")


def test_two_machines_of_one_id_are_not_one(results):
    forged = run_json(
        {FFF: 1e-6}, run="a-forged", stable={**STABLE, "cpu": "Another CPU"}
    )  # its hash was found by trying
    put(results, forged, "a-forged.json")
    (refusal,) = refused_beside_the_honest(results)
    assert refusal.path.endswith("a-forged.json")
    assert "another machine" in refusal.reason
    assert load(results).machines[MACHINE].stable["cpu"] == "Test CPU"


def test_facts_that_do_not_belong_to_the_id_are_refused(results):
    forged = run_json({FFF: 1e-6}, run="forged")
    forged["fffbench"]["machine"]["stable"]["caches"] = "L3 9 GiB"
    put(results, forged)
    (refusal,) = refused_beside_the_honest(results)
    assert refusal.field == "fffbench.machine.stable"
    assert "do not belong" in refusal.reason


def test_memory_that_a_system_reports_otherwise_makes_no_other_machine(results):
    cells = {cell_id("fff_cpu", batch=64): 1e-3}
    stable = load(results).machines[MACHINE].stable
    write_run(results, cells=cells, run="less", stable={**stable, "memory": "8 GiB"})
    assert not refused_beside_the_honest(results)


def test_the_id_that_this_machine_gives_itself_is_believed():
    facts = fingerprint.stable()
    machine = Machine(id=fingerprint.machine_id(facts), stable=facts)
    assert identity.misnamed(machine) is None
    assert identity.misnamed(machine.model_copy(update={"stable": {**facts, "cores": "999"}}))


def test_all_results_of_the_project_are_believed():
    root = Path(__file__).parents[2] / "results"
    loaded = load(root)
    assert loaded.records
    assert not loaded.refused


@pytest.mark.parametrize("room", ["matrix", "asv", "regress"])
def test_a_link_costs_nothing_but_itself(results, room):
    (results / room).mkdir(exist_ok=True)
    (results / room / "a-link").symlink_to("/proc")
    folder = results / room / MACHINE
    folder.mkdir(exist_ok=True)
    (folder / "mem.json").symlink_to("/proc/self/mem")
    (folder / "folder.json").mkdir()
    refused = refused_beside_the_honest(results)
    assert [refusal.path for refusal in refused] == [
        f"{room}/a-link",
        f"{room}/{MACHINE}/folder.json",
        f"{room}/{MACHINE}/mem.json",
    ]


@pytest.mark.parametrize("room", ["matrix", "asv", "regress"])
def test_a_folder_that_cannot_be_read_is_named_and_the_rest_is_shown(room):
    with tempfile.TemporaryDirectory() as scratch:  # pytest's own folders are closed to others
        root = Path(scratch)
        root.chmod(0o755)
        write_run(root, cells=CELLS, run="honest")
        closed = root / room / "closed"
        closed.mkdir(parents=True)
        (closed / "x.json").write_text("{}")
        closed.chmod(0)
        code = (
            "import os, sys; from pathlib import Path; from fffbench.results.store import load\n"
            "if os.geteuid() == 0: os.setuid(65534)\n"  # everything is open to root
            "found = load(Path(sys.argv[1])); print(len(found.records)); [print(item.line) for item in found.refused]"
        )
        done = subprocess.run([sys.executable, "-c", code, scratch], capture_output=True, text=True, check=False)
        closed.chmod(0o700)
    assert done.stdout == f"2\n{room}/closed: cannot be read: Permission denied\n", done.stderr


@pytest.mark.parametrize("room", ["matrix", "asv", "regress"])
def test_what_is_no_plain_file_is_refused_without_waiting(results, room, monkeypatch):
    folder = results / room / MACHINE
    folder.mkdir(parents=True, exist_ok=True)
    os.mkfifo(folder / "fifo.json")
    monkeypatch.chdir(folder)  # the name of a socket may have 107 bytes
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.json")
        refused = refused_beside_the_honest(results)
    assert [refusal.path.rsplit("/", 1)[-1] for refusal in refused] == ["fifo.json", "socket.json"]
    assert all("not a plain file" in refusal.reason for refusal in refused)


@pytest.mark.parametrize("append", [False, True])
def test_nothing_is_written_to_what_is_no_plain_file(tmp_path, append):
    os.mkfifo(tmp_path / "fifo")
    for target in (tmp_path / "fifo", Path("/dev/zero")):
        with pytest.raises(NotPlainError, match="not a plain file"):
            write_plain(target, "text", append=append)
        with pytest.raises(NotPlainError, match="not a plain file"):
            read_plain(target, 10)
    write_plain(tmp_path / "file", "one", append=append)
    write_plain(tmp_path / "file", "2", append=append)
    assert read_plain(tmp_path / "file", 10) == (b"one2" if append else b"2")
    with pytest.raises(ValueError, match="at most 0"):
        read_plain(tmp_path / "file", 0)


def test_a_report_does_not_wait_for_a_pipe(results, tmp_path):
    (tmp_path / "out").mkdir()
    os.mkfifo(tmp_path / "out" / "index.html")
    os.mkfifo(tmp_path / "out" / "cells.csv")
    command = [shutil.which("fffbench", path=Path(sys.executable).parent) or "fffbench", "report"]
    done = subprocess.run(
        [*command, "--results", results, "--out", tmp_path / "out"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "not a plain file" in done.stderr
