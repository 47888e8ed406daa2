"""A run without CUDA, MKL, a compiler or a terminal works and says what it left out."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

HIDE_MKL = """
import importlib.metadata as metadata
real = metadata.files
def files(name):
    if name in ("mkl", "intel-openmp"):
        raise metadata.PackageNotFoundError(name)
    return real(name)
metadata.files = files
"""
RUN = (
    *(sys.executable, "-m", "fffbench", "run", "--preset", "headline", "--dtypes", "fp32"),
    *("--implementations", "dense_linear,dense_blas3,dense_compiled,fff_cpu,fff_cuda", "--d", "64", "--levels", "5"),
    *("--batches", "64", "--threads", "1", "--seconds", "0.02", "--processes", "2", "--routing", "uniform"),
    *("--cache", "warm", "--call", "kernel"),
)


@pytest.fixture
def bare(tmp_path):
    """An environment without accelerator, MKL, compilers and terminal: PATH leads to an empty folder."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(HIDE_MKL)
    kept = {name: value for name, value in os.environ.items() if name not in ("CC", "CXX", "TERM", "CUDA_HOME")}
    return {
        **kept,
        "PATH": str(tmp_path / "bin"),
        "PYTHONPATH": str(tmp_path / "site"),
        "CUDA_VISIBLE_DEVICES": "",
        "TMPDIR": str(tmp_path),
    }


def test_a_run_on_a_bare_machine_works_and_the_results_say_what_was_left_out(tmp_path, bare):
    results = tmp_path / "results"
    done = subprocess.run(
        [*RUN, "--results", str(results)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=bare,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stderr + done.stdout
    assert "cells cannot run here, reasons in the report" in done.stderr
    stored = json.loads(Path(done.stdout.strip()).read_text())
    measured = {
        bench["extra_info"]["fffbench"]["cell"].split("@")[0]: bench["extra_info"]["fffbench"]
        for bench in stored["benchmarks"]
    }
    assert {"dense_linear", "fff_cpu"} <= measured.keys()
    assert not {"dense_compiled", "fff_cuda"} & measured.keys()
    skipped = {
        (entry["cell"].split("@")[0], "-cuda-" in entry["cell"]): entry for entry in stored["fffbench"]["skipped"]
    }
    reasons = {name: entry["reason"] for (name, on_gpu), entry in skipped.items() if on_gpu == (name == "fff_cuda")}
    assert "C++ compiler" in reasons["dense_compiled"]
    assert "CUDA" in reasons["fff_cuda"]
    if "dense_blas3" in measured:
        assert measured["dense_blas3"]["notes"]
        assert not any("MKL" in note for note in measured["dense_blas3"]["notes"])
    else:
        assert "mkl wheel is not installed" in reasons["dense_blas3"]
    report = subprocess.run(
        [sys.executable, "-m", "fffbench", "report", "--results", str(results), "--out", str(tmp_path / "reports")],
        capture_output=True,
        text=True,
        env=bare,
        check=False,
    )
    assert report.returncode == 0, report.stderr
    page = (tmp_path / "reports" / "all.html").read_text()
    for reason in {reasons["dense_compiled"], reasons["fff_cuda"]}:
        assert reason.split("$")[0].split(",")[0] in page


def test_a_terminal_shows_a_bar_and_the_same_result(tmp_path):
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        [*RUN, "--implementations", "dense_linear,fff_cpu", "--results", str(tmp_path / "results")],
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        env=environment,
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            shown += os.read(ours, 4096)
        except OSError:  # the other end has closed
            break
    path = process.communicate()[0].strip()
    os.close(ours)
    assert process.returncode == 0
    assert b"\x1b[" in shown
    assert json.loads(Path(path).read_text())["benchmarks"]


def test_a_run_without_compiled_kernels_says_in_one_line_how_to_get_them(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['fffbench._cpu'] = None")
    hidden = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run([*RUN, "--results", str(tmp_path)], env=hidden, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no compiled kernels" in done.stderr
    assert "Traceback" not in done.stderr


def test_listing_on_a_bare_machine_gives_the_reasons(bare):
    done = subprocess.run(
        [sys.executable, "-m", "fffbench", "list", "--json"], capture_output=True, text=True, env=bare, check=True
    )
    reasons = {row["name"]: row["unsupported"] for row in json.loads(done.stdout)}
    assert "C++ compiler" in reasons["dense_compiled"]
    assert "CUDA" in reasons["fff_cuda"]
    assert reasons["fff_cpu"] is None
