"""Does `profile` run one cell alone in one process, and does a profiler see its calls and not their preparation?"""

import os
import re
import stat
import sys

import pytest

from fffbench.cli import run

SMALL = ["--batch", "8", "--d", "64", "--levels", "5", "--seconds", "0.1"]
SAID = re.compile(r"(\d+) calls of (\S+) in ")
# Stands in for perf: makes the FIFOs' other ends its own, notes what it is told, and runs the program.
PERF = """#!{python}
import os, subprocess, sys
[options] = [a for a in sys.argv if a.startswith("--control=")]
control, acknowledged = options.removeprefix("--control=fifo:").split(",")
program = sys.argv[sys.argv.index("cycles") + 1:]
assert "--delay=-1" in sys.argv and sys.argv[1] == "stat"
child = subprocess.Popen(program)
for _ in range(2):
    with open(control) as file:
        print("told to", file.read().strip(), flush=True)
    with open(acknowledged, "w") as file:
        file.write("ack\\n")
sys.exit(child.wait())
"""


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """A lock of the test's own: another test may measure meanwhile."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


@pytest.mark.parametrize("named", [["fff_cpu", *SMALL], ["dense_linear", *SMALL]])
def test_a_cell_is_called_many_times_in_a_process_of_its_own_under_the_command(capfd, named):
    assert run(["profile", *named, "--", "env", "THEIRS=1"]) == 0
    said = SAID.search(capfd.readouterr().err)
    assert int(said[1]) > 10
    assert said[2] == f"{named[0]}@d64-n31-t1x5-b8-fp32-uniform-cpu-1th-s0@warm-kernel"


def test_a_cell_can_be_named_as_results_name_it(capfd):
    cell = "cmm_gather_bmm@d64-n31-t1x5-b8-fp32-uniform-cpu-1th-s0@cold-torch"
    assert run(["profile", cell, "--seconds", "0.05"]) == 0
    assert SAID.search(capfd.readouterr().err)[2] == cell


def test_perf_is_told_when_the_calls_begin_and_when_they_end(alone, capfd):
    perf = alone / "bin" / "perf"
    perf.write_text(PERF.format(python=sys.executable))
    perf.chmod(perf.stat().st_mode | stat.S_IXUSR)
    assert run(["profile", "fff_cpu", *SMALL, "--", "perf", "stat", "-e", "cycles"]) == 0
    printed = capfd.readouterr()
    assert printed.out.splitlines() == ["told to enable", "told to disable"]
    assert SAID.search(printed.err)


def test_the_commands_own_failure_is_the_exit_code(capfd):
    assert run(["profile", "fff_cpu", *SMALL, "--", "false"]) == 1
    capfd.readouterr()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["fff_cpv"], "did you mean 'fff_cpu'?"),
        (["fff_cpu@nonsense"], "not a cell id"),
        (["fff_cpu", "--threads", "1000"], "allows 1 to"),
        (["fff_cpu", "--dtype", "fp64"], "fp64"),
        (["fff_cpu", "--", "no-such-profiler"], "perf stat"),
        (["dense_blas1", "--dtype", "bf16"], "fp32"),
    ],
)
def test_a_mistake_is_a_line(capsys, arguments, named):
    assert run(["profile", *arguments]) == 2
    said = capsys.readouterr().err
    assert named in said
    assert said.count("\n") == 1
