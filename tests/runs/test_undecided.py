"""Do the cells that ``todo`` names settle what is open, and are they just those?"""

import json

import pytest
from synthetic import MACHINE, cell_id, write_run

from fffbench.claims.judging import judge_all
from fffbench.claims.ledger import load_claims
from fffbench.claims.rule import NOT_MEASURED, UNDECIDED
from fffbench.cli import run, todo
from fffbench.plan.workload import Shape
from fffbench.results.record import FULL_PROCESSES
from fffbench.results.store import load
from fffbench.runs import planning as bench
from fffbench.runs.undecided import MORE_PROCESSES, Where, measured_places, open_claims, together

LEDGER = load_claims()
RATIOS = [(claim.id, device) for claim in LEDGER if claim.kind == "ratio" for device in claim.workload.devices]


def open_here(results, *, claims=LEDGER, where=None):
    return open_claims(results, claims, where or measured_places(results), lambda name: todo.kernels(results, name))


def verdict(results, claim, machine):
    rows = [row for row in judge_all(load(results)) if row.id == claim and row.machine in (machine, None)]
    return {row.verdict for row in rows}


def time_of(cell):
    """Dense layers take a microsecond a neuron and token, naive ones a tenth, optimised ones a hundredth."""
    work, share = cell.workload, {"cmm": 0.1, "fff": 0.01}.get(cell.implementation.partition("_")[0], 1.0)
    return share * 1e-6 * work.shape.n * work.batch / work.threads**0.9


@pytest.mark.parametrize(("claim", "device"), RATIOS)
def test_a_claim_of_which_nothing_is_known_is_decided_once_its_cells_are_measured(tmp_path, claim, device):
    (tmp_path / "matrix").mkdir()
    machine = MACHINE if device == "cpu" else "test-gpu-0001"
    chosen = [item for item in LEDGER if item.id == claim]
    [one] = open_here(load(tmp_path), claims=chosen, where=[Where(machine, device, 2 if device == "cpu" else 1)])
    assert (one.verdict, one.processes) == (NOT_MEASURED, FULL_PROCESSES)
    assert one.seconds > 0
    assert verdict(tmp_path, claim, machine) == {NOT_MEASURED}
    write_run(tmp_path, cells={cell.id: time_of(cell) for cell in one.cells}, machine=machine)
    assert not verdict(tmp_path, claim, machine) & {UNDECIDED, NOT_MEASURED}
    again = open_here(load(tmp_path), claims=chosen)
    assert again == []


@pytest.fixture
def thin(tmp_path):
    """78x rests on two processes, 131x on a reached published side and no fair one; 69x is decided."""
    hot = {"cache": "hot", "call": "torch"}
    cells = {cell_id("dense_linear"): [0.99, 1.01], cell_id("fff_cpu"): [0.0099, 0.0101]}
    cells |= {cell_id("dense_linear", **hot): 1.0, cell_id("fff_cpu", routing="single-path", **hot): 0.01}
    write_run(tmp_path, cells=cells)
    return tmp_path


def test_an_open_claim_names_the_two_cells_it_rests_on_and_how_it_leans(thin):
    [one] = [one for one in open_here(load(thin)) if one.claim.id == "cpu-78x"]
    assert {cell.id for cell in one.cells} == {cell_id("dense_linear"), cell_id("fff_cpu")}
    assert (one.verdict, one.leans, one.lacking) == (UNDECIDED, "reproduced", "fair few processes")


def test_once_those_two_are_measured_six_times_the_verdict_is_the_one_it_leant_to(thin):
    [one] = [one for one in open_here(load(thin)) if one.claim.id == "cpu-78x"]
    cells = {cell.id: 1.0 if cell.implementation == "dense_linear" else 0.01 for cell in one.cells}
    write_run(thin, cells=cells, run="undecided", started="2026-03-01T00:00:00Z")
    assert verdict(thin, "cpu-78x", MACHINE) == {one.leans}


def test_what_straddles_the_band_in_spite_of_six_processes_is_asked_for_in_more(tmp_path):
    scattered = [0.2, 0.4, 0.8, 1.2, 2.4, 4.8]
    write_run(tmp_path, cells={cell_id("dense_linear"): scattered, cell_id("fff_cpu"): [0.012] * 6})
    [one] = [one for one in open_here(load(tmp_path)) if one.claim.id == "forum-30x"]
    assert (one.lacking, one.processes) == ("published not measured, fair too wide", MORE_PROCESSES)
    others = [other for other in open_here(load(tmp_path)) if other.processes == FULL_PROCESSES]
    assert together([one])[1] == MORE_PROCESSES
    assert together([one, *others])[1] == FULL_PROCESSES


def test_cells_that_said_they_cannot_run_there_are_not_asked_for(tmp_path):
    lacking = cell_id("dense_blas3", shape=Shape.dense(768, 3072), threads=2)
    write_run(tmp_path, cells={cell_id("fff_cpu", threads=2): 1.0}, skipped={lacking: "no BLAS here"})
    assert lacking not in {cell.id for one in open_here(load(tmp_path)) for cell in one.cells}
    late = "the time budget ended before its first process; cells that carry the preset's comparison came first"
    write_run(tmp_path, cells={cell_id("fff_cpu", threads=2): 1.0}, skipped={lacking: late})
    assert lacking in {cell.id for one in open_here(load(tmp_path)) for cell in one.cells}


def test_the_command_and_its_json_say_the_same(thin, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert run(["todo", "--json", "--results", str(thin)]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert run(["todo", "--results", str(thin)]) == 0
    text = capsys.readouterr().out
    claims = {row["claim"] for row in rows}
    assert claims == {line.split()[0] for line in text.splitlines() if line and line.split()[0] in claims}
    assert max(map(len, text.splitlines())) <= 80
    assert f"{len(rows)} open" in text


def test_the_cells_can_be_named_and_are_those_of_the_json(thin, capsys):
    asked = ["todo", "--claim", "cpu-78x,user-42x", "--results", str(thin)]
    assert run([*asked, "--json"]) == 0
    cells = {cell for row in json.loads(capsys.readouterr().out) for cell in row["cells"]}
    assert run([*asked, "--cells"]) == 0
    said = {line.split()[-1] for line in capsys.readouterr().out.splitlines() if "@" in line}
    assert said == cells


def test_run_undecided_plans_just_the_cells_of_this_machine_that_todo_names(thin, capsys, monkeypatch):
    monkeypatch.setattr("fffbench.measure.fingerprint.machine_id", lambda _: MACHINE)
    assert run(["run", "--undecided", "--claim", "cpu-78x", "--plan", "--json", "--results", str(thin)]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["cell"] for row in rows if row["reason"] is None} == {cell_id("dense_linear"), cell_id("fff_cpu")}


def test_two_runs_of_other_open_claims_are_two_runs(thin, monkeypatch):
    monkeypatch.setattr("fffbench.measure.fingerprint.machine_id", lambda _: MACHINE)
    options = [todo.on_this_machine(thin, claim, None) for claim in ("cpu-78x", "user-42x")]
    assert options[0].cells != options[1].cells
    assert options[0].typed == "fffbench run --undecided --claim cpu-78x"
    assert isinstance(options[0], bench.Options)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["run", "--claim", "cpu-78x"], "--undecided"),
        (["run", "--undecided", "--batches", "1"], "--undecided"),
        (["run", "--undecided", "--claim", "cpu-79x"], "did you mean 'cpu-78x'?"),
        (["todo", "--claim", "cpu-79x"], "did you mean 'cpu-78x'?"),
    ],
)
def test_a_mistake_is_a_line(thin, capsys, arguments, named):
    assert run([*arguments, "--results", str(thin)]) == 2
    said = capsys.readouterr().err
    assert named in said
    assert said.count("\n") == 1
