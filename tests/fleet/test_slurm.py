"""A real Slurm of two nodes: jobs are killed, preempted and lose their node, and every cell is measured once.

Minutes long, so it runs by ``nox -s slurm``. Both nodes are this machine: each has a temporary folder of its own, and
with it the lock of a machine.
"""

import json
import subprocess
import sys
import time

import pytest
import slurm_cluster
from markupsafe import escape

from fffbench.report import render
from fffbench.results.store import load

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(slurm_cluster.missing() is not None, reason=str(slurm_cluster.missing())),
]

PROCESSES, BATCHES, CELLS = 3, (1, 16, 64), 3
CLASS = """\
[{name}]
budget = "5m"
processes = {processes}
seconds = 0.5
[{name}.slurm]
partition = "low"
constraint = "{name}"
time = 20
signal_delay_s = 30
setup = ["export TMPDIR={tmp}", "mkdir -p $TMPDIR"]
[{name}.axes]
implementations = "dense_linear,fff_cpu,cmm_masked"
batches = "{batches}"
levels = "5"
d = "64"
threads = "1"
routing = "uniform"
cache = "hot"
call = "kernel"
"""
NODE_OF = {"first": "node1", "second": "node2"}


@pytest.fixture(scope="module")
def cluster():
    with slurm_cluster.cluster() as running:
        yield running


class Fleet:
    """The commands of ``fffbench fleet`` on one cluster, and what was seen of its nodes meanwhile."""

    def __init__(self, cluster, folder):
        self.cluster, self.folder, self.overlaps, self.watched = cluster, folder, [], 0
        names = ("first", "second")
        batches = ",".join(map(str, BATCHES))
        texts = [
            CLASS.format(name=name, processes=PROCESSES, tmp=folder / f"tmp-{name}", batches=batches) for name in names
        ]
        (folder / "classes.toml").write_text("\n".join(texts))

    def call(self, verb, *more, classes="classes.toml"):
        places = ["--classes", str(self.folder / classes), "--folder", str(self.folder / "fleet")]
        return self.cluster.run(sys.executable, "-m", "fffbench", "fleet", verb, *places, *more, check=False)

    def submit(self):
        done = self.call("submit", "--cluster", "slurm")
        assert done.returncode == 0, done.stderr
        return done.stdout

    def states(self):
        """State and sentence of every job, by class and block."""
        done = self.call("status", "--json")
        return {(row["class"], row["block"]): (row["state"], row["said"] or "") for row in json.loads(done.stdout)}

    def watch(self):
        """What runs where; keeps whatever two jobs ever shared a node."""
        said = self.cluster.run("squeue", "--noheader", "--array", "--states=RUNNING", "--format=%i %N").stdout
        running = [line.split() for line in said.splitlines()]
        nodes = [node for _, node in running]
        self.watched += 1
        self.overlaps += [running] if len(set(nodes)) < len(nodes) else []
        return {node: job for job, node in running}

    def until(self, ready, what, seconds=150):
        end = time.monotonic() + seconds
        while not (found := ready(self.watch())):
            assert time.monotonic() < end, f"{what}: {self.states()}\n{self.cluster.run('squeue').stdout}"
            time.sleep(0.3)
        return found

    def measuring(self, name, touched):
        """Wait until a job of the class that is not ``touched`` has measured something and still runs: id, folder."""

        def ready(running):
            for journal in self.folder.glob(f"fleet/{name}/*/results/matrix/*/*.journal"):
                outcomes = journal.read_text().count('"outcome"')
                folder = journal.parents[3]
                job = json.loads((folder / "submitted.json").read_text())["id"]
                open_still = 0 < outcomes < CELLS * PROCESSES - 3 and folder not in touched.values()
                if open_still and running.get(NODE_OF[name]) == job:
                    return job, folder
            return None

        return self.until(ready, f"no job of {name} measures")

    def at_once(self, job):
        """Take away the two minutes that Slurm holds a job that it queued again."""
        self.cluster.run("scontrol", "update", f"JobId={job}", "StartTime=now", check=False)


def test_jobs_that_are_killed_preempted_or_lose_their_node_measure_every_cell_once(cluster, tmp_path):
    fleet = Fleet(cluster, tmp_path)
    # opened when the other class has been dealt with: on a fast machine all its jobs would be done by then
    cluster.run("scontrol", "update", "NodeName=node2", "State=DRAIN", "Reason=later")
    fleet.submit()
    touched = {}

    # ended by a signal of somebody's
    job, touched["killed"] = fleet.measuring("first", touched)
    cluster.run("scancel", "--signal=KILL", job)
    fleet.until(lambda running: running.get("node1") != job, "the killed job still runs")

    # the signal that comes before the time limit: submitit queues it again
    job, touched["out of time"] = fleet.measuring("first", touched)
    cluster.run("scancel", "--signal=USR2", job)
    fleet.until(lambda running: running.get("node1") != job, "the signalled job still runs")
    fleet.until(lambda _: "PENDING" in cluster.run("squeue", "-h", "-r", "-j", job, "-o", "%T").stdout, "not queued")
    fleet.at_once(job)

    # preempted by a partition of higher priority: queued again by Slurm
    cluster.run("scontrol", "update", "NodeName=node2", "State=RESUME")
    job, touched["preempted"] = fleet.measuring("second", touched)
    urgent = cluster.run("sbatch", "--parsable", "-p", "high", "-w", "node2", "--output=/dev/null", "--wrap", "sleep 1")
    fleet.until(lambda running: running.get("node2") == urgent.stdout.strip(), "the urgent job does not run")
    fleet.at_once(job)

    # its node goes down, and comes back
    job, touched["node down"] = fleet.measuring("second", touched)
    cluster.kill_node("node2")
    fleet.until(lambda _: cluster.node_states()["node2"] == "DOWN", "the node is not down")
    waiting = [said for (name, _), (state, said) in fleet.states().items() if name == "second" and state == "waiting"]
    assert waiting
    _measured_once_or_marked(fleet, tmp_path / "meanwhile")
    cluster.start_node("node2")
    fleet.at_once(job)

    fleet.until(lambda running: not running and not cluster.run("squeue", "-h").stdout.strip(), "jobs are left")
    left = {key: value for key, value in fleet.states().items() if value[0] != "done"}
    assert [key[0] for key in left] == ["first"], left  # the one that was killed; nobody queues it again
    assert "submit again" in next(iter(left.values()))[1]
    collected = fleet.call("collect", "--results", str(tmp_path / "results"))
    assert collected.returncode == 1
    assert "submit again" in collected.stdout
    _measured_once_or_marked(fleet, tmp_path / "one-killed")

    assert fleet.submit().startswith("1 of 6 jobs submitted")
    fleet.until(lambda running: not running and not cluster.run("squeue", "-h").stdout.strip(), "jobs are left")
    assert {state for state, _ in fleet.states().values()} == {"done"}
    for what, folder in touched.items():
        assert "continuing" in (folder / "run.log").read_text(), what
    assert len(set(touched.values())) == len(touched)
    assert fleet.watched > 50
    assert fleet.overlaps == []
    _every_cell_once(fleet, tmp_path)


def _measured_once_or_marked(fleet, results):
    """Collect while some jobs are not done: each planned cell has one record, or the page says whose job owes it."""
    assert fleet.call("collect", "--results", str(results)).returncode == 1
    found = load(results)
    assert found.refused == ()
    measured = [(record.run, record.cell.id) for record in found.records]
    owed = [(job.name, cell) for job in found.open_jobs for cell in job.cells]
    assert len(set(measured)) + len(set(owed)) == len(measured) + len(owed) == 6 * CELLS
    assert {f"{name}/quick-{block}" for (name, block), (state, _) in fleet.states().items() if state != "done"} <= {
        job.name for job in found.open_jobs
    }
    text = everything(render(found, results / "reports"))
    for job in found.open_jobs:
        assert all(escape(f"job {job.name}") in text and escape(cell) in text for cell in job.cells)
        assert escape(job.reason) in text


def everything(page):
    """The text of the page and of what lies beside it."""
    return "".join(path.read_text() for path in sorted(page.parent.glob("*.html")))


def _every_cell_once(fleet, tmp_path):
    for _ in range(2):  # the second time nothing is left to do
        collected = fleet.call("collect", "--results", str(tmp_path / "results"))
        assert (collected.returncode, collected.stderr) == (0, "")
    found = load(tmp_path / "results")
    assert found.refused == ()
    assert found.open_jobs == ()
    assert len(found.runs) == 6
    expected = dict.fromkeys(BATCHES, 2)  # one run of each class
    assert {
        batch: len({r.run for r in found.records if r.cell.workload.batch == batch}) for batch in BATCHES
    } == expected
    seen = [(record.run, record.cell.id) for record in found.records] + [(s.run, s.cell.id) for s in found.skipped]
    assert len(seen) == len(set(seen)) == 6 * CELLS
    assert {len(record.info.processes) for record in found.records} == {PROCESSES}
    assert not list(tmp_path.glob("fleet/*/*/results/matrix/*/*.journal"))
    page = everything(render(found, tmp_path / "reports"))
    assert all(name in page for name in {record.machine for record in found.records})


def test_a_class_that_no_node_can_serve_is_named_and_the_others_go_on(cluster, tmp_path):
    fleet = Fleet(cluster, tmp_path)
    text = (tmp_path / "classes.toml").read_text()
    (tmp_path / "wrong.toml").write_text(text.replace('constraint = "first"', 'constraint = "gone"'))
    done = fleet.call("submit", "--cluster", "slurm", classes="wrong.toml")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("fffbench: class first was not submitted: sbatch: ")
    found = fleet.states()
    assert {state for (name, _), (state, _) in found.items() if name == "first"} == {"not submitted"}
    assert {state for (name, _), (state, _) in found.items() if name == "second"} <= {"running", "waiting"}
    subprocess.run(["scancel", "--name=fffbench-second"], env=cluster.environment, check=True)
    fleet.until(lambda running: not running, "jobs are left")


def test_jobs_whose_node_stays_down_are_on_the_page_with_all_their_cells(cluster, tmp_path):
    fleet = Fleet(cluster, tmp_path)
    text = (tmp_path / "classes.toml").read_text()
    (tmp_path / "classes.toml").write_text(text[text.index("[second]") :])
    cluster.kill_node("node2")
    fleet.until(lambda _: cluster.node_states()["node2"] == "DOWN", "the node is not down")
    fleet.submit()
    assert {state for state, _ in fleet.states().values()} == {"waiting"}
    collected = fleet.call("collect", "--results", str(tmp_path / "results"))
    assert collected.returncode == 1
    found = load(tmp_path / "results")
    assert (found.records, len(found.open_jobs)) == ((), len(BATCHES))
    assert sum(len(job.cells) for job in found.open_jobs) == len(BATCHES) * CELLS
    page = everything(render(found, tmp_path / "reports"))
    for job in found.open_jobs:
        assert job.state == "waiting"
        assert all(escape(cell) in page for cell in job.cells)
        assert escape(job.reason) in page
    subprocess.run(["scancel", "--name=fffbench-second"], env=cluster.environment, check=True)
