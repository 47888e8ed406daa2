"""The command line: every mistake is one line that says what, where and what is allowed, and exits 2."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from runs import RUN, outcomes, wait_for_outcomes

COMMANDS = ["list", "check", "run", "report", "claims", "speedup"]


def fffbench(*arguments, cwd=None, **options):
    return subprocess.run(
        [sys.executable, "-m", "fffbench", *arguments], capture_output=True, text=True, cwd=cwd, check=False, **options
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_help_appears_within_a_second_and_without_torch(command):
    start = time.perf_counter()
    done = fffbench(command, "--help")
    assert done.returncode == 0
    assert time.perf_counter() - start < 1
    code = f"import sys; from fffbench.cli import run; run(['{command}', '--help']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("False")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["run", "--preset", "fastest"], ["fastest", "release", "paper"]),
        (["run", "--implementations", "fff_gpu"], ["fff_gpu", "did you mean", "fff_cpu", "nearest of the"]),
        (["run", "--dtypes", "fp64"], ["fp64", "fp32", "bf16"]),
        (["run", "--batches", "1,many"], ["--batches", "many", "1 to"]),
        (["run", "--batches", "1,,2"], ["--batches", "commas"]),
        (["run", "--levels", "25"], ["--levels", "25", "1 to 24"]),
        (["run", "--threads", "9999"], ["9999", "allows 1 to"]),
        (["run", "--threads", "some"], ["some", "all"]),
        (["run", "--routing", "random"], ["random", "uniform", "single-path"]),
        (["run", "--cache", "lukewarm"], ["lukewarm", "cold", "warm", "hot"]),
        (["run", "--devices", "tpu"], ["tpu", "cpu", "cuda"]),
        (["run", "--budget", "soon"], ["--budget", "soon", "30m"]),
        (["run", "--seconds", "0"], ["--seconds", "0"]),
        (["run", "--fast"], ["--fast"]),
        (["check", "--implementations", "nothing"], ["nothing", "nearest of the", "dense_linear"]),
        (["fly"], ["fly"]),
        (["report", "--results", "nowhere"], ["nowhere"]),
        (["claims", "--results", "nowhere"], ["nowhere"]),
        (["speedup", "--results", "nowhere"], ["nowhere"]),
    ],
)
def test_a_mistake_is_one_line_naming_it_and_what_is_allowed(arguments, named, tmp_path):
    done = fffbench(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    for word in named:
        assert word in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_results_option_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    for command in ("run", "report"):
        done = fffbench(command, "--results", str(tmp_path / "file"))
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1


def test_list_names_every_implementation_with_its_reason():
    rows = json.loads(fffbench("list", "--json").stdout)
    assert {"name", "family", "device", "dtypes", "summary", "unsupported"} <= set(rows[0])
    by_name = {row["name"]: row for row in rows}
    assert by_name["fff_cpu"]["unsupported"] is None
    assert by_name["dense_linear"]["family"] == "dense"


def test_check_exits_0_on_a_right_implementation_and_says_how_far_off_it_was():
    done = fffbench("check", "--implementations", "dense_linear", "--dtypes", "fp32", "--json")
    assert done.returncode == 0, done.stderr
    [row] = json.loads(done.stdout)
    assert row["failure"] is None
    assert 0 < row["error"] < 1e-4


def test_a_run_becomes_a_result_file_a_page_and_a_speedup(tmp_path):
    results = tmp_path / "results"
    done = subprocess.run([*RUN, "--results", str(results)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [path] = results.glob("matrix/*/quick-*.json")
    assert done.stdout.strip() == str(path)
    assert "about" in done.stderr
    assert "over best dense" in done.stderr
    assert sum(line.startswith(("dense_linear ", "fff_cpu ", "cmm_masked ")) for line in done.stderr.splitlines()) == 6
    assert not list(results.glob("matrix/*/*.journal"))
    stored = json.loads(path.read_text())
    assert "node" not in stored["machine_info"]
    assert len(stored["benchmarks"]) == 6
    rows = json.loads(fffbench("speedup", "--results", str(results), "--json").stdout)
    assert any(row["speedup"] for row in rows)
    done = fffbench("report", "--results", str(results), "--out", str(tmp_path / "reports"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("index.html")
    assert (tmp_path / "reports" / "index.html").stat().st_size > 10_000


def test_pytest_benchmark_compares_two_exported_files(tmp_path):
    results = tmp_path / "results"
    for _ in range(2):
        assert (
            subprocess.run([*RUN, "--results", str(results)], capture_output=True, text=True, check=False).returncode
            == 0
        )
        time.sleep(1.1)  # runs are named by the second
    paths = sorted(str(path) for path in results.glob("matrix/*/*.json"))
    assert len(paths) == 2
    done = subprocess.run(
        ["pytest-benchmark", "compare", *paths], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("fff_cpu@") >= 4


def test_ctrl_c_exits_130_with_one_line_and_keeps_what_was_measured(tmp_path):
    results = tmp_path / "results"
    process = subprocess.Popen(
        [*RUN, "--results", str(results), "--processes", "40"],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for_outcomes(results, 3)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors.strip().splitlines()[-1].startswith("interrupted")
    assert "Traceback" not in errors
    assert list(results.glob("matrix/*/*.journal"))


def test_after_sigkill_the_same_command_continues_and_measures_nothing_twice(tmp_path):
    results = tmp_path / "results"
    command = [*RUN, "--results", str(results), "--processes", "5"]
    for wanted in (4, 11, 17):
        process = subprocess.Popen(
            command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
        )
        wait_for_outcomes(results, wanted)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    before = outcomes(results)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "continuing" in done.stderr
    [path] = results.glob("matrix/*/*.json")
    cells = {
        b["extra_info"]["fffbench"]["cell"]: b["extra_info"]["fffbench"]
        for b in json.loads(path.read_text())["benchmarks"]
    }
    assert len(cells) == 6
    assert all(len(info["processes"]) == 5 for info in cells.values())
    for outcome in before:
        kept = cells[outcome["cell"]]["processes"][outcome["process"]]
        assert kept == pytest.approx(outcome["samples"], rel=1e-5)  # the file keeps six digits
    assert len({(o["cell"], o["process"]) for o in before}) == len(before)


def test_a_leftover_of_shell_completion_in_the_environment_changes_nothing():
    done = fffbench("--help", env={**os.environ, "_FFFBENCH_COMPLETE": "complete_bash"})
    assert done.returncode == 0
    assert "Usage" in done.stdout


PLAN = ["run", "--plan", "--implementations", "fff_cpu", "--batches", "1", "--levels", "3", "--threads", "1"]


@pytest.mark.parametrize("command", [["--help"], PLAN])
def test_output_that_a_full_disk_does_not_take_is_one_line_and_no_success(command, tmp_path):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "fffbench", *command],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            cwd=tmp_path,
        )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "space left" in done.stderr


@pytest.mark.parametrize("command", [["--help"], ["claims", "--results", "."]])
def test_a_reader_that_has_gone_before_the_first_line_is_no_error(command, tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "fffbench", *command],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")
