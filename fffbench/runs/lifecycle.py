"""How does a run that was planned proceed to its last outcome, and what may not happen meanwhile?"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from fffbench.errors import UserError
from fffbench.measure import fingerprint, host
from fffbench.measure.outcome import Outcome
from fffbench.measure.session import SCRATCH_PREFIX, Progress, Session
from fffbench.results.journal import Journal

if TYPE_CHECKING:
    from fffbench.runs.planning import Planned


def measure(planned: Planned, show: Callable[[Progress], None], told: Callable[[Outcome], None]) -> None:
    """Measure what the journal does not hold yet; every process's result is on the disk before the next begins."""
    with planned.locks, Journal(planned.journal) as journal:
        remove_stale_scratch()
        if planned.done:
            journal.append({"host": host.anonymous()})  # a job may continue on another node of its kind
        seed = int(hashlib.sha256(planned.run.run.encode()).hexdigest()[:16], 16)
        session = Session(planned.plan, planned.done, planned.forecast, show, seed=seed)
        for outcome in session.outcomes():
            if not planned.sources.unchanged():
                raise UserError(
                    "the sources of what is measured changed during the run, so it ends here; what was measured before "
                    "is kept under the sources of then, and the same command starts a new run"
                )
            journal.append({"outcome": outcome.to_json()})
            told(outcome)
        journal.append({"load after": fingerprint.load()})


def remove_stale_scratch() -> None:
    """Clear what a run that was killed (SIGKILL leaves it no time) had in the temporary folder.

    Only with the machine's lock held, which lies in the same folder: whoever holds it is the only one that measures.
    """
    for path in Path(tempfile.gettempdir()).glob(f"{SCRATCH_PREFIX}*"):
        shutil.rmtree(path, ignore_errors=True)
