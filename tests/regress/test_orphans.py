"""Nothing that measures outlives the command that started it, however that one ends."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

STARTERS = {
    "a worker of regress": """
        run.WORKER = pathlib.Path({script!r})
        run.run_worker({{}})
    """,
    "a child of that worker": """
        worker.Child(lambda: exec(pathlib.Path({script!r}).read_text()), [])
        time.sleep(60)
    """,
    "a tool that builds": """
        build._run([sys.executable, {script!r}], pathlib.Path({folder!r}), None)
    """,
}
SLEEPER = """
    import os, pathlib, time
    pathlib.Path({mark!r}).write_text(str(os.getpid()))
    time.sleep(60)
"""


def alive(number):
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def soon(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("what", STARTERS)
def test_it_ends_with_a_parent_that_is_killed(tmp_path, what):
    mark, script = tmp_path / "mark", tmp_path / "sleeper.py"
    script.write_text(textwrap.dedent(SLEEPER.format(mark=str(mark))))
    head = "import pathlib, sys, time\nfrom fffbench.regress import build, run, worker\n"
    start = head + textwrap.dedent(STARTERS[what].format(script=str(script), folder=str(tmp_path)))
    parent = subprocess.Popen([sys.executable, "-c", start])
    try:
        soon(lambda: mark.exists() and mark.read_text())
        child = int(mark.read_text())
        assert child != parent.pid
        assert alive(child)
    finally:
        parent.kill()
        parent.wait()
    try:
        soon(lambda: not alive(child))
    finally:
        if alive(child):
            os.kill(child, signal.SIGKILL)
