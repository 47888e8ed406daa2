"""Runs of a few small cells as subprocesses, and what their journals hold so far."""

import json
import sys
import time

CELLS = (
    *("--implementations", "dense_linear,fff_cpu,cmm_masked", "--batches", "1,16", "--levels", "5", "--d", "64"),
    *("--threads", "1", "--seconds", "0.02", "--routing", "uniform", "--cache", "hot", "--call", "kernel"),
)
CELL_COUNT = 6
RUN = [sys.executable, "-m", "fffbench", "run", *CELLS, "--processes", "2"]


def outcomes(results):
    """The outcomes in the journals under ``results``; a line in flight does not count."""
    found = []
    for path in results.glob("matrix/*/*.journal"):
        for line in path.read_text().splitlines():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                continue
            if "outcome" in entry:
                found.append(entry["outcome"])
    return found


def wait_for_outcomes(results, count):
    """Return as soon as ``count`` processes have reported; AssertionError after 90 s."""
    end = time.monotonic() + 90
    while len(outcomes(results)) < count:
        assert time.monotonic() < end
        time.sleep(0.02)
