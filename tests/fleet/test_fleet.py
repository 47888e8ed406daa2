"""Jobs of a fleet: what is planned, what a job does on its node, what is said of it, what is collected."""

import json
import os
import sys
import threading
import time

import pytest
from synthetic import cell_id, run_json, write_run

from fffbench.analysis.speedup import speedups
from fffbench.cli import run as command
from fffbench.errors import UserError
from fffbench.fleet import body as bodies
from fffbench.fleet import submit as submitting
from fffbench.fleet.body import Body
from fffbench.fleet.classes import read_classes
from fffbench.fleet.jobs import ENDED, FAILED, Job, states
from fffbench.implementations.registry import implementations
from fffbench.measure.lock import Lock
from fffbench.plan.blocks import block_of, by_block
from fffbench.plan.matrix import Axes, Names, cells, preset
from fffbench.report import render
from fffbench.results.merge import merge
from fffbench.results.store import load

SMALL = """\
[near]
budget = "2m"
processes = 1
seconds = 0.02
[near.axes]
implementations = "dense_linear,fff_cpu"
batches = "1,16"
levels = "5"
d = "64"
threads = "1"
routing = "uniform"
cache = "hot"
call = "kernel"
"""


@pytest.fixture
def classes(tmp_path):
    path = tmp_path / "classes.toml"
    path.write_text(SMALL)
    return path


def fleet(tmp_path, verb, *more):
    places = ["--classes", str(tmp_path / "classes.toml"), "--folder", str(tmp_path / "fleet")]
    return command(["fleet", verb, *places, *more])


def job_at(folder, block="cpu-d64-b1"):
    return Job("near", "quick", block, 2, folder)


def body_of(folder, script):
    """A body whose run is a Python script instead."""

    class Scripted(Body):
        command = property(lambda _: [sys.executable, "-c", script])

    return Scripted(job_at(folder), [])


@pytest.mark.parametrize("name", ["headline", "width", "leaf"])
def test_both_sides_of_every_ratio_are_measured_by_one_job(tmp_path, name):
    known = implementations()
    names = Names({n: i.family for n, i in known.items()}, {n: i.devices for n, i in known.items()})
    planned = [cell for cell in cells(preset(name), Axes(), names, 4, 2) if cell.workload.device == "cpu"]
    blocks = by_block(planned)
    assert sum(map(len, blocks.values())) == len(planned)
    write_run(tmp_path, cells={cell.id: 1e-6 * (1 + cell.workload.batch) for cell in planned})
    found = load(tmp_path)
    of = {record.id: block_of(record.cell) for record in found.records}
    rows = [row for row in speedups(found) if row.speedup is not None]
    assert len({of[row.record] for row in rows}) == len(blocks)
    assert all(of[row.record] == of[row.baseline_record] for row in rows)


def test_the_plan_has_a_job_for_each_class_and_block(classes, tmp_path, capsys):
    assert fleet(tmp_path, "plan", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["class"], row["block"], row["cells"]) for row in rows] == [
        ("near", "cpu-d64-b1", 2),
        ("near", "cpu-d64-b16", 2),
    ]
    assert all(row["minutes"] == 18 for row in rows)  # 2.5 minutes and 15, rounded up


def test_a_job_runs_here_once_and_is_collected(classes, tmp_path, capfd):
    classes.write_text(SMALL.replace('"1,16"', '"1"'))
    assert fleet(tmp_path, "status") == 1
    assert capfd.readouterr().out.count("not submitted") == 1
    assert fleet(tmp_path, "submit", "--cluster", "local") == 0
    assert fleet(tmp_path, "status") == 0
    assert fleet(tmp_path, "submit", "--cluster", "local") == 0
    assert "0 of 1 jobs submitted" in capfd.readouterr().out
    for _ in range(2):
        assert fleet(tmp_path, "collect", "--results", str(tmp_path / "results")) == 0
    found = load(tmp_path / "results")
    assert found.refused == ()
    assert len(found.runs) == 1
    assert [record.cell.implementation for record in found.records] == ["dense_linear", "fff_cpu"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # submitit leaves its log open
def test_a_job_that_fails_says_why_in_one_line_and_the_rest_goes_on(tmp_path, capfd, monkeypatch):
    class Scripted(Body):
        @property
        def command(self):
            failing = self.job.class_name == "wrong"
            place = self.job.results / "matrix" / "m-cpu" / f"{self.job.block}.json"
            place.parent.mkdir(parents=True, exist_ok=True)
            value = run_json({cell_id("fff_cpu"): 1.0}, machine="m-cpu", run=self.job.block)
            script = f"import sys; sys.exit('fffbench: no such thing') if {failing} else None"
            return [sys.executable, "-c", f"{script}; open({str(place)!r}, 'w').write({json.dumps(value)!r})"]

    monkeypatch.setattr(submitting, "Body", Scripted)
    (tmp_path / "classes.toml").write_text(SMALL.replace("[near", "[wrong") + SMALL)
    assert fleet(tmp_path, "submit", "--cluster", "debug") == 0
    capfd.readouterr()
    assert fleet(tmp_path, "collect", "--results", str(tmp_path / "results")) == 1
    lines = capfd.readouterr().out.splitlines()
    assert "2 added" in lines[0]
    assert len(lines) == 3
    assert all(line.startswith("wrong/") and "no such thing" in line for line in lines[1:])
    found = load(tmp_path / "results")
    assert len(found.records) == 2
    assert [(job.class_name, job.block) for job in found.open_jobs] == [
        ("wrong", "cpu-d64-b1"),
        ("wrong", "cpu-d64-b16"),
    ]
    assert all("no such thing" in job.reason for job in found.open_jobs)
    page = render(found, tmp_path / "reports")
    text = "".join(path.read_text() for path in page.parent.glob("*.html"))
    rows = (page.parent / "skipped.csv").read_text().splitlines()
    for job in found.open_jobs:
        assert len(job.cells) == 2
        assert all(cell in text for cell in job.cells)
        assert sum("no such thing" in row and f"job {job.name}," in row for row in rows) == 2
    assert "no such thing" in text
    assert "2 jobs of a fleet not done; 4 cells that they should have measured are listed" in page.read_text()


def done(job):
    """Give a job what a run leaves behind."""
    place = job.results / "matrix" / "m-cpu" / f"{job.block}.json"
    place.parent.mkdir(parents=True)
    place.write_text(json.dumps(run_json({cell_id("fff_cpu"): 1.0}, machine="m-cpu", run=job.block)))


def test_a_job_is_marked_as_long_as_it_is_not_done(classes, tmp_path, capfd):
    results = tmp_path / "results"
    for left in (2, 2, 1, 0):
        if left < 2:
            done(job_at(tmp_path / "fleet" / "near" / f"quick-cpu-d64-b{(16, 1)[left]}", f"cpu-d64-b{(16, 1)[left]}"))
        assert fleet(tmp_path, "collect", "--results", str(results)) == bool(left)
        found = load(results)
        assert [job.block for job in found.open_jobs] == ["cpu-d64-b1", "cpu-d64-b16"][2 - left :]
        assert all(job.reason == "the job is not done: not submitted" for job in found.open_jobs)
        assert found.refused == ()
    assert not list(results.glob("fleet/*/*"))


def test_what_a_job_owes_is_no_result_that_a_merge_takes(classes, tmp_path, capfd):
    fleet(tmp_path, "collect", "--results", str(tmp_path / "results"))
    assert len(list((tmp_path / "results" / "fleet").rglob("*.json"))) == 2
    merged = merge([tmp_path / "results"], tmp_path / "other")
    assert (merged.added, merged.refused) == ([], [])


def test_threads_that_nobody_knows_yet_are_called_all(classes, tmp_path, capfd):
    classes.write_text(SMALL.replace('threads = "1"', 'threads = "1,all"'))
    fleet(tmp_path, "collect", "--results", str(tmp_path / "results"))
    cells = load(tmp_path / "results").open_jobs[0].cells
    assert sorted("-all threads-" in cell for cell in cells) == [False, False, True, True]
    assert not any("65536" in cell for cell in cells)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"class_name": "other"}, "the place of another job"),
        ({"format": 99}, "newer"),
        ({"cells": "all"}, "valid list"),
        ({"class_name": "<script>"}, "pattern"),
        ({"state": "x" * 3000}, "2000 characters"),
    ],
)
def test_a_mark_that_cannot_be_used_is_one_line_and_the_rest_counts(classes, tmp_path, capfd, change, said):
    fleet(tmp_path, "collect", "--results", str(tmp_path / "results"))
    place = tmp_path / "results" / "fleet" / "near" / "quick-cpu-d64-b1.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | change))
    found = load(tmp_path / "results")
    assert [said in refusal.line for refusal in found.refused] == [True]
    assert [job.block for job in found.open_jobs] == ["cpu-d64-b16"]


def test_a_job_waits_while_somebody_else_measures_there(tmp_path, monkeypatch):
    with Lock(tmp_path / "lock", "a run"), pytest.raises(UserError) as said:
        Lock(tmp_path / "lock", "another")
    waits = []

    def wait(seconds):
        waits.append(seconds)
        (tmp_path / "free").touch()

    monkeypatch.setattr(bodies.time, "sleep", wait)
    refusal = f"fffbench: {said.value}\n"
    script = (
        f"import os, sys; free = os.path.exists({str(tmp_path / 'free')!r}); "
        f"sys.stderr.write('' if free else {refusal!r}); sys.exit(0 if free else 2)"
    )
    assert body_of(tmp_path, script)() == "done"
    assert waits == [bodies.BUSY_WAIT_SECONDS]


def test_a_done_job_measures_nothing_again(tmp_path):
    results = tmp_path / "results" / "matrix" / "m"
    results.mkdir(parents=True)
    (results / "x.json").write_text("{}")
    assert body_of(tmp_path, "raise SystemExit(1)")() == "done"
    assert not (tmp_path / "run.log").exists()


@pytest.mark.parametrize(
    ("script", "state", "said"),
    [
        ("import sys; sys.exit('fffbench: no such thing')", FAILED, "fffbench: no such thing"),
        ("raise SystemExit(3)", FAILED, "fffbench run ended with 3"),
        ("import os; os.kill(os.getpid(), 9)", ENDED, "by SIGKILL"),
        ("raise SystemExit(143)", ENDED, "by SIGTERM"),
    ],
)
def test_how_a_job_ended_is_written_beside_it(tmp_path, script, state, said):
    assert body_of(tmp_path, script)() == state
    (tmp_path / "submitted.json").write_text('{"id": "", "cluster": "debug"}')
    classes = read_classes_of(tmp_path)
    found = states([job_at(tmp_path)], classes, {})[0]
    assert found.state == state
    assert said in found.said
    assert "\n" not in found.said
    assert found.to_submit


def read_classes_of(tmp_path):
    (tmp_path / "c.toml").write_text(SMALL)
    return read_classes(tmp_path / "c.toml")


@pytest.mark.parametrize("executor", ["slurm", "local"])  # the second in a shell within an allocation
def test_a_job_that_slurm_began_and_something_ended_waits_so_that_it_is_queued_again(tmp_path, monkeypatch, executor):
    waits = []
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SUBMITIT_EXECUTOR", executor)
    body = body_of(tmp_path, "raise SystemExit(143)")
    body._wait_for_the_scheduler = lambda: Body._wait_for_the_scheduler(body, waits.append)
    assert body() == ENDED
    assert waits == ([bodies.PATIENCE_SECONDS] if executor == "slurm" else [])
    assert json.loads((tmp_path / "state.json").read_text())["id"] == ("7" if executor == "slurm" else "")


def test_leaving_a_node_ends_the_run_in_order_and_gives_the_same_job_back(tmp_path):
    script = "import signal, time; signal.signal(15, lambda *_: exit(143)); print('up', flush=True); time.sleep(60)"
    body = body_of(tmp_path, script)
    worker = threading.Thread(target=body)
    worker.start()
    end = time.monotonic() + 30
    while not (tmp_path / "run.log").exists() or b"up" not in (tmp_path / "run.log").read_bytes():
        assert time.monotonic() < end
        time.sleep(0.05)
    again = body.checkpoint()
    worker.join(30)
    assert again.function.job == body.job
    assert body._child.returncode == 143
    assert body.__getstate__()["_child"] is None


def test_a_result_of_other_hardware_is_kept_under_what_it_is_and_named(tmp_path):
    classes = {"near": read_classes_of(tmp_path)["near"].model_copy(update={"machine": "amd-"})}
    results = tmp_path / "results" / "matrix" / "intel-x"
    results.mkdir(parents=True)
    (results / "x.json").write_text("{}")
    found = states([job_at(tmp_path)], classes, {})[0]
    assert (found.state, found.said) == ("done", "intel-x, which is not amd-*: kept under what it is")


def test_what_the_scheduler_says_counts_before_what_the_job_wrote_last(tmp_path):
    classes, job = read_classes_of(tmp_path), job_at(tmp_path)
    (tmp_path / "submitted.json").write_text('{"id": "5_0", "cluster": "slurm"}')
    (tmp_path / "state.json").write_text('{"state": "ended", "said": "the node was taken", "id": "5_0"}')
    assert states([job], classes, {"5_0": ("PENDING", "(BeginTime)")})[0].state == "waiting"
    assert states([job], classes, {"5_0": ("RUNNING", "node1")})[0].state == "running"
    assert states([job], classes, {})[0].state == "ended"
    (tmp_path / "submitted.json").write_text('{"id": "6_0", "cluster": "slurm"}')  # submitted again, and never began
    assert "ended before it began" not in states([job], classes, {"6_0": ("PENDING", "")})[0].said
    assert "without reporting" in states([job], classes, {})[0].said


def test_the_queue_is_read_job_by_job_and_its_silence_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "submitted.json").write_text('{"id": "5_0", "cluster": "slurm"}')
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    squeue = bin_folder / "squeue"
    squeue.write_text("#!/bin/sh\nprintf '5_0|PENDING|(Resources)\\n5_1|RUNNING|node1\\n'\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_folder}{os.pathsep}{os.environ['PATH']}")
    assert submitting.queue([job_at(tmp_path)]) == {"5_0": ("PENDING", "(Resources)")}
    squeue.write_text("#!/bin/sh\necho 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1\n")
    assert submitting.queue([job_at(tmp_path)]) == {}
    squeue.write_text("#!/bin/sh\necho 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1\n")
    with pytest.raises(UserError, match="Unable to contact"):
        submitting.queue([job_at(tmp_path)])


def test_no_cluster_is_chosen_for_the_user(classes, tmp_path, capfd, monkeypatch):
    assert fleet(tmp_path, "submit") == 2
    assert fleet(tmp_path, "submit", "--cluster", "auto") == 2
    assert "allowed: slurm, local, debug" in capfd.readouterr().err
    monkeypatch.setenv("PATH", str(tmp_path))
    assert fleet(tmp_path, "submit", "--cluster", "slurm") == 2
    assert "no sbatch here" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no class"),
        ("near = 1", "near is no table"),
        ("[Near]", "lower case"),
        ("[near]\ndevices = ['tpu']", "'tpu'; allowed: cpu, cuda"),
        ("[near]\nbudget = 'soon'", "budget 'soon'"),
        ("[near]\npartition = 'x'", "near.partition"),
        ("[near.slurm]\nsignal_delay_s = 5", "near.slurm.signal_delay_s"),
        ("[near.axes]\ncolour = 'red'", "unknown axis 'colour'"),
        ("[near.axes]\nd = 'wide'", "--d 'wide'"),
        ("[near", "classes.toml"),
    ],
)
def test_a_class_that_cannot_be_used_is_one_line_with_its_place(classes, tmp_path, capfd, text, said):
    classes.write_text(text)
    assert fleet(tmp_path, "plan") == 2
    error = capfd.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_block_that_the_preset_has_not_is_refused_with_those_it_has(capfd):
    assert command(["run", "--plan", "--block", "cpu-d768-b3"]) == 2
    assert "allowed: cpu-d768-b16384" in capfd.readouterr().err


def test_the_command_that_continues_a_block_names_it(tmp_path):
    from fffbench.runs import planning as bench

    wanted = bench.of_block(bench.Options("quick"), "cpu-d768-b1")
    assert wanted.typed == "fffbench run --preset quick --block cpu-d768-b1"
    assert {block_of(cell) for cell in bench.prepare.__globals__["runnable"](wanted)[0].cells} == {"cpu-d768-b1"}


def test_submitting_on_no_slurm_machine_leaves_no_job_marked(classes, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    fleet(tmp_path, "submit", "--cluster", "slurm")
    assert not list((tmp_path / "fleet").rglob("submitted.json"))
