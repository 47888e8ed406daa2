"""The judge's rules on made-up answers: what it believes, what it refuses, and with which words."""

import math
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from fffbench import contain
from fffbench.measure import bounds, judge, processes, seal, subject
from fffbench.measure.judge import Reading, RefusedError
from fffbench.measure.outcome import Outcome
from fffbench.measure.staging import CONTROL
from fffbench.measure.watching import read
from fffbench.plan.workload import Cell, Protocol, Shape, Workload
from fffbench.units import seconds

CELL = Cell("fff_cpu", Workload(Shape.tree(768, 1, 12), 16384), Protocol("cold", "kernel"))
CEILINGS = {"fma_fp32": {"1": 1e11}, "dram_read": {"1": 1e10}, "dram_copy": {"1": 8e9}}


def judged(cache, single, offsets):
    """What the judge makes of single calls' times, given which of them were on known content."""
    one = object.__new__(judge._Judge)
    one._case = SimpleNamespace(cell=Cell("theirs", CELL.workload, Protocol(cache, "kernel")))
    one._offsets = offsets
    one._new_content(single)


def test_calls_that_are_fast_on_known_content_only_are_refused():
    offsets = [0, 0, 0, *[CONTROL, 3] * 8]
    kept = [1e-3] * 3 + [1e-6, 1e-3] * 8
    with pytest.raises(RefusedError, match="outputs are kept"):
        judged("hot", kept, offsets)
    judged("hot", [1e-3] * 19, offsets)  # alike
    judged("hot", [1e-3] * 3 + [1e-6, 1e-3] * 7 + [1e-6, 2e-6], offsets)  # one on new content as fast: noise
    judged("hot", kept[:11], offsets)  # too few to say
    judged("cold", kept, offsets)  # every call is on new content


def test_what_a_process_waited_for_a_core_is_not_counted_and_what_its_threads_ran_is():
    before = Reading(0.0, 0.0, {"1": (0.0, 0.0), "2": (0.0, 0.0)})
    after = Reading(1.0, 0.6, {"1": (0.3, 0.7), "2": (0.3, 0.1)}, 0.1)
    passed = after.since(before)
    assert passed.undisturbed == pytest.approx(0.2)
    assert passed.at_least(1) == pytest.approx(0.6)
    assert passed.at_least(2) == pytest.approx(0.3)
    assert passed.parallel == pytest.approx(2.0)
    assert Reading(1.0, 0.5, {}).parallel == 1.0


@pytest.mark.skipif(
    not Path(f"/proc/self/task/{os.getpid()}/children").exists(), reason="the system keeps no list of children"
)
def test_the_work_of_a_process_that_it_started_counts_as_a_threads():
    command = [sys.executable, "-c", "print(1, flush=True)\nwhile True: pass"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as spins:
        spins.stdout.readline()
        before = read(os.getpid(), with_helpers=True)
        end = time.process_time() + 0.1
        while time.process_time() < end:
            pass
        between = read(os.getpid(), with_helpers=True).since(before)
        spins.kill()
        assert between.helpers[spins.pid] > 0
        assert between.parallel > 1
        assert read(os.getpid()).helpers == {}
    two = Reading(1.0, 1.0, {"1": (1.0, 0.0)}, 0.0, {7: 1.0})
    assert (two.parallel, two.at_least(1)) == (2.0, 2.0)


@pytest.mark.parametrize("numbers", [[], "text", None, [math.nan], [math.inf], [-1.0], [True], ["1"], [1.0] * 1000])
def test_samples_that_are_no_numbers_are_refused(numbers):
    with pytest.raises(RefusedError):
        judge._numbers(numbers, 1)


def test_a_time_below_the_ceilings_is_refused_with_both_figures():
    arithmetic = bounds.least_seconds(CELL, CEILINGS, 4095.0, family="fff")
    assert arithmetic == pytest.approx(768 * 4 * (2 * 16384 + 2 * 4095) / 2e10)
    for share, possible in ((1.01, True), (0.99, False)):
        outcome = Outcome(CELL.id, 0, samples=(share * arithmetic,) * 3, distinct_rows=4095.0)
        found = bounds.possible(outcome, CELL, CEILINGS, family="fff")
        assert (found.failure is None) == possible
    assert f"it reports {seconds(0.99 * arithmetic)} per call" in found.failure  # and not 0 s
    assert f"ceilings measured on this machine allow no less than {seconds(arithmetic)}" in found.failure
    assert found.samples == ()


def test_without_ceilings_a_time_below_the_clocks_grain_is_refused():
    outcome = Outcome(CELL.id, 0, samples=(4e-8,) * 3)
    assert bounds.possible(outcome, CELL, {}, family="fff").failure is not None


@pytest.mark.parametrize(
    ("owner", "name"),
    [(time, "perf_counter_ns"), (judge._Judge, "_compare"), (bounds, "possible")],
)
def test_a_replaced_name_is_found_and_an_added_one_is_not(owner, name, monkeypatch):
    before = seal.snapshot()
    monkeypatch.setattr(time, "their_own", len, raising=False)
    assert seal.replaced(before) is None
    monkeypatch.setattr(owner, name, lambda *arguments: None)
    assert name in seal.replaced(before) or owner.__name__ in seal.replaced(before)


def test_replaced_code_of_a_function_is_found(monkeypatch):
    before = seal.snapshot()
    monkeypatch.setattr(bounds.possible, "__code__", (lambda outcome, cell, ceilings, *, conditional: outcome).__code__)
    assert seal.replaced(before) == "fffbench.measure.bounds.possible"


def test_of_the_process_of_an_accelerators_cells_only_cells_and_what_was_found_of_them_is_passed_on(monkeypatch):
    monkeypatch.setattr(contain, "end_descendants", lambda: 0)
    right = [
        {"event": "cell", "cell": CELL.id},
        {"event": "outcome", "outcome": {}},
        {"event": "verdict", "error": 0.0},
    ]
    forged = [{"event": "started", "pid": 1}, {"event": "ended", "code": 0}, {"event": "ready"}, {}, {"failure": None}]

    def serve(channel):
        for message in (*right, *forged, {"failure": "ValueError: no"}):
            channel.send(message)

    found = list(judge.relayed(serve))
    assert found[:3] == right
    assert [(event["event"], event["reason"]) for event in found[3:]] == [
        *[("failure", "the measuring process answered something else than it was asked")] * len(forged),
        ("failure", "ValueError: no"),
    ]


OTHER = Cell("fff_cpu", Workload(Shape.tree(768, 1, 12), 1), Protocol("hot", "kernel"))
VERDICTS = [
    ({"error": 1e-7, "failure": None}, {"error": 1e-7, "failure": None}),
    ({"error": None, "failure": "raised"}, {"error": None, "failure": "raised"}),
    ({"skipped": "no GPU"}, {"skipped": "no GPU"}),
    ({}, {"error": None, "failure": "its process gave no verdict"}),
    ({"error": "0", "failure": None}, {"error": None, "failure": "its process gave no verdict"}),
    ({"error": math.nan}, {"error": None, "failure": "its process gave no verdict"}),
    ({"error": 0.0, "failure": ["a\nb"]}, {"error": 0.0, "failure": "['a\\nb']"}),
]


def round_that_hears(events):
    """A round whose worker says ``events``."""
    one, left = object.__new__(processes.Round), iter(events)
    one._send, one._lines = lambda job: None, SimpleNamespace(next=lambda deadline: next(left))
    return one


@pytest.mark.parametrize(("said", "taken"), VERDICTS)
def test_a_verdict_is_taken_by_its_parts_and_what_is_none_is_a_failure(said, taken):
    events = [
        {"event": "started", "pid": 0},
        {"event": "cell", "cell": CELL.id},
        {"event": "verdict", **said},
        {"event": "ended", "code": 0},
    ]
    assert list(round_that_hears(events).conform([CELL], 1.0)) == [(CELL, taken)]


@pytest.mark.parametrize("name", ["forged", OTHER.id, None, 7])
def test_a_process_that_names_a_cell_that_it_was_not_given_fails_its_own(name):
    events = [
        {"event": "started", "pid": 0},
        {"event": "cell", "cell": CELL.id},
        {"event": "cell", "cell": name},
        {"event": "verdict", "error": 0.0, "failure": None},
        {"event": "ended", "code": 0},
    ]
    said = "its process named a cell that it was not given"
    assert list(round_that_hears(events).conform([CELL], 1.0)) == [(CELL, {"error": None, "failure": said})]
    [found] = round_that_hears(events).measure([CELL], 0, [None], 0.1, 1.0)
    assert found.failure == said


def test_an_output_is_what_the_memory_holds_and_one_that_was_cut_short_is_refused():
    torch = pytest.importorskip("torch")
    for x in (
        torch.randn(3, 5),
        torch.randn(4, 6).bfloat16(),
        torch.empty(0, 5),
        torch.empty((0, 5)).as_strided((0, 5), (0, 0)),
        torch.randn(5, 3).t(),
    ):
        memory = subject.shared_memory(0)
        subject._write(memory, x)
        assert torch.equal(subject._read(memory, x), x)
        if x.numel():
            os.ftruncate(memory, 7)
            with pytest.raises(subject.StepFailedError, match="answered something else"):
                subject._read(memory, x)
        os.close(memory)
