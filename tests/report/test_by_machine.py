"""Machine by machine in worker processes gives the bytes that all results at once give, or leaves it to those."""

from __future__ import annotations

import json
import os
import random
import signal

import pytest
from synthetic import STABLE, cell_id, quick_cells, run_json, write_run

from fffbench.analysis import rivals, spread
from fffbench.errors import UserError
from fffbench.plan.workload import Shape
from fffbench.report import by_machine, html, one_machine
from fffbench.results.store import load

MACHINES = [f"test-cpu-{letter}" for letter in "abcd"]
GPU = "test-gpu"


def whole(results, out):
    """Every file of a report on all results at once, but the copies of raw files."""
    html.render(load(results), out, folder=results)
    return tree(out)


def apart(results, out, workers=2):
    """The same machine by machine; None where it is left to the other way."""
    found = by_machine.render(results, out, least=0, workers=workers)
    return None if found is None else tree(out)


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def measured(results, rng):
    """Machines that differ in what they tried, skipped and repeated, one of older dates, one without any time."""
    for index, machine in enumerate(MACHINES):
        for visit in range(1 + index):  # of some, two runs and more say how far runs lie apart
            cells = {name: time * rng.lognormvariate(0, 0.05) for name, time in quick_cells(1 + index).items()}
            names = sorted(cells)
            gone = names[index * 3 : index * 3 + 5]
            fewer = {name: time for name, time in cells.items() if name not in gone}
            if index != 1:  # a layer that only one machine tried, and that is fast there
                fewer = {name: time for name, time in fewer.items() if not name.startswith("dense_padded")}
            else:
                fewer = {n: t * (0.5 if n.startswith("dense_padded") else 1) for n, t in fewer.items()}
            write_run(
                results,
                cells=fewer,
                machine=machine,
                run=f"quick-2026010{visit + 1}-030405-{index:06x}",
                started=f"2026-01-0{visit + 1}T03:04:05Z",
                skipped=dict.fromkeys(gone, "takes more memory than there is"),
                stable=STABLE | {"cpu": f"CPU {index // 2}", "serial": machine},
            )
    on_gpu = {
        cell_id(name, device="cuda", threads=1, call="graph", dtype=dtype, batch=batch): batch * time
        for batch in (1, 16384)
        for name, time in (("dense_linear", 1e-6), ("fff_triton", 1e-7))
        for dtype in ("fp32", "tf32", "bf16")
    }
    write_run(results, cells=on_gpu, machine=GPU, run="quick-20260105-030405-0000aa")
    write_run(
        results,
        cells={},
        machine="test-cpu-z",
        run="quick-20260105-030405-0000bb",
        skipped={cell_id("fff_cpu", shape=Shape.tree(768, 1, 3)): "nothing runs here"},
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("of-six") / "results"
    measured(folder, random.Random(5))
    odd = folder / "matrix" / MACHINES[0] / "cut.json"
    odd.write_text("{")
    job = {"format": 1, "class_name": "epyc", "preset": "quick", "block": "b", "state": "failed", "said": "no node"}
    (folder / "fleet" / "epyc").mkdir(parents=True)
    (folder / "fleet" / "epyc" / "quick-b.json").write_text(json.dumps({**job, "cells": ["fff_cpu@all"]}))
    return folder


@pytest.fixture(scope="module")
def at_once(results, tmp_path_factory):
    return whole(results, tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("workers", [1, 3])
def test_every_file_has_the_bytes_that_all_results_at_once_give(results, at_once, tmp_path, workers):
    found = apart(results, tmp_path, workers)
    assert found is not None
    assert {name for name in at_once if found.get(name) != at_once[name]} == set()
    assert found.keys() == at_once.keys()


def test_what_machines_must_know_of_each_other_is_in_those_results(results):
    """Else the test above would show nothing: spreads from elsewhere, and layers that are faster elsewhere."""
    loaded = load(results)
    assert {one.ratio.known_from for one in spread.spreads(loaded).values()} >= {"this machine", "all machines"}
    shares = rivals.dense_times(loaded)
    assert any(shares.shares(key, frozenset({"dense_linear"})) for key in rivals.placed(loaded))


def test_with_fewer_devices_than_have_records_the_page_counts_all(results, tmp_path, monkeypatch):
    monkeypatch.setattr("fffbench.report.shown.MOST", 2)
    assert apart(results, tmp_path / "apart") == whole(results, tmp_path / "whole")


@pytest.fixture
def two(tmp_path):
    """Results of two machines."""
    for machine in MACHINES[:2]:
        write_run(tmp_path / "results", cells=quick_cells(), machine=machine, run=f"quick-{machine}")
    return tmp_path / "results"


def test_two_machines_are_rendered_apart(two, tmp_path):
    assert apart(two, tmp_path / "apart") == whole(two, tmp_path / "whole")


def test_a_run_on_two_machines_is_left_to_all_results_at_once(two, tmp_path):
    value = run_json(quick_cells(), machine=MACHINES[2], run=f"quick-{MACHINES[0]}")
    (two / "matrix" / MACHINES[2]).mkdir()
    (two / "matrix" / MACHINES[2] / "again.json").write_text(json.dumps(value))
    assert apart(two, tmp_path / "apart") is None
    assert not (tmp_path / "apart").exists()


def test_a_date_that_another_machines_run_bounds_is_left_to_all_results_at_once(two, tmp_path):
    path = write_run(two, cells=quick_cells(), machine=MACHINES[2], run="late", started="2026-01-01T00:00:00Z")
    value = json.loads(path.read_text())
    value["fffbench"]["after"] = [f"quick-{MACHINES[0]}"]
    path.write_text(json.dumps(value))
    assert apart(two, tmp_path / "apart") is None


def test_files_that_take_more_memory_than_is_allowed_are_left_to_all_results_at_once(two, tmp_path, monkeypatch):
    monkeypatch.setattr("fffbench.results.store.MOST_MEMORY", 1000)
    monkeypatch.setattr("fffbench.results.store.MEMORY_OF_A_BYTE", 0)
    assert apart(two, tmp_path / "apart") is None


def test_a_worker_that_dies_ends_the_command_with_one_line(two, tmp_path, monkeypatch):
    monkeypatch.setattr(one_machine.csv_tables, "write_measured", lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(UserError, match=r"^a worker process of the report died") as said:
        apart(two, tmp_path / "apart")
    assert "\n" not in str(said.value)
    assert not (tmp_path / "apart").exists()


def test_a_full_disk_in_a_worker_is_said_in_one_line(two, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device", "cells.csv")

    monkeypatch.setattr(one_machine.csv_tables, "write_measured", full)
    with pytest.raises(UserError, match="cannot be written: No space left on device"):
        apart(two, tmp_path / "apart")
