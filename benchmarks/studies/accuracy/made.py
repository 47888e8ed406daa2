"""When and from which sources is a file of this study made? What ``fffbench.results.accuracy.Made`` reads."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from fffbench import sources
from fffbench.measure import provenance
from fffbench.results.chronology import FORMAT

ROOT = Path(__file__).resolve().parents[3]


def made() -> dict[str, Any]:
    """Now, the commit, and whether the package or this study was changed since; None where nobody can tell."""
    package = provenance.current()
    dirty = package.dirty
    if dirty is False and (ROOT / ".git").exists():  # the package's own check leaves the studies out
        dirty = sources.changed(ROOT, "benchmarks/studies/accuracy")
    return {
        "date": time.strftime(FORMAT, time.gmtime()),
        "commit": package.commit[: sources.SHOWN_DIGITS],
        "dirty": dirty,
    }
