"""What passes is tried again, what hangs is named, what ends a run is what it says: runs over planted kernels."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import disks
import pytest
from planted import command, plant, run
from runs import outcomes, wait_for_outcomes


def stored(results):
    """Cells with a time, and the reasons of the others, by implementation."""
    [path] = results.glob("matrix/*/*.json")
    content = json.loads(path.read_text())
    infos = [bench["extra_info"]["fffbench"] for bench in content["benchmarks"]]
    reasons = {entry["cell"].split("@")[0]: entry["reason"] for entry in content["fffbench"]["skipped"]}
    return {info["cell"].split("@")[0]: info for info in infos}, reasons


def test_a_killed_process_is_tried_again_and_a_hanging_kernel_costs_no_other_cell_its_time(tmp_path):
    mark = str(tmp_path / "once")
    once = f"os.path.exists({mark!r}) or (open({mark!r}, 'w'), os.kill(os.getpid(), 9))"
    environment = plant(
        tmp_path / "site",
        {"killed_once": once, "hangs": "time.sleep(1e6)"},
        notes='("a note of " + 5000 * "many words ", "\\udc80\\x1b[31m")',
    )
    names = "fff_killed_once,fff_hangs,fff_cpu"
    began = time.monotonic()
    done = run(tmp_path / "results", environment, "--implementations", names, "--budget", "40s")
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began < 60
    measured, reasons = stored(tmp_path / "results")
    assert {name: len(info["processes"]) for name, info in measured.items()} == {"fff_killed_once": 2, "fff_cpu": 2}
    assert "hangs" in reasons["fff_hangs"]
    assert "stopped after" in reasons["fff_hangs"]
    assert "no time for fff_hangs" in done.stderr
    notes = measured["fff_killed_once"]["notes"]  # longer than a file takes, and no text
    assert all(len(note) <= 2000 and note.isprintable() for note in notes)
    assert len(measured["fff_killed_once"]["timed_sources"]) == 16


@pytest.fixture
def small_temporary_folder(tmp_path):
    """A temporary folder that is full."""
    with disks.small(tmp_path / "temporary") as disk:
        yield disk


def test_a_full_temporary_folder_is_named_and_the_same_command_measures_once_there_is_room(
    tmp_path, small_temporary_folder
):
    environment = {**os.environ, "TMPDIR": str(small_temporary_folder)}
    done = run(tmp_path / "results", environment, "--implementations", "fff_cpu", "--batches", "256")
    assert done.returncode == 2, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert "No space left" in last
    assert "so in 3 attempts" in last
    assert "Traceback" not in done.stderr
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_temporary_folder)], check=True)
    done = run(tmp_path / "results", environment, "--implementations", "fff_cpu", "--batches", "256")
    assert done.returncode == 0, done.stderr
    measured, _ = stored(tmp_path / "results")
    assert len(measured["fff_cpu"]["processes"]) == 2


def long_run(results, environment=None, *more):
    return subprocess.Popen(
        command(results, "--implementations", "fff_cpu,dense_linear", *more, "--processes", "60", "--budget", "1h"),
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment,
    )  # fmt: skip


def ended(process):
    """Exit code and last line of a run that ends by itself."""
    try:
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert "Traceback" not in errors
    return process.returncode, errors.strip().splitlines()[-1]


def test_results_that_vanish_end_the_run_with_that_reason(tmp_path):
    process = long_run(tmp_path / "results")
    wait_for_outcomes(tmp_path / "results", 1)
    shutil.rmtree(tmp_path / "results")
    code, last = ended(process)
    assert code == 2
    assert "was deleted" in last
    assert "interrupted" not in last


def test_code_that_changes_while_it_is_measured_ends_the_run_and_is_not_continued(tmp_path):
    site, results = tmp_path / "site", tmp_path / "results"
    environment = plant(site, {"first": "pass"})
    process = long_run(results, environment, "--implementations", "fff_first")
    wait_for_outcomes(results, 2)
    plant(site, {"first": "time.sleep(1e-4)"})
    code, last = ended(process)
    assert code == 2
    assert "the sources of what is measured changed during the run" in last
    [journal] = results.glob("matrix/*/*.journal")
    kept = len(outcomes(results))
    done = run(results, environment, "--implementations", "fff_first")
    assert done.returncode == 0, done.stderr
    assert "continuing" not in done.stderr
    assert f"1 unfinished run, not in the results: {journal.name} holds {kept} process results" in done.stderr
    assert "`fffbench run --preset quick --implementations fff_first" in done.stderr
    for reading in ("claims", "report"):
        arguments = [reading, "--results", str(results), *(["--out", str(tmp_path / "out")] * (reading == "report"))]
        done = subprocess.run(
            [sys.executable, "-m", "fffbench", *arguments], capture_output=True, text=True, check=True
        )
        assert f"{journal.name} holds {kept} process results" in done.stderr


def test_a_torch_that_cannot_be_imported_is_quoted(tmp_path):
    torch = tmp_path / "site" / "torch"
    torch.mkdir(parents=True)
    (torch / "__init__.py").write_text("raise ImportError('libplanted.so: cannot open shared object file')")
    done = run(
        tmp_path / "results", {**os.environ, "PYTHONPATH": str(tmp_path / "site")}, "--implementations", "fff_cpu"
    )
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert "imports torch, could not start: ImportError: libplanted.so: cannot open shared object file" in last
    assert "kept" not in last


def test_a_path_that_the_terminal_cannot_show_is_escaped_after_measuring(tmp_path):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    results = tmp_path / "r\u00e9sultats"
    done = run(results, environment, "--implementations", "fff_cpu", "--processes", "1")
    assert done.returncode == 0, done.stderr
    assert "r\\xe9sultats" in done.stdout
    [path] = results.glob("matrix/*/*.json")
    assert path.name in done.stdout


@pytest.mark.parametrize("after", [0.1, 0.2, 0.3])
def test_ctrl_c_while_the_command_is_imported_is_one_word(tmp_path, after):
    process = subprocess.Popen(
        [sys.executable, "-m", "fffbench", "run", "--results", str(tmp_path)],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    if process.returncode != -signal.SIGINT or "fffbench/" in errors:  # else the interpreter itself was still starting
        assert "Traceback" not in errors
        assert process.returncode == 130
    assert "kept" not in errors


def test_ctrl_c_before_the_first_result_promises_nothing(tmp_path):
    process = long_run(tmp_path / "results")
    for line in process.stderr:
        if "measuring the ceilings" in line:
            break
    process.send_signal(signal.SIGINT)
    assert ended(process) == (130, "interrupted; nothing had been measured yet")


def test_a_command_that_measures_nothing_promises_nothing_when_interrupted(monkeypatch, capsys):
    from fffbench import cli
    from fffbench.results import store

    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "load", interrupted)
    assert cli.run(["claims", "--results", "."]) == 130
    assert capsys.readouterr().err.strip() == "interrupted"
