"""What does a result file say of the run that made it: its name, when it began, and of which sources?"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from fffbench.measure import provenance
from fffbench.results import chronology
from fffbench.results import names as run_names
from fffbench.results.record import FORMAT, Machine, RunInfo, Skipped


def new_run(
    preset: str, folder: Path, machine: Machine, say: Callable[[str], None], skipped: Sequence[Skipped] = ()
) -> RunInfo:
    """A run of ``preset`` that begins now and goes to ``folder``; ``say`` hears of sources that no commit has."""
    now, measured = time.gmtime(), provenance.current()
    started = time.strftime(chronology.FORMAT, now)
    if measured.dirty is not False:  # None: nobody can tell
        how = "changed since" if measured.dirty else "not shown to be"
        say(f"the sources are {how} {measured.commit[:10]}; the result says so")
    return RunInfo(
        format=FORMAT,
        run=run_names.fresh(preset, folder, now),
        preset=preset,
        started=started,
        commit=measured.shown,
        dirty=measured.dirty,
        sources=f"{measured.shipped}-{measured.compiled}",
        after=chronology.dated_no_earlier(started, run_names.dates(folder)),
        machine=machine,
        skipped=list(skipped),
    )
