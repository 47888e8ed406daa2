"""Sessions: the budget is kept by the costliest cells, and what died costs itself only."""

import time

import pytest

from fffbench.measure import processes as processes_room
from fffbench.measure import session as session_room
from fffbench.measure.outcome import NEVER, NEXT_RUN, NOW, Outcome, failed
from fffbench.measure.processes import LATE_SECONDS, Round, WorkerDiedError
from fffbench.measure.session import CELL_LIMIT_SECONDS, OVERTIME_SECONDS, TRIES, Plan, Session, allot
from fffbench.plan.workload import Cell, Protocol, Shape, Workload

SHAPE = Shape.tree(16, 1, 3)
CELLS = tuple(
    Cell(name, Workload(SHAPE, batch), Protocol(cache))
    for name in ("dense_linear", "cmm_gather_bmm", "fff_cpu")
    for batch, cache in ((1, "cold"), (5, "warm"))
)


def session(cells, *, processes=2, done=(), budget=None, cost=1.0):
    plan = Plan(tuple(cells), processes, 0.01, budget)
    return Session(plan, done, dict.fromkeys(cells, cost), lambda _: None, seed=1)


def test_the_costliest_cells_lose_processes_first():
    a, b = CELLS[:2]
    assert allot({a: 10.0, b: 1.0}, 6, 100) == {a: 6, b: 6}
    assert allot({a: 10.0, b: 1.0}, 6, 40) == {a: 3, b: 6}
    assert allot({a: 10.0, b: 1.0}, 6, 11) == {a: 1, b: 1}


def test_cells_to_keep_have_all_their_processes_before_another_has_one():
    a, b = CELLS[:2]
    keep = frozenset({a})
    assert allot({a: 10.0, b: 1.0}, 6, 61, keep=keep) == {a: 6, b: 1}
    assert allot({a: 10.0, b: 1.0}, 6, 60, keep=keep) == {a: 6, b: 0}
    assert allot({a: 10.0, b: 1.0}, 6, 41, keep=keep) == {a: 4, b: 0}
    assert allot({a: 10.0, b: 1.0}, 6, 0, keep=keep) == {a: 1, b: 0}


def test_outpaced_cells_lose_before_any_other_even_if_they_are_to_be_kept():
    a, b = CELLS[:2]
    assert allot({a: 1.0, b: 10.0}, 6, 61, keep=frozenset({a}), outpaced=frozenset({a})) == {a: 1, b: 6}


def test_what_is_done_is_not_taken_away():
    a, b = CELLS[:2]
    assert allot({a: 10.0, b: 1.0}, 6, 0, keep=frozenset({b}), done={a: 3}) == {a: 3, b: 1}


def test_a_budget_that_is_over_measures_the_cells_to_keep_and_no_other():
    keep = frozenset(CELLS[:1])
    plan = Plan(CELLS, 3, 0.01, 1e-9, keep)
    outcomes = list(Session(plan, [], dict.fromkeys(CELLS, 1.0), lambda _: None, seed=1).outcomes())
    assert [(outcome.cell, outcome.process) for outcome in outcomes] == [(CELLS[0].id, 0)]


FAST, SLOW, TREE = (
    Cell(name, Workload(SHAPE, 1), Protocol("cold")) for name in ("dense_linear", "dense_padded", "fff_cpu")
)


def allotted_after(*slow, budget):
    """Processes out of four, within ``budget``, for three cells of 1 s after as many processes as ``slow`` has times.

    The fast layer took 1 ms in each process, the slow one what ``slow`` says.
    """
    done = [
        Outcome(cell.id, process, samples=(times[process],) * 2, wall=0.9)
        for cell, times in ((FAST, [1e-3] * len(slow)), (SLOW, slow), (TREE, [1e-5] * len(slow)))
        for process in range(len(slow))
    ]
    plan = Plan((FAST, SLOW, TREE), 4, 0.01, budget_seconds=budget)
    return Session(plan, done, dict.fromkeys((FAST, SLOW, TREE), 1.0), lambda _: None, seed=1)._allotment()


SHORT = 16.5  # seconds: four rounds of 3, and 4 processes more


def test_a_dense_layer_left_behind_in_two_processes_gets_no_third_where_time_is_short():
    assert allotted_after(1.6e-3, 1.7e-3, budget=SHORT) == {FAST: 4, SLOW: 2, TREE: 4}


def test_one_bad_process_leaves_no_dense_layer_behind():
    assert allotted_after(2.02e-3, 1.04e-3, budget=SHORT) == {FAST: 3, SLOW: 3, TREE: 4}
    assert allotted_after(2.02e-3, budget=SHORT) == {FAST: 2, SLOW: 2, TREE: 3}


def test_a_dense_layer_within_half_again_the_time_of_its_rival_is_not_left_behind():
    assert allotted_after(1.45e-3, 1.48e-3, budget=SHORT) == {FAST: 3, SLOW: 3, TREE: 4}


def test_a_layer_left_behind_costs_no_cell_a_process_where_time_is_ample():
    assert allotted_after(1.6e-3, 1.7e-3, budget=30.0) == {FAST: 4, SLOW: 4, TREE: 4}


def test_every_cell_is_measured_in_every_process_with_its_check():
    outcomes = list(session(CELLS).outcomes())
    assert {(o.cell, o.process) for o in outcomes} == {(c.id, i) for c in CELLS for i in range(2)}
    for outcome in outcomes:
        assert outcome.failure is None, outcome.failure
        assert min(outcome.samples) > 0
        assert outcome.error <= outcome.tolerance
        assert outcome.tokens > 0


def test_what_was_done_before_is_not_done_again():
    done = [Outcome(c.id, 0, samples=(1.0,), wall=1.0) for c in CELLS]
    outcomes = list(session(CELLS, done=done).outcomes())
    assert {(o.cell, o.process) for o in outcomes} == {(c.id, 1) for c in CELLS}


def test_a_cell_that_failed_is_not_tried_again():
    done = [Outcome(CELLS[0].id, 0, failure="crashed")]
    outcomes = list(session(CELLS[:2], done=done, processes=1).outcomes())
    assert [o.cell for o in outcomes] == [CELLS[1].id]


def test_a_cell_that_does_not_fit_into_memory_is_skipped_with_the_figures(monkeypatch):
    from fffbench.measure import memory

    monkeypatch.setattr(memory, "available", lambda: 1000)
    [outcome] = session(CELLS[:1], processes=1).outcomes()
    assert "needs about" in outcome.failure
    assert "1000 B" in outcome.failure or "are available" in outcome.failure


def test_a_job_that_outlives_its_limit_is_stopped_and_named(tmp_path):
    cell = Cell("dense_linear", Workload(Shape.dense(768, 4096), 512), Protocol("hot"))
    path = tmp_path / "r.npz"
    with Round() as worker:
        assert worker.build_reference(cell, path, 60) is None
        [outcome] = worker.measure([cell], 0, [path], 30.0, limit=1.0)
        assert outcome.failure.startswith("stopped after 1 s: it hangs")
        assert outcome.retry == NEXT_RUN
        [again] = worker.measure([cell], 0, [path], 0.01, limit=60)
        assert again.failure is None


@pytest.mark.parametrize("call", ["kernel", "torch"])
@pytest.mark.parametrize("cache", ["cold", "warm", "hot"])
def test_every_protocol_measures(cache, call):
    cell = Cell("fff_cpu", Workload(SHAPE, 3), Protocol(cache, call))
    [outcome] = session([cell], processes=1).outcomes()
    assert outcome.failure is None
    assert 0 < min(outcome.samples) < 0.1


@pytest.fixture
def on_a_gpu(monkeypatch):
    """A session whose workers answer for a GPU, on a played clock: three seconds a process, unless told otherwise."""

    class Played:
        now, took, killed = 0.0, 3.0, 0

        def monotonic(self):
            return self.now

    clock = Played()

    class PlayedRound:
        def close(self):
            pass

        def measure(self, cells, process, references, seconds, limit, until=None):
            assert references == [None] * len(cells), "a GPU's process computes its own reference"
            for cell in cells:
                if until is not None and clock.now > until:
                    return
                clock.now += clock.took
                if until is not None and clock.now > until + LATE_SECONDS:
                    clock.now, clock.killed = until + LATE_SECONDS, clock.killed + 1
                    return
                yield Outcome(cell.id, process, samples=(1e-3,), wall=clock.took)

    monkeypatch.setattr(session_room, "Round", PlayedRound)
    monkeypatch.setattr(session_room, "time", clock)
    return clock


GPU_CELLS = tuple(
    Cell(name, Workload(Shape.tree(768, 1, levels), 1024, "bf16", device="cuda"), Protocol("cold", "graph"))
    for levels in range(8, 21)
    for name in ("dense_padded", "fff_cuda", "fff_triton")
)


def test_a_budget_ends_a_round_whose_cells_cost_more_than_forecast(on_a_gpu):
    plan = Plan(GPU_CELLS, 6, 0.1, 60.0, frozenset(GPU_CELLS))
    outcomes = list(Session(plan, [], dict.fromkeys(GPU_CELLS, 0.5), lambda _: None, seed=1).outcomes())
    assert 60 <= on_a_gpu.now <= 60 + OVERTIME_SECONDS + on_a_gpu.took
    assert all(outcome.failure is None for outcome in outcomes)
    assert len(outcomes) == (60 + OVERTIME_SECONDS) // on_a_gpu.took + 1


def test_a_cell_in_flight_when_the_run_ends_is_stopped_and_costs_nothing_that_was_measured(on_a_gpu):
    on_a_gpu.took = 70.0
    plan = Plan(GPU_CELLS, 6, 0.1, 60.0, frozenset(GPU_CELLS))
    outcomes = list(Session(plan, [], dict.fromkeys(GPU_CELLS, 0.5), lambda _: None, seed=1).outcomes())
    assert [outcome.failure for outcome in outcomes] == [None]
    assert on_a_gpu.killed == 1
    assert on_a_gpu.now == 60 + OVERTIME_SECONDS + LATE_SECONDS


def test_every_width_has_one_process_before_any_has_a_second(on_a_gpu):
    plan = Plan(GPU_CELLS, 6, 0.1, 200.0, frozenset(GPU_CELLS))
    outcomes = list(Session(plan, [], dict.fromkeys(GPU_CELLS, 0.5), lambda _: None, seed=1).outcomes())
    first = outcomes[: len(GPU_CELLS)]
    assert {outcome.cell for outcome in first} == {cell.id for cell in GPU_CELLS}
    assert {outcome.process for outcome in first} == {0}
    assert len(outcomes) > len(GPU_CELLS)


def test_a_worker_past_its_end_is_killed_without_a_verdict_on_its_cell(tmp_path):
    cell = Cell("dense_linear", Workload(Shape.dense(768, 4096), 512), Protocol("hot"))
    path = tmp_path / "r.npz"
    with Round() as worker:
        assert worker.build_reference(cell, path, 60) is None
        began = time.monotonic()
        outcomes = list(worker.measure([cell], 0, [path], 30.0, 60, until=began + 1 - LATE_SECONDS))
        assert outcomes == []  # past its end before it began
        outcomes = list(worker.measure([cell] * 2, 0, [path] * 2, 0.5, 60, until=began + 1))
        assert outcomes
        assert time.monotonic() - began < 1 + LATE_SECONDS


def test_a_process_that_is_late_is_killed_and_its_cell_has_no_outcome(tmp_path, monkeypatch):
    monkeypatch.setattr(processes_room, "LATE_SECONDS", 0.5)
    cell = Cell("dense_linear", Workload(Shape.dense(768, 4096), 512), Protocol("hot"))
    path = tmp_path / "r.npz"
    with Round() as worker:
        assert worker.build_reference(cell, path, 60) is None
        began = time.monotonic()
        assert list(worker.measure([cell], 0, [path], 30.0, 60, until=began + 1)) == []
        assert time.monotonic() - began < 10
        [again] = worker.measure([cell], 0, [path], 0.01, 60)
        assert again.failure is None


@pytest.fixture
def played_worker(monkeypatch):
    """Sessions whose worker does what the test says: ``play(behaviour)``, called with each cell before its outcome."""

    def play(behaviour):
        class PlayedRound:
            started = 0

            def __init__(self):
                type(self).started += 1

            def close(self):
                pass

            def build_reference(self, cell, path, limit, until=None):
                path.write_text("")

            def measure(self, cells, process, references, seconds, limit, until=None):
                for cell in cells:
                    failure = behaviour(cell, process)
                    if isinstance(failure, WorkerDiedError):
                        failure.cell = failure.cell and cell
                        raise failure
                    if failure is not None:
                        yield failed(cell, process, failure[0], retry=failure[1])
                        return
                    yield Outcome(cell.id, process, samples=(1e-3,), wall=0.1)

        monkeypatch.setattr(session_room, "Round", PlayedRound)
        return PlayedRound

    return play


def test_a_passing_failure_is_tried_again_in_the_same_run_and_leaves_no_trace(played_worker):
    fails = iter([("killed", NOW), ("no space", NOW)])
    played_worker(lambda cell, process: next(fails, None) if cell == CELLS[0] else None)
    outcomes = list(session(CELLS[:2]).outcomes())
    assert {(o.cell, o.process) for o in outcomes} == {(c.id, i) for c in CELLS[:2] for i in range(2)}
    assert all(outcome.failure is None for outcome in outcomes)


def test_a_passing_failure_that_stays_is_stored_after_a_few_attempts_for_another_run_to_try(played_worker):
    attempts = []

    def behaviour(cell, process):
        if cell == CELLS[0]:
            attempts.append(process)
            return "no space left", NOW
        return None

    played_worker(behaviour)
    outcomes = list(session(CELLS[:2]).outcomes())
    assert len(attempts) == TRIES
    [stored] = [outcome for outcome in outcomes if outcome.failure is not None]
    assert (stored.cell, stored.retry) == (CELLS[0].id, NEXT_RUN)
    assert f"no space left; so in {TRIES} attempts" in stored.failure
    played_worker(lambda cell, process: None)
    again = list(session(CELLS[:2], done=outcomes).outcomes())
    assert {(o.cell, o.process, o.failure) for o in again} == {(CELLS[0].id, i, None) for i in range(2)}


def test_a_cells_own_failure_is_stored_at_once(played_worker):
    attempts = []
    played_worker(lambda cell, process: attempts.append(cell) or ("crashed", NEVER))
    outcomes = list(session(CELLS[:1]).outcomes())
    assert [(o.failure, o.retry) for o in outcomes] == [("crashed", NEVER)]
    assert len(attempts) == 1


def test_on_a_gpu_a_worker_that_dies_costs_the_cell_in_flight_an_attempt_and_the_others_nothing(played_worker):
    deaths = []

    def behaviour(cell, process):
        if cell == GPU_CELLS[5] and len(deaths) < TRIES - 1:
            deaths.append(cell)
            return WorkerDiedError("the worker went away", cell)
        return None

    worker = played_worker(behaviour)
    outcomes = list(session(GPU_CELLS, processes=1).outcomes())
    assert {outcome.cell for outcome in outcomes} == {cell.id for cell in GPU_CELLS}
    assert all(outcome.failure is None for outcome in outcomes)
    assert worker.started > len(deaths)


def test_on_a_gpu_a_cell_whose_worker_always_dies_is_the_only_one_without_a_time(played_worker):
    played_worker(lambda cell, process: WorkerDiedError("the worker went away", cell) if cell == GPU_CELLS[5] else None)
    outcomes = list(session(GPU_CELLS, processes=2).outcomes())
    assert {outcome.cell for outcome in outcomes if outcome.failure} == {GPU_CELLS[5].id}
    assert sum(outcome.failure is None for outcome in outcomes) == 2 * (len(GPU_CELLS) - 1)


def test_a_worker_that_dies_again_and_again_with_no_cell_in_flight_ends_the_run_with_its_words(played_worker):
    played_worker(lambda cell, process: WorkerDiedError("the worker went away: its last words"))
    with pytest.raises(WorkerDiedError, match="its last words"):
        list(session(GPU_CELLS).outcomes())


def test_a_scratch_folder_that_is_cleared_costs_no_cell(played_worker):
    import shutil

    running = session(CELLS[:3])

    def behaviour(cell, process):
        shutil.rmtree(running._scratch)

    played_worker(behaviour)
    outcomes = list(running.outcomes())
    assert len(outcomes) == 6
    assert all(outcome.failure is None for outcome in outcomes)


def test_the_limit_of_a_cell_follows_its_cost_and_a_short_budget_is_less_patient():
    cheap, costly = CELLS[:2]
    costs = {cheap: 0.4, costly: 20.0}

    def limits(budget):
        running = Session(Plan(CELLS[:2], 6, 0.1, budget), [], costs, lambda _: None, seed=1)
        return running._limit(cheap), running._limit(costly)

    assert limits(None) == (30.0, CELL_LIMIT_SECONDS)
    assert limits(60.0) == (8.0, 240.0)
    assert limits(900.0) == (30.0, 240.0)


def test_a_batch_of_no_tokens_crashes_nothing():
    work = Workload(Shape.tree(64, 1, 5), 0)
    cells = [Cell("fff_cpu", work, Protocol(cache, call)) for cache, call in (("cold", "kernel"), ("hot", "torch"))]
    session = Session(Plan(tuple(cells), 1, 0.001), [], dict.fromkeys(cells, 1.0), lambda _: None, seed=1)
    assert [outcome.failure for outcome in session.outcomes()] == [None, None]
