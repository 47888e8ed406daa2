"""What a preset is for gets six processes within fifteen minutes on two cores: a session played on a clock of its own.

Calls take what they took on two cores of Zen 4 (dense layers at 0.8 of the measured FMA rate or of the bandwidth, the
slow ones twice that); the session, its forecast and its plan are the real ones.
"""

import pytest

from fffbench.implementations.registry import implementation
from fffbench.measure import session as session_room
from fffbench.measure.outcome import Outcome
from fffbench.measure.session import Session
from fffbench.runs import planning as bench

CEILINGS = {
    "fma_fp32": {"1": 1.14e11, "2": 2.3e11},
    "fma_bf16": {"1": 2.3e11, "2": 4.6e11},
    "dram_read": {"1": 2.7e10, "2": 3.5e10},
}
FIFTEEN_MINUTES = 900.0
SHARE = {"dense": 0.8, "fff": 0.25, "cmm": 0.02, "reference": 0.002, "faulty": 0.02}
SLOW = ("dense_linear", "dense_padded", "dense_tiled", "dense_compiled")  # twice as slow, at every size


def call_seconds(cell):
    family, workload = implementation(cell.implementation).family, cell.workload
    bound = max(
        workload.operations(family) / CEILINGS[f"fma_{workload.dtype}"][str(workload.threads)],
        workload.bytes(family) / CEILINGS["dram_read"][str(workload.threads)],
    )
    return bound / SHARE[family] * (2 if cell.implementation in SLOW else 1)


class Clock:
    now = 0.0

    def monotonic(self):
        return self.now


@pytest.fixture
def played(monkeypatch):
    """A session whose processes take their time on a played clock only."""
    clock = Clock()

    class PlayedRound:
        def __init__(self):
            clock.now += 3.0  # importing torch
            self.drawn = set()

        def close(self):
            pass

        def build_reference(self, cell, path, limit, until=None):
            clock.now += cell.workload.operations("fff" if cell.implementation == "fff_cpu" else "dense") / 6e10
            path.write_text("")

        def measure(self, cells, process, references, seconds, limit, until=None):
            [cell] = cells
            shape = cell.workload.shape
            if shape not in self.drawn:
                self.drawn.add(shape)
                clock.now += (2 * shape.n + cell.workload.batch) * shape.d / 1.5e8  # normal numbers a second
            call = call_seconds(cell)
            wall = 0.25 + max(seconds, call) + 2 * call
            clock.now += wall + 0.15
            yield Outcome(cell.id, process, samples=(call,), wall=wall)

    monkeypatch.setattr(session_room, "Round", PlayedRound)
    monkeypatch.setattr(session_room, "time", clock)
    monkeypatch.setattr(session_room.memory, "available", lambda: 20 * 2**30)
    return clock


@pytest.mark.parametrize("name", ["headline", "width", "batch", "leaf"])
def test_the_comparison_a_preset_is_for_has_six_processes_within_fifteen_minutes(name, played, monkeypatch):
    monkeypatch.setattr(bench.fingerprint, "usable_cores", lambda: 2)
    plan, _ = bench.runnable(bench.Options(name, budget_seconds=FIFTEEN_MINUTES))
    costs = bench.costs_of(plan, CEILINGS)
    counts = dict.fromkeys((cell.id for cell in plan.cells), 0)
    for outcome in Session(plan, [], costs, lambda _: None, seed=1).outcomes():
        counts[outcome.cell] += 1
    assert played.now < 1.03 * FIFTEEN_MINUTES
    fast = [cell for cell in plan.cells if cell in plan.keep and cell.implementation not in SLOW]
    short = {cell.id: counts[cell.id] for cell in fast if counts[cell.id] < plan.processes}
    assert not short
    assert {cell.workload.threads for cell in fast if cell.implementation == "fff_cpu"} == {1, 2}
    assert sum(counts[cell.id] >= 1 for cell in plan.cells) > 0.9 * len(plan.cells)
