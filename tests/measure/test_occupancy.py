"""A label of threads is what ran: seen on a busy machine too, and refused in the direction that flatters."""

import threading
import time

import plugins
import pytest

from fffbench.implementations import registry
from fffbench.measure import occupancy
from fffbench.measure.occupancy import Clocks, Threads, does_not_hold
from fffbench.measure.session import Plan, Session
from fffbench.plan.workload import Cell, Protocol, Shape, Workload

LONG = 1e-3


def spin(seconds=0.02):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def test_one_thread_is_one_thread():
    seen, seconds = occupancy.observe([spin])
    assert 0.7 < seen.active <= occupancy.ONE
    assert seen.ran <= seen.active
    assert 0.015 < seconds < 0.1


def test_short_calls_are_counted_together_and_a_long_one_alone():
    calls = []
    seen, seconds = occupancy.observe([lambda: calls.append(1)], seconds=0.05)
    assert len(calls) > 1000
    assert seconds < 1e-4
    assert seen.active <= occupancy.ONE
    calls.clear()
    occupancy.observe([lambda: (calls.append(1), time.sleep(0.2))], seconds=0.01)
    assert len(calls) == 1


def test_sleeping_counts_for_nothing():
    assert occupancy.observe([lambda: time.sleep(0.02)])[0].active < 0.5


def test_threads_that_compute_are_seen_even_where_cores_are_short():
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    a = torch.ones(512, 512)

    def work():  # torch computes without the interpreter's lock
        end = time.perf_counter() + 0.2
        while time.perf_counter() < end:
            torch.mm(a, a)

    def on(count):
        threads = [threading.Thread(target=work) for _ in range(count)]
        for thread in threads:
            thread.start()
        clocks = occupancy.read()
        time.sleep(0.05)
        found = clocks.until(occupancy.read()).active
        for thread in threads:
            thread.join()
        return found

    try:
        torch.set_num_threads(1)
        assert on(3) > 2.0, "three threads, whatever cores there are"
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("family", "label", "ran", "call", "can", "held"),
    [
        ("dense", 2, 2.0, LONG, 2, True),
        ("dense", 2, 1.0, LONG, 1, False),
        ("dense", 2, 1.0, LONG, 2, False),  # its own choice: then its label is 1
        ("dense", 2, 1.0, 20e-6, 1, True),  # too short to wake a thread for
        ("dense", 1, 1.0, LONG, 1, True),
        ("dense", 2, 3.0, LONG, 2, True),  # more can but harm the conditional side
        ("dense", 16, 8.0, LONG, 8, False),  # it was given half
        ("dense", 16, 8.0, LONG, 16, True),  # it took half
        ("dense", 16, 11.0, LONG, 8, True),
        ("fff", 2, 2.1, LONG, 2, True),
        ("fff", 2, 1.0, LONG, 1, True),  # fewer can but harm itself
        ("fff", 1, 1.2, LONG, 2, True),
        ("fff", 1, 2.0, LONG, 2, False),
        ("cmm", 16, 24.0, LONG, 16, False),
        ("fff", 1, 2.0, 5e-6, 2, False),
        ("reference", 1, 2.0, LONG, 2, True),
    ],
)
def test_the_rule(family, label, ran, call, can, held):
    assert (does_not_hold(family, label, Threads(ran, ran), call, lambda: can) is None) == held


def test_a_reason_says_what_was_asked_and_what_ran():
    assert does_not_hold("dense", 2, Threads(0.5, 1.0), LONG).startswith("labelled 2 threads, it ran on 1.0")


def test_waiting_for_a_cpu_makes_no_thread_too_many_and_no_dense_layer_too_few():
    assert does_not_hold("fff", 1, Threads(1.0, 3.0), LONG) is None
    assert does_not_hold("dense", 2, Threads(1.0, 2.0), LONG) is None


def test_a_wait_from_before_the_window_makes_no_thread_more_than_one():
    before, after = Clocks({"1": 0}, {"1": 0}, 0), Clocks({"1": 60}, {"1": 5000}, 100)
    assert before.until(after) == Threads(0.6, 1.0)


SOURCE = '''"""A dense layer that computes on one thread whatever its label says."""
import torch
FAMILY, DEVICES, DTYPES = "dense", ("cpu",), ("fp32",)
def unsupported(workload):
    return None
def prepare(weights, workload):
    from fffbench.implementations import dense_linear
    torch.set_num_threads(1)
    return dense_linear.prepare(weights, workload)
'''


def measured(implementation, label):
    cell = Cell(implementation, Workload(Shape.tree(768, 1, 10), 256, threads=label), Protocol("hot"))
    session = Session(Plan((cell,), 1, 0.05), [], {cell: 1.0}, lambda _: None, seed=1)
    [*_, outcome] = session.outcomes()
    return outcome


def test_a_dense_layer_that_runs_on_one_thread_is_refused_under_a_label_of_two(tmp_path, monkeypatch):
    (tmp_path / "dense_alone.py").write_text(SOURCE)
    plugins.install(tmp_path, {"dense_alone": "dense_alone"}, monkeypatch)
    try:
        outcome = measured("dense_alone", 2)
    finally:
        registry._plugins.cache_clear()
    assert outcome.failure is not None
    assert "labelled 2 threads, it ran on 1" in outcome.failure
    assert outcome.samples == ()


def test_what_ran_is_stored():
    outcome = measured("dense_linear", 2)
    assert outcome.failure is None, outcome.failure
    assert outcome.threads_ran > 1.2
    assert 0.7 < measured("dense_linear", 1).threads_ran <= occupancy.ONE
