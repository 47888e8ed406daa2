"""Leaves a process behind that keeps a core busy, out of the reach of its parent's session."""

import os
from pathlib import Path

from honest_twin import DEVICES, DTYPES, FAMILY, prepare, unsupported  # noqa: F401

if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        with Path(os.environ["FFFBENCH_TEST_PIDS"]).open("a") as file:
            file.write(f"{os.getpid()}\n")
        while True:
            pass
    os._exit(0)
os.wait()
