"""What does a machine cost a report? Counted, never timed: one more may cost what a machine costs, and no more."""

import random
import shutil
from collections import Counter

import pytest

from benchmarks.studies import many_machines
from fffbench.analysis import speedup, stats
from fffbench.analysis.rows import Speedup
from fffbench.claims.rows import ClaimRow
from fffbench.report.analysed import analyse
from fffbench.results import reader
from fffbench.results.record import Record
from fffbench.results.store import load


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Results of one machine and of three, by their number."""
    files, rng = many_machines.templates("quick,fidelity")["cpu"], random.Random(2)
    found = {}
    for count in (1, 3):
        folder = found[count] = tmp_path_factory.mktemp(f"of-{count}")
        for index in range(count):
            many_machines.pack(folder, index, files, "cpu", rng)
        (folder / "results" / "matrix").mkdir(parents=True)
        for machine in (folder / "sources").glob("*/matrix/*"):
            shutil.move(machine, folder / "results" / "matrix" / machine.name)
    return found


@pytest.fixture
def counted(monkeypatch):
    """How often some functions were called, by their name."""
    calls = Counter()

    def count(module, name):
        function = getattr(module, name)

        def counting(*given, **named):
            calls[name] += 1
            return function(*given, **named)

        monkeypatch.setattr(module, name, counting)

    for module, name in (
        (reader, "json_bytes"),
        (stats, "_time_over_runs"),
        (speedup, "candidates_of"),
        (Record, "__eq__"),
        (reader.SkippedCell, "__hash__"),
    ):
        count(module, name)
    return calls


def of(count, folders, counted):
    """The analysis of so many machines, and what it called."""
    counted.clear()
    found = analyse(load(folders[count] / "results"))
    return found, Counter(counted)


def test_a_file_is_parsed_once_and_a_time_estimated_once_at_most(folders, counted):
    found, calls = of(3, folders, counted)
    assert calls["json_bytes"] == len(list((folders[3] / "results").rglob("*.json")))
    assert 0 < calls["_time_over_runs"] <= len(found.results.records)


def test_no_two_records_are_compared_field_by_field(folders, counted):
    _, calls = of(3, folders, counted)
    assert calls["__eq__"] == 0


def test_the_dense_layers_beside_a_layer_are_found_once_for_all_its_implementations_and_threads(folders, counted):
    found, calls = of(3, folders, counted)
    measured = [row for row in found.rows if row.time is not None]
    places = {
        (row.machine, row.baseline, row.d, row.batch, row.dtype, row.device, row.cache, row.call, row.shape)
        for row in measured
    }
    assert len(places) < len(measured) / 4
    # ``same-primitive`` and ``published`` ask for one layer by name, so a place may have several answers
    assert calls["candidates_of"] < len(measured) / 2


def test_a_machine_more_costs_what_a_machine_costs(folders, counted):
    (_, one), (_, three) = of(1, folders, counted), of(3, folders, counted)
    assert one.keys() == three.keys()
    # which layer is the fastest, and so which times are asked for, differs a little between machines
    assert all(three[name] <= 3.1 * one[name] for name in one), (one, three)


@pytest.mark.parametrize("kind", [Record, Speedup, ClaimRow])
def test_what_there_is_of_every_cell_has_no_dictionary(kind):
    assert "__dict__" not in dir(kind)
