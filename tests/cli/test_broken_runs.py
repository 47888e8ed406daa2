"""Runs on bad days: kernels that crash, lie or eat all memory, and disks that fill up, cost their own cells only."""

import json
import os
import subprocess
import sys
import textwrap

import disks
import pytest

BROKEN = """
    '''A kernel that {what}.'''
    import os, signal, time
    from fffbench.implementations.registry import Layer
    FAMILY, DEVICES, DTYPES = "fff", ("cpu",), ("fp32",)

    def unsupported(workload):
        return None

    def prepare(weights, workload):
        import torch

        def forward(x):
            y = torch.zeros_like(x)
            {body}
            return y

        def bind(x, y):
            return lambda: y.copy_(forward(x))

        return Layer(forward, bind)
"""
BODIES = {
    "crashes": "os.kill(os.getpid(), signal.SIGSEGV)",
    "is_killed": "os.kill(os.getpid(), signal.SIGKILL)",
    "raises": "raise ValueError('a kernel with\\n two lines of text')",
    "leaves": "os._exit(0)",
    "lies": "y += 1",
    "eats_memory": "torch.empty(2**45)",
}


@pytest.fixture
def broken(tmp_path):
    """A folder for PYTHONPATH with one registered implementation for each kind of failure."""
    site = tmp_path / "site"
    info = site / "broken-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    points = "\n".join(f"fff_{name} = broken_{name}" for name in BODIES)
    (info / "entry_points.txt").write_text(f"[fffbench.implementations]\n{points}\n")
    for name, body in BODIES.items():
        (site / f"broken_{name}.py").write_text(textwrap.dedent(BROKEN.format(what=name, body=body)))
    return {**os.environ, "PYTHONPATH": str(site)}


def run(results, environment, *more):
    arguments = (
        *("run", "--results", str(results), "--batches", "4", "--levels", "4", "--d", "32", "--threads", "1"),
        *("--seconds", "0.02", "--processes", "2", "--cache", "hot", "--call", "kernel", "--routing", "uniform"),
    )
    return subprocess.run(
        [sys.executable, "-m", "fffbench", *arguments, *more],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )


def test_every_kind_of_failing_kernel_costs_its_own_cell_and_says_why(tmp_path, broken):
    names = [f"fff_{name}" for name in BODIES]
    done = run(tmp_path / "results", broken, "--implementations", ",".join([*names, "fff_cpu", "dense_linear"]))
    assert done.returncode == 0, done.stderr
    [path] = (tmp_path / "results").glob("matrix/*/*.json")
    stored = json.loads(path.read_text())
    measured = [bench["extra_info"]["fffbench"] for bench in stored["benchmarks"]]
    assert sorted(info["cell"].split("@")[0] for info in measured) == ["dense_linear", "fff_cpu"]
    assert all(len(info["processes"]) == 2 for info in measured)
    reasons = {entry["cell"].split("@")[0]: entry["reason"] for entry in stored["fffbench"]["skipped"]}
    assert "segmentation fault" in reasons["fff_crashes"]
    assert "killed" in reasons["fff_is_killed"]
    assert "a kernel with two lines of text" in reasons["fff_raises"]
    assert "differ from the float64 reference" in reasons["fff_lies"]
    assert "memory" in reasons["fff_eats_memory"]
    assert reasons["fff_leaves"] == "exited without reporting a result"


def test_check_exits_1_and_names_the_implementation_that_lies(broken):
    done = subprocess.run(
        [sys.executable, "-m", "fffbench", "check", "--implementations", "fff_lies"],
        capture_output=True,
        text=True,
        env=broken,
        check=False,
    )
    assert done.returncode == 1
    assert "WRONG" in done.stdout


def test_a_plugin_that_takes_a_name_is_left_out_by_name_and_ours_is_measured(tmp_path, broken):
    info = tmp_path / "site" / "broken-1.0.dist-info" / "entry_points.txt"
    info.write_text("[fffbench.implementations]\nfff_cpu = broken_lies\n")
    done = run(tmp_path / "results", broken, "--implementations", "fff_cpu")
    assert done.returncode == 0, done.stderr
    assert "left out: entry point 'broken_lies' registers 'fff_cpu', which exists already" in done.stdout + done.stderr
    [path] = (tmp_path / "results").glob("matrix/*/*.json")
    assert len(json.loads(path.read_text())["benchmarks"]) == 1


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of 16 KiB."""
    with disks.small(tmp_path / "disk") as disk:
        yield disk


def test_a_full_disk_is_one_line_and_what_was_measured_stays_readable(small_disk):
    done = run(
        small_disk / "results", dict(os.environ), "--implementations", "fff_cpu,dense_linear", "--processes", "8"
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert "disk is full" in last or "No space left" in last or "space" in last
    [journal] = (small_disk / "results").glob("matrix/*/*.journal")
    lines = journal.read_text().splitlines()
    assert len(lines) > 3
    for line in lines:
        json.loads(line)


def test_a_run_on_the_same_results_continues_when_the_disk_has_room_again(small_disk):
    arguments = ("--implementations", "fff_cpu,dense_linear", "--processes", "8")
    assert run(small_disk / "results", dict(os.environ), *arguments).returncode == 2
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    done = run(small_disk / "results", dict(os.environ), *arguments)
    assert done.returncode == 0, done.stderr
    assert "continuing" in done.stderr
    [path] = (small_disk / "results").glob("matrix/*/*.json")
    for bench in json.loads(path.read_text())["benchmarks"]:
        assert len(bench["extra_info"]["fffbench"]["processes"]) == 8
