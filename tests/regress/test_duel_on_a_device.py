"""Do a duel and a profile go the way of an accelerator where there is one? A device that is none stands in for it."""

import json
import os

import pytest

from fffbench.devices import DEVICES
from fffbench.devices.cpu import Cpu
from fffbench.measure import alone
from fffbench.plan.workload import Cell, Protocol, Shape, Workload
from fffbench.regress import duel, duel_worker

torch = pytest.importorskip("torch")

WORK = Workload(Shape.tree(64, 1, 5), 16)


class Board(Cpu):
    """An accelerator by its declarations: no threads, memory of its own, calls that are done when one waits."""

    name = "board"
    label = "Board"
    threaded = False
    host_memory = False
    calls = ("kernel", "torch")
    waited = 0

    def synchronize(self):
        """Count."""
        type(self).waited += 1


class Graphing(Board):
    """One that captures graphs, as CUDA does."""

    calls = ("kernel", "torch", "graph")


class FakeGraphs:
    """Stands in for CUDA's graphs."""

    refused = ""

    def __init__(self, calls):
        self.calls, self.counts = calls, []

    def run(self, count):
        if self.refused:
            raise RuntimeError(f"{self.refused}\nmore lines")
        self.counts.append(count)
        for index in range(count):
            self.calls[index % len(self.calls)]()
        return 1e-3


@pytest.fixture
def graphs(monkeypatch):
    monkeypatch.setattr(duel_worker, "Graphs", FakeGraphs)
    return FakeGraphs


def test_a_turn_waits_for_the_device_before_and_after_its_calls(monkeypatch):
    done = []
    monkeypatch.setattr(Board, "waited", 0)
    turns = duel_worker.runner(Board(), [lambda: done.append(Board.waited)])
    assert turns.run(3) > 0
    assert done == [1, 1, 1]
    assert Board.waited == 2


def test_on_a_device_with_graphs_a_turn_is_one(graphs):
    found = duel_worker.runner(Graphing(), [lambda: None])
    assert isinstance(found, graphs)
    assert found.counts == [1]  # what cannot be captured says so before any turn


def test_what_cannot_be_captured_is_refused_with_the_first_line_of_why(graphs, monkeypatch):
    monkeypatch.setattr(graphs, "refused", "operation not permitted when stream is capturing")
    with pytest.raises(ValueError, match=r"^cannot be captured in a graph: operation not permitted [a-z ]+$"):
        duel_worker.runner(Graphing(), [lambda: None])


def request(device):
    cell = Cell("fff_cpu", WORK, Protocol("warm", "kernel")).id.replace("-cpu-", f"-{device}-")
    return {"block": 3, "cases": [{"cell": cell, "threads": 1, "name": "one"}], "sides": []}


@pytest.mark.parametrize(("device", "pinned", "lead"), [("cpu", True, None), ("cuda", False, 0.0)])
def test_only_a_hosts_block_has_a_core_of_its_own_and_a_lead(monkeypatch, device, pinned, lead):
    chosen, given = [], {}
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, cores: chosen.append(cores), raising=False)
    monkeypatch.setattr(duel_worker, "take_all_turns", lambda _request, _children, **lead: given.update(lead) or {})
    monkeypatch.setattr(duel_worker, "_data", lambda _name: None)
    asked = request(device)
    duel_worker.answer(asked)
    duel_worker._pinned(None, asked)
    assert chosen == ([{1}] if pinned else [])
    assert given.get("lead_seconds") == lead


def test_the_reference_is_computed_where_the_pool_lies_before_the_layer_is_prepared(monkeypatch):
    order, expected = [], alone.expected

    def noted(cell, family, pool):
        order.append(("reference", {x.device.type for x in pool.x}))
        return expected(cell, family, pool)

    chosen = duel_worker.side("dense_linear", "")
    prepare = type(chosen).prepare
    monkeypatch.setattr(alone, "expected", noted)
    monkeypatch.setattr(
        type(chosen), "prepare", lambda *a, **k: order.append(("prepared", None)) or prepare(*a, **k), raising=False
    )
    cell = Cell("dense_linear", WORK, Protocol("warm", "kernel"))
    reason, calls = duel_worker._calls(chosen, cell, duel_worker._data(cell.id), check=True)
    assert (reason, bool(calls)) == (None, True)
    assert [what for what, _ in order] == ["reference", "prepared"]


def test_a_profile_of_a_graphs_cell_says_that_its_calls_were_launched_one_by_one(capsys, monkeypatch):
    cell = Cell("fff_cpu", WORK, Protocol("warm", "kernel"))
    name = cell.id.replace("-kernel", "-graph").replace("-cpu-", "-cuda-")
    monkeypatch.setattr(alone, "calls_of", lambda _cell: [lambda: None])
    monkeypatch.setattr(alone, "device", lambda _name: Board())
    assert alone.main([name, "0.01"]) == 0
    assert "each launched by itself, not in a graph" in capsys.readouterr().err


def test_a_round_of_a_profile_is_short_however_many_batches_the_pool_has(monkeypatch):
    called = []
    monkeypatch.setattr(alone, "device", lambda _name: Board())
    cell = Cell("fff_cpu", WORK, Protocol("warm", "kernel"))
    pool = [lambda place=place: called.append(place) for place in range(1000)]
    count, _ = alone.repeat(cell, pool, 1e-9)
    assert count == alone.CALLS_A_ROUND
    assert called[1000:] == list(range(alone.CALLS_A_ROUND))  # after each was called once, unprofiled


def test_cuda_is_compared_in_graphs_and_what_it_is_asked_fits_a_line_of_json():
    assert "graph" in DEVICES["cuda"].calls
    sides = {duel.A: duel.Side("fff_cuda"), duel.B: duel.Side("fff_triton"), duel.AGAIN: duel.Side("fff_cuda")}
    work = Workload(Shape.tree(768, 1, 12), 128, "bf16", device="cuda")
    asked = duel._request(sides, [work], 0, with_control=True)
    assert json.loads(json.dumps(asked)) == asked
