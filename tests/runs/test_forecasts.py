"""Is the time of a plan that of the machine, where results of it are stored?"""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from synthetic import cell_id, write_run

from fffbench.cli import run, todo
from fffbench.measure import fingerprint
from fffbench.plan.matrix import Axes
from fffbench.plan.workload import parse_cell
from fffbench.results.store import load
from fffbench.runs import planning as bench
from fffbench.runs.forecasts import Learnt, learnt

CELL = cell_id("dense_linear")


def guess(cell):
    return 7.0 * cell.workload.batch


@pytest.fixture
def here(monkeypatch):
    """This machine is the one of the synthetic results."""
    monkeypatch.setattr("fffbench.measure.fingerprint.machine_id", lambda _: "test-cpu-2c-0001")
    assert fingerprint.machine_id({}) == "test-cpu-2c-0001"


def of(results):
    return Learnt(load(results).records)


def test_a_measured_cell_takes_as_long_as_it_took(tmp_path):
    write_run(tmp_path, cells={CELL: [1.0] * 6})
    assert of(tmp_path).call(parse_cell(CELL), guess) == pytest.approx(1.0)
    assert of(tmp_path).knows(parse_cell(CELL))


@pytest.mark.parametrize("older", ["archive/matrix", "matrix"])
def test_the_newest_time_counts_wherever_its_file_stands(tmp_path, here, older):
    write_run(tmp_path, cells={CELL: [9.0] * 6}, run="z-older", started="2026-01-01T00:00:00Z")
    if older != "matrix":
        (tmp_path / "archive").mkdir()
        (tmp_path / "matrix").rename(tmp_path / older)
    write_run(tmp_path, cells={CELL: [1.0] * 6}, run="a-newer", started="2026-01-02T00:00:00Z")
    assert learnt(tmp_path, "test-cpu-2c-0001").call(parse_cell(CELL), guess) == pytest.approx(1.0)


def test_a_cell_nobody_measured_takes_the_guess_corrected_by_the_nearest_one(tmp_path):
    far, near = cell_id("dense_linear", batch=1), cell_id("dense_linear", batch=8192)
    write_run(tmp_path, cells={far: [70.0] * 6, near: [7.0 * 8192 / 100] * 6})
    found = of(tmp_path).call(parse_cell(CELL), guess)
    assert found == pytest.approx(7.0 * 16384 / 100)
    assert not of(tmp_path).knows(parse_cell(CELL))


@pytest.mark.parametrize(
    "other", [cell_id("dense_padded"), cell_id("dense_linear", dtype="bf16"), cell_id("dense_linear", batch=16)]
)
def test_what_another_implementation_or_type_or_a_far_batch_took_teaches_nothing(tmp_path, other):
    write_run(tmp_path, cells={other: [1e-3] * 6})
    assert of(tmp_path).call(parse_cell(CELL), guess) == guess(parse_cell(CELL))


def test_limits_rest_on_this_machine_alone_and_a_plan_on_others_where_it_has_none(tmp_path):
    write_run(tmp_path, cells={CELL: [1.0] * 6}, machine="test-other-0001")
    cell = parse_cell(CELL)
    assert learnt(tmp_path, "test-cpu-2c-0001").call(cell, guess) == guess(cell)
    assert learnt(tmp_path, "test-cpu-2c-0001", others=True).call(cell, guess) == pytest.approx(1.0)
    write_run(tmp_path, cells={CELL: [2.0] * 6})
    assert learnt(tmp_path, "test-cpu-2c-0001", others=True).call(cell, guess) == pytest.approx(2.0)


@pytest.mark.parametrize(("machine", "seconds"), [("test-cpu-2c-0001", 9.0), ("test-other-0001", 9.0)])
def test_what_a_process_takes_beside_its_calls_is_learnt_from_how_long_the_runs_took(tmp_path, machine, seconds):
    """On a host of 16 cores a process took 9 s where the plan had one."""
    cell, nothing = parse_cell(CELL), Learnt()
    plain = nothing.process(cell, lambda _: 1e-3, 0.25, slow_to_prepare=False)
    ended = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC) + timedelta(seconds=6 * (plain + seconds + 3.0))
    write_run(
        tmp_path, cells={CELL: [1e-3] * 6}, machine=machine, started="2026-01-02T03:04:05Z", ended=ended.isoformat()
    )
    found = learnt(tmp_path, "test-cpu-2c-0001", others=True)
    assert found.process(cell, guess, 0.25, slow_to_prepare=False) == pytest.approx(plain + seconds, rel=0.01)
    assert found.beside("cuda") == 0.0
    [takes] = [one.seconds(cell) for one in [todo.kernels(load(tmp_path), "test-cpu-2c-0001")]]
    assert takes == pytest.approx(plain + seconds, rel=0.01)


@pytest.mark.parametrize("ended", ["", "yesterday", "2026-01-02T03:04:06", "2026-01-02T03:04:06+00:00"])
def test_a_file_that_does_not_say_when_it_ended_or_ended_too_soon_teaches_nothing(tmp_path, ended):
    write_run(tmp_path, cells={CELL: [1e-3] * 6}, started="2026-01-02T03:04:05Z", ended=ended)
    assert learnt(tmp_path, "test-cpu-2c-0001").beside("cpu") == 0.0


def test_a_dense_layer_of_a_second_a_call_is_planned_in_seconds_and_not_in_minutes(tmp_path, here):
    """Six processes of a dense layer at 16384 tokens were planned at 3 min 8 s; a call takes a second."""
    options = bench.Options(
        "paper", Axes(("dense_linear",), batches=(16384,), threads=(1,), caches=("cold",), calls=("kernel",))
    )
    before = bench.expected(options, tmp_path)
    [seconds] = [value for cell, value in before.seconds.items() if cell.id == CELL]
    assert seconds > 120
    write_run(tmp_path, cells={CELL: [1.0] * 6})
    after = bench.expected(options, tmp_path)
    [seconds] = [value for cell, value in after.seconds.items() if cell.id == CELL]
    assert 6 * 3.0 <= seconds < 6 * 4.0  # a second of samples and two calls besides, with what a process costs
    assert after.measured_before == 1


def test_the_plan_is_a_line_for_each_layer_and_batch_and_a_line_for_each_reason(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    asked = ["run", "--plan", "--preset", "quick", "--results", str(tmp_path)]
    assert run([*asked, "--json"]) == 0
    cells = json.loads(capsys.readouterr().out)
    assert run(asked) == 0
    lines = capsys.readouterr().out.splitlines()
    layers = [line for line in lines if line.startswith("768x")]
    able = {row["cell"] for row in cells if row["reason"] is None}
    places = {(parse_cell(cell).workload.shape, parse_cell(cell).workload.batch) for cell in able}
    assert len(layers) == len(places) < len(able)
    counts = [int(re.search(r" (\d+) +\d+ (?:s|min|h)\b", line)[1]) for line in layers]
    assert sum(counts) == len(able)
    reasons = {row["reason"] for row in cells if row["reason"]}
    assert len([line for line in lines if " not here: " in line]) == len(reasons)
    assert max(map(len, lines)) <= 80


def test_json_without_plan_is_refused_in_a_line(tmp_path, capsys):
    assert run(["run", "--json", "--results", str(tmp_path)]) == 2
    assert "--plan" in capsys.readouterr().err
