"""Two runs never measure at once, and a run that was killed never locks anybody out."""

import json
import os
import signal
import subprocess
import sys

import pytest

from fffbench.errors import UserError
from fffbench.measure import lock

HOLD = """
import sys
from pathlib import Path
from fffbench.measure.lock import Lock
held = Lock(Path(sys.argv[1]), 'fffbench regress')
print('held', flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock at the path it is given."""
    started = []

    def start(path):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_second_run_is_refused_with_who_since_when_and_what_to_do(tmp_path, holder):
    process = holder(tmp_path / "lock")
    with pytest.raises(UserError) as refused:
        lock.Lock(tmp_path / "lock", "fffbench run")
    said = str(refused.value)
    for word in (f"process {process.pid}", "fffbench regress", "since '20", "UTC", str(tmp_path / "lock"), "wait"):
        assert word in said
    assert "\n" not in said


def test_a_killed_run_leaves_no_lock(tmp_path, holder):
    process = holder(tmp_path / "lock")
    process.send_signal(signal.SIGKILL)
    process.wait()
    with lock.Lock(tmp_path / "lock", "fffbench run"):
        assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()


def test_a_released_lock_can_be_taken_again(tmp_path):
    for _ in range(2):
        with lock.Lock(tmp_path / "lock", "fffbench run"), pytest.raises(UserError):
            lock.Lock(tmp_path / "lock", "fffbench run")


def test_what_a_run_starts_does_not_keep_its_lock(tmp_path):
    code = (
        "import subprocess, sys; from pathlib import Path; from fffbench.measure.lock import Lock; "
        "held = Lock(Path(sys.argv[1]), 'a run'); "
        "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], stdout=-3, stderr=-3).pid)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "lock")], capture_output=True, text=True, check=True
    )
    try:
        lock.Lock(tmp_path / "lock", "fffbench run").release()
    finally:
        os.kill(int(done.stdout), signal.SIGKILL)


@pytest.mark.parametrize("said", ["", "not JSON", "[1]", '{"pid": "x"}', '{"pid": 1, "doing": 2}', "[" * 5000])
def test_a_holder_that_did_not_say_who_it_is_still_holds_it(tmp_path, holder, said):
    holder(tmp_path / "lock")
    (tmp_path / "lock").write_text(said)
    with pytest.raises(UserError, match="another run is measuring on this machine \\(it holds"):
        lock.Lock(tmp_path / "lock", "fffbench run")


def test_the_lock_follows_no_link(tmp_path):
    (tmp_path / "precious").write_text("kept")
    (tmp_path / "lock").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="lock"):
        lock.Lock(tmp_path / "lock", "fffbench run")
    assert (tmp_path / "precious").read_text() == "kept"


def test_the_machines_lock_is_every_users(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = os.umask(0o077)
    try:
        with lock.machine("fffbench run") as held:
            assert held.path.parent == tmp_path
            assert held.path.stat().st_mode & 0o777 == 0o666
    finally:
        os.umask(before)
