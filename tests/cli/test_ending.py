"""A run ends in order when asked, wherever it was started, and none starts beside another."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from runs import RUN, outcomes, wait_for_outcomes


def start(results, *more, ignoring=""):
    """A long run in a session of its own; a shell starts its background with signals ignored."""
    command = [*RUN, "--results", str(results), "--processes", "60", "--budget", "1h", *more]
    if ignoring:
        command = ["sh", "-c", f"trap '' {ignoring}; exec \"$@\"", "sh", *command]
    return subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True
    )


def living(session):
    """Processes of ``session`` that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, its_session, *_ = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(its_session) == session and state != "Z":
            found.append(int(path.parent.name))
    return found


def none_living(session):
    end = time.monotonic() + 10
    while living(session):
        assert time.monotonic() < end, living(session)
        time.sleep(0.05)
    return True


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """A temporary folder of the run's own."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def scratch(temporary):
    return [path.name for path in temporary.iterdir() if path.name.startswith("fffbench-scratch-")]


@pytest.mark.parametrize(
    ("name", "ignoring"),
    [
        ("INT", ""),
        ("INT", "INT TERM"),  # as in a shell's background
        ("TERM", "INT TERM"),
        ("TERM", ""),
        ("HUP", ""),
        ("QUIT", ""),
        ("ALRM", ""),
        ("USR1", ""),
    ],
)
def test_a_signal_to_the_run_alone_ends_it_with_all_its_processes_and_its_scratch(tmp_path, temporary, name, ignoring):
    number = getattr(signal, f"SIG{name}")
    process = start(tmp_path / "r", ignoring=ignoring)
    wait_for_outcomes(tmp_path / "r", 3)
    assert len(scratch(temporary)) == 1
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    last = errors.strip().splitlines()[-1]
    assert last.startswith(f"{'interrupted' if name == 'INT' else f'ended by SIG{name}'}; what was measured is kept (")
    assert "Traceback" not in errors
    assert none_living(process.pid)
    assert len(outcomes(tmp_path / "r")) >= 3
    assert scratch(temporary) == []


def test_a_run_under_nohup_goes_on_when_the_terminal_closes(tmp_path):
    process = start(tmp_path, ignoring="HUP")
    wait_for_outcomes(tmp_path, 1)
    process.send_signal(signal.SIGHUP)
    wait_for_outcomes(tmp_path, len(outcomes(tmp_path)) + 2)
    process.kill()
    process.communicate()


def test_the_scratch_of_a_run_that_was_killed_is_cleared_by_the_next(tmp_path, temporary):
    process = start(tmp_path / "r")
    wait_for_outcomes(tmp_path / "r", 1)
    process.kill()
    process.communicate()
    [left] = scratch(temporary)
    process = start(tmp_path / "r")
    wait_for_outcomes(tmp_path / "r", len(outcomes(tmp_path / "r")) + 1)
    assert left not in scratch(temporary)
    process.kill()
    process.communicate()


def test_sigkill_of_the_run_ends_its_processes_too(tmp_path):
    process = start(tmp_path, "--seconds", "30")
    end = time.monotonic() + 60
    while len(living(process.pid)) < 3:  # the run, its worker, and the worker's child
        assert time.monotonic() < end
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert none_living(process.pid)


@pytest.mark.parametrize("shared", ["machine", "results"])
def test_a_second_run_is_refused_in_one_line_and_measures_nothing(tmp_path, shared):
    first, second = tmp_path / "first", tmp_path / "second"
    (tmp_path / "other").mkdir()
    process = start(first)
    try:
        wait_for_outcomes(first, 1)
        results = first if shared == "results" else second
        # containers share a results folder, but each has a temporary folder of its own
        environment = {"TMPDIR": str(tmp_path / "other")} if shared == "results" else {}
        done = subprocess.run(
            [*RUN, "--results", str(results)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **environment},
        )
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        for word in (f"process {process.pid}", "fffbench run --preset quick", "since", "wait"):
            assert word in done.stderr
        assert done.stdout == ""
        assert len(list(results.glob("matrix/*/*.journal"))) == (shared == "results")
        assert not list(results.glob("matrix/*/*.json"))
    finally:
        process.kill()
        process.communicate()
    done = subprocess.run([*RUN, "--results", str(second)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_listing_and_planning_do_not_wait_for_a_run(tmp_path):
    process = start(tmp_path / "results")
    try:
        wait_for_outcomes(tmp_path / "results", 1)
        for command in (["run", "--plan"], ["list"], ["speedup", "--results", str(tmp_path / "results")]):
            done = subprocess.run([sys.executable, "-m", "fffbench", *command], capture_output=True, check=False)
            assert done.returncode == 0, done.stderr
    finally:
        process.kill()
        process.communicate()
