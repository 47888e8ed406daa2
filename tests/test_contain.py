"""Code of others leaves no process behind, however it ends."""

import subprocess
import sys

import pytest

FORKED = """
import ctypes, os, platform, sys, threading, time
from pathlib import Path
from fffbench import contain

def state(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]

contain.adopt_orphans()
reading, writing = os.pipe()
child = os.fork()
if child == 0:
    sleeper = os.fork()
    if sleeper == 0:
        time.sleep(60)
        os._exit(0)
    os.write(writing, str(sleeper).encode())
    threading.Thread(target=time.sleep, args=(60,)).start()
    ctypes.CDLL(None).syscall({"x86_64": 60, "aarch64": 93}[platform.machine()], 0)  # ends this thread alone
sleeper = int(os.read(reading, 20))
while state(child) != "Z":
    time.sleep(0.01)
print({child, sleeper} <= set(contain.descendants()), contain.end_descendants(), contain.descendants())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
def test_what_a_process_forked_is_found_while_its_threads_end():
    done = subprocess.run([sys.executable, "-P", "-c", FORKED], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "True 2 []\n"
