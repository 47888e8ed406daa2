"""How does a finished journal become a result file in pytest-benchmark's format?

pytest-benchmark writes it, in a pytest of its own that nothing of the user's
reaches: no configuration, no conftest, no plugin, no ``PYTEST_ADDOPTS``. The
file appears whole under its name, which it takes from no other file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from fffbench.errors import UserError
from fffbench.parent import end_with_parent
from fffbench.results import names as run_names
from fffbench.runs import journals
from fffbench.runs.collect import collect

DIGITS = 6  # a sample of a second keeps its microseconds; the clock's own grain is coarser on short ones
FOLDER = Path(__file__).parent
# of the user's environment: what changes pytest, turns warnings into errors, or traces subprocesses
DISTURBING = ("PYTEST", "PYTHONWARNINGS", "PYTHONOPTIMIZE", "PY_COLORS", "COV_CORE", "COVERAGE_PROCESS")


def export(journal: Path, say: Callable[[str], None] | None = None) -> Path:
    """Turn a finished journal into ``<run>.json``; the journal is then removed.

    Where that fails the journal is kept, the ``UserError`` says why, and the same command tries again.
    """
    kept = journals.read(journal, say)
    finished = collect(kept)
    if not finished.measured:
        planned = set(kept.header.cells)
        reason = next((entry.reason for entry in finished.run.skipped if entry.cell in planned), "nothing was planned")
        if not kept.outcomes:
            journal.unlink()
        where = f"; what happened to each cell is in {str(journal)!r}" if kept.outcomes else ""
        raise UserError(f"no cell was measured, so there is no result file: {reason}{where}")
    target, draft = journal.with_suffix(".json"), journal.with_suffix(".draft")
    try:
        stored = _by_pytest(journal, draft)
        if len(stored["benchmarks"]) != len(finished.measured):
            raise UserError(
                _failure(journal, f"{len(stored['benchmarks'])} of {len(finished.measured)} cells exported")
            )
        for benchmark in stored["benchmarks"]:
            del benchmark["stats"]["data"]  # the samples again, without their processes; ``compare`` does not need them
        target = _publish(_rounded(stored), draft, target)
    finally:
        draft.unlink(missing_ok=True)
    journal.unlink()
    return target


def _by_pytest(journal: Path, draft: Path) -> Any:
    """pytest-benchmark's JSON of ``journal``, which it writes to ``draft``."""
    command = [
        sys.executable, "-P", "-m", "pytest", str(FOLDER / "test_cells.py"),
        "-p", "pytest_benchmark.plugin", "-p", "fffbench.suite.stored", "-p", "no:cacheprovider",
        "-c", os.devnull, "--rootdir", str(FOLDER), "--noconftest", "--import-mode=importlib",
        "-q", "--no-header", "--no-summary", "-W", "ignore", "--tb=line", "--color=no", "--benchmark-quiet",
        f"--fffbench-journal={journal.absolute()}", f"--benchmark-json={draft.absolute()}",
    ]  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if not name.startswith(DISTURBING)}
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={**environment, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        cwd=FOLDER,  # and no file of the user's current folder is imported
        preexec_fn=partial(end_with_parent, os.getpid()),
        check=False,
    )
    said = (done.stdout + b"\n" + done.stderr).decode(errors="replace")
    if done.returncode != 0:
        raise UserError(_failure(journal, _reason(said) or f"pytest ended with {done.returncode}"))
    try:
        return json.loads(draft.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(_failure(journal, _reason(said) or str(error))) from error


def _reason(said: str) -> str:
    """The line of pytest's output that names an error, the last one there is."""
    lines = [line.strip() for line in said.splitlines() if "Error" in line and "INTERNALERROR> File" not in line]
    return lines[-1].removeprefix("INTERNALERROR>").strip()[:300] if lines else ""


def _failure(journal: Path, reason: str) -> str:
    return f"the results could not be exported: {reason}; {str(journal)!r} keeps them, the same command tries again"


def _publish(stored: Any, draft: Path, target: Path) -> Path:
    """Write ``stored`` to ``draft`` and give it its name; a file of that name is never replaced."""
    with draft.open("w", encoding="utf-8") as file:
        json.dump(stored, file, separators=(",", ":"))
        file.flush()
        os.fsync(file.fileno())
    return run_names.publish(draft, target)


def _rounded(value: Any) -> Any:
    """``value`` with every float at ``DIGITS`` significant digits: pytest-benchmark's file at a quarter of its size."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value
