"""Whatever is typed, closed, missing or interrupted: one short line that says what, and exit 2 (130 for Ctrl-C)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from synthetic import cell_id, write_run

from fffbench import cli

CELLS = {cell_id("dense_linear"): 1.0, cell_id("fff_cpu"): 0.01}
DIGITS = "9" * 5000
MANY = ",".join(map(str, range(1, 1001)))


def said_by(capsys, *arguments):
    """The one line that a refused command says."""
    assert cli.run(list(arguments)) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


@pytest.mark.parametrize("option", ["--d", "--batches", "--levels", "--trees", "--threads"])
def test_a_number_of_thousands_of_digits_is_refused(capsys, option):
    said = said_by(capsys, "run", "--plan", option, DIGITS)
    assert option in said
    assert "whole numbers from 1" in said or "whole numbers from 0" in said
    assert len(said) < 500


@pytest.mark.parametrize(
    "option", ["--processes", "--seconds", "--budget", "--preset", "--implementations", "--nothing"]
)
def test_what_is_echoed_is_cut(capsys, option):
    said = said_by(capsys, "run", "--plan", option, "9" * 100_000)
    assert len(said) < 2100


def test_what_is_echoed_moves_no_cursor(capsys):
    assert "\x1b" not in said_by(capsys, "run", "--plan", "--preset", "\x1b[2J")


@pytest.mark.parametrize("option", ["--seconds"])
def test_nan_is_no_number(capsys, option):
    assert option in said_by(capsys, "run", "--plan", option, "nan")


@pytest.mark.parametrize(
    ("command", "redirection"),
    [("list", "<&-"), ("list", ">&-"), ("list", "2>&-"), ("list", "<&- >&- 2>&-"), ("speedup", ">&-"), ("todo", ">&-")],
)
def test_a_stream_that_the_caller_closed_is_no_error(tmp_path, command, redirection):
    results = "" if command == "list" else f"--results {tmp_path / 'r'}"
    write_run(tmp_path / "r", cells=CELLS)
    line = f"{sys.executable} -m fffbench {command} {results} {redirection}"
    ended = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_file_that_is_opened_does_not_become_a_closed_stream(tmp_path):
    write_run(tmp_path / "r", cells=CELLS)
    page = tmp_path / "page"
    line = f"{sys.executable} -m fffbench report --results {tmp_path / 'r'} --out {page} <&- >&- 2>&-"
    assert subprocess.run(["sh", "-c", line], check=False).returncode == 0
    assert (page / "index.html").read_text().rstrip().endswith("</html>")


def test_where_the_page_is_moves_no_cursor(capsys, tmp_path):
    write_run(tmp_path / "r", cells=CELLS)
    assert cli.run(["report", "--results", str(tmp_path / "r"), "--out", str(tmp_path / "\x1b[2J")]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert out.endswith("\\x1b[2J/index.html\n")


def test_a_command_that_fails_says_nothing_else_of_what_it_read(capsys, tmp_path):
    path = write_run(tmp_path / "r", cells=CELLS)
    (path.parent / "damaged.json").write_text("{")
    (tmp_path / "file").write_text("")
    said_by(capsys, "report", "--results", str(tmp_path / "r"), "--out", str(tmp_path / "file" / "pages"))
    assert cli.run(["claims", "--results", str(tmp_path / "r")]) == 0
    assert capsys.readouterr().err.count("left out") == 1


def test_an_empty_batch_has_no_time(capsys):
    assert "--batches '0': allowed are whole numbers from 1" in said_by(capsys, "run", "--plan", "--batches", "0")


def test_a_product_of_axes_is_counted_before_it_is_made(capsys):
    said = said_by(capsys, "run", "--plan", "--batches", MANY, "--d", MANY, "--trees", MANY)
    assert "cells; give fewer values" in said


def test_a_list_without_end_is_refused(capsys):
    assert "at most 1000" in said_by(capsys, "run", "--plan", "--batches", "1," * 5000 + "1")


@pytest.mark.parametrize("command", ["report", "claims", "speedup", "run"])
def test_an_empty_path_is_not_the_current_folder(capsys, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    assert "--results is empty" in said_by(capsys, command, "--results=")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["--results", "--out"])
def test_a_path_longer_than_any_is_refused(capsys, option):
    assert f"{option} has 20001 characters" in said_by(capsys, "report", option, "a/" * 10000 + "a")


def test_an_empty_budget_is_no_budget(capsys):
    assert "--budget" in said_by(capsys, "run", "--plan", "--budget", "")


@pytest.mark.parametrize(("command", "extra"), [("list", "measure"), ("check", "measure"), ("run", "measure")])
def test_a_plain_installation_says_which_extra_is_missing(tmp_path, command, extra):
    (tmp_path / "threadpoolctl.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'x'\", name='threadpoolctl')"
    )
    done = python("-m", "fffbench", command, PYTHONPATH=str(tmp_path))
    assert done.returncode == 2
    assert f"fffbench[{extra}]" in done.stderr
    assert done.stderr.count("\n") == 1


def python(*arguments, cwd=None, **environment):
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **environment},
        cwd=cwd,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=120,
        check=False,
    )


def test_an_ascii_terminal_and_an_unwritable_home_cost_no_report(tmp_path):
    folder = tmp_path / "Ergebnis\u00e4\u4e2d"
    write_run(folder, cells=CELLS)
    ascii_only = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C.UTF-8", "HOME": "/proc/nowhere"}
    done = python("-m", "fffbench", "report", "--results", str(folder), "--out", str(folder / "out"), **ascii_only)
    assert done.returncode == 0, done.stderr
    assert "Ergebnis\\xe4\\u4e2d" in done.stdout
    missing = python("-m", "fffbench", "claims", "--results", str(folder / "\u00fc"), **ascii_only)
    assert missing.returncode == 2
    assert "Traceback" not in missing.stderr


def test_ctrl_c_while_the_commands_are_imported_is_one_word():
    command = [sys.executable, "-X", "importtime", "-m", "fffbench", "--help"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as child:
        assert child.stderr is not None
        for line in child.stderr:
            if b"fffbench.errors" in line:  # the first that the commands import, long before typer
                child.send_signal(signal.SIGINT)
                break
        said = [line for line in child.stderr.read().decode().splitlines() if not line.startswith("import time:")]
    assert (child.returncode, said) == (130, ["interrupted"])


@pytest.mark.parametrize(("command", "words"), [("regress main", "current folder"), ("speedup", "does not exist")])
def test_a_current_folder_that_vanished_is_said(tmp_path, command, words):
    code = "import os, sys; os.rmdir(os.getcwd()); from fffbench import cli; sys.exit(cli.main())"
    gone = tmp_path / "gone"
    gone.mkdir()
    done = python("-c", code, *command.split(), cwd=gone)
    assert done.returncode == 2, done
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


CHOOSING = ("speedup", "claims", "models", "compare x y", "duel x y")


@pytest.mark.parametrize(
    ("command", "option", "wrong"),
    [
        ("todo", "--device", "tpu"),
        *((name, *typed) for name in CHOOSING for typed in (("--device", "tpu"), ("--dtype", "bf17"))),
    ],
)
def test_a_wrong_value_is_named_by_the_option_that_was_typed(capsys, tmp_path, command, option, wrong):
    name, *names = command.split()
    write_run(tmp_path, cells=CELLS)
    where = [] if name == "duel" else ["--results", str(tmp_path)]
    assert said_by(capsys, name, *names, option, wrong, *where).startswith(
        f"fffbench: unknown {option} value {wrong!r}"
    )


def test_a_misspelt_preset_of_whole_models_is_answered_with_the_nearest(capsys):
    assert "did you mean 'models'" in said_by(capsys, "run", "--plan", "--preset", "model")


def test_models_that_were_measured_and_not_chosen_are_not_called_unmeasured(capsys):
    assert cli.run(["models", "--batch", "7", "--results", "results"]) == 0
    assert "none of the models measured is among these" in capsys.readouterr().out
