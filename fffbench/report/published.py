"""Which runs are published, and which are the reader's own?

A run whose files git knows is published with this repository; one that was measured since and never committed is the
reader's, of layers or of whole models. It has a section of its own on the page and changes no published figure. In a
folder without published runs (another folder, no git) there is nothing to keep apart, and all runs count alike.
"""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

from fffbench.results import current as current_sources
from fffbench.results.listing import ARCHIVE, files_of_room, shown_path
from fffbench.results.models import ROOM
from fffbench.results.store import MATRIX, Results, load
from fffbench.results.superseded import skipped_now, spoken
from fffbench.sources import GIT, GIT_SECONDS


def load_published(folder: Path) -> Results:
    """What the results under ``folder`` say without the reader's own runs: that of which documents are written."""
    results = load(folder)
    return split(results, own_runs(results, folder))[0]


def own_runs(results: Results, folder: Path) -> frozenset[str]:
    """The ids of the runs under ``folder`` that are not published; empty where none is."""
    known = _known_to_git(folder)
    own = {run.id for run in results.runs.values() if not known.intersection(run.paths)}
    return frozenset() if len(own) == len(results.runs) else frozenset(own)


def own_model_files(folder: Path) -> frozenset[str]:
    """The files of whole models under ``folder`` that are not published; empty where no result is."""
    known = _known_to_git(folder)
    if not any(name.startswith((f"{MATRIX}/", f"{ROOM}/", f"{ARCHIVE}/")) for name in known):
        return frozenset()
    files, _ = files_of_room(folder, ROOM)
    return frozenset(shown_path(path, folder) for path in files) - known


def _known_to_git(folder: Path) -> set[str]:
    """The files under ``folder`` that git has, relative to it; none where there is no git or no repository."""
    try:
        done = subprocess.run(
            [*GIT, "ls-files", "-z"], cwd=folder, capture_output=True, check=False, timeout=GIT_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return set()
    return {name.decode("utf-8", "replace") for name in done.stdout.split(b"\0") if name}


def split(results: Results, own: frozenset[str]) -> tuple[Results, Results | None]:
    """What is published, and what the runs ``own`` hold; all of it and None where there are no such runs."""
    if not own:
        return results, None
    return _of(results, frozenset(results.runs) - own), _of(results, own)


def _of(results: Results, runs: frozenset[str]) -> Results:
    """What ``runs`` alone hold. A record that only another run had superseded speaks again."""
    records = [record for record in (*results.records, *results.superseded) if record.run in runs]
    records.sort(key=lambda record: (record.machine, record.started, record.run, record.cell.id))
    skipped = [item for item in (*results.skipped, *results.superseded_skipped) if item.run in runs]
    skipped.sort(key=lambda item: (item.machine, item.started, item.run, item.cell.id))
    parted = spoken(records, current_sources.current)
    kept = {name: run for name, run in results.runs.items() if name in runs}
    machines = {run.machine.id for run in kept.values()}
    return replace(
        results,
        records=parted.records,
        skipped=skipped_now(skipped, parted),
        superseded=parted.superseded,
        older=parted.older,
        runs=kept,
        machines={name: machine for name, machine in results.machines.items() if name in machines},
    )
