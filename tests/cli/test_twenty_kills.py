"""A `quick` run killed at twenty random moments: ``pytest -m slow tests/cli/test_twenty_kills.py`` (about 10 minutes).

FFFBENCH_KILL_SEED chooses other moments.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
from runs import outcomes

KILLS = 20
SEED = int(os.environ.get("FFFBENCH_KILL_SEED", "3"))
LIFE_SECONDS = (0.5, 15.0)  # from the start of a run to its death: from importing over the ceilings to several rounds
FFFBENCH = [sys.executable, "-m", "fffbench"]


def one_life(command, rng, results):
    """Start ``command`` and kill it after a random while; what its journal held then."""
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        _, errors = process.communicate(timeout=rng.uniform(*LIFE_SECONDS))
        pytest.fail(f"the run ended by itself: {errors.decode()[-500:]}")
    except subprocess.TimeoutExpired:
        if rng.random() < 0.5:
            os.killpg(process.pid, signal.SIGKILL)  # as a machine that is switched off
        else:
            process.kill()  # as the kernel does where memory is short
        process.communicate()
    return {(entry["cell"], entry["process"]): entry["samples"] for entry in outcomes(results)}


@pytest.mark.slow
def test_twenty_kills_cost_a_quick_run_no_cell_and_no_measurement(tmp_path, capsys):
    rng, results = random.Random(SEED), tmp_path / "results"
    command = [*FFFBENCH, "run", "--preset", "quick", "--budget", "20m", "--results", str(results)]
    planned = subprocess.run([*command, "--plan", "--json"], capture_output=True, text=True, check=True).stdout
    cells = {row["cell"] for row in json.loads(planned) if row["reason"] is None}
    kept, counts, begin = {}, [], time.monotonic()
    for _ in range(KILLS):
        held = one_life(command, rng, results)
        assert kept.items() <= held.items()  # nothing that was finished is lost or measured again
        kept = held
        counts.append(len(kept))
    assert len(set(counts)) > KILLS / 2  # the kills met the run at work, not only while it started
    [journal] = results.glob("matrix/*/*.journal")
    last = subprocess.run(command, capture_output=True, text=True, check=False)
    assert last.returncode == 0, last.stderr
    assert f"continuing {journal.stem}: {counts[-1]} process results" in last.stderr
    [path] = results.glob("matrix/*/*.json")
    stored = json.loads(path.read_text())
    found = {bench["extra_info"]["fffbench"]["cell"]: bench["extra_info"]["fffbench"] for bench in stored["benchmarks"]}
    assert found.keys() == cells
    assert Counter(len(info["processes"]) for info in found.values()) == {6: len(cells)}
    for (cell, process), samples in kept.items():
        assert found[cell]["processes"][process] == pytest.approx(samples, rel=1e-5)  # the file keeps six digits
    assert not list(results.glob("matrix/*/*.journal"))
    done = subprocess.run(
        [*FFFBENCH, "report", "--results", str(results), "--out", str(tmp_path / "reports")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    samples = (tmp_path / "reports" / "samples.csv").read_text()
    assert {cell: samples.count(cell) for cell in cells} == dict.fromkeys(cells, 6)
    page = (tmp_path / "reports" / "index.html").read_text()
    assert not [name for cell in cells if (name := cell.split("@")[0]) not in page]
    took = time.monotonic() - begin
    with capsys.disabled():
        sys.stdout.write(f"\n{KILLS} kills, outcomes held after each: {counts}; {len(cells)} cells, {took:.0f} s\n")
