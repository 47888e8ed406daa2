"""The results that a reading command is about, and what of them could not be used."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from fffbench.cli import notices

if TYPE_CHECKING:
    from fffbench.results.listing import Refusal
    from fffbench.results.store import Results


def load(results: Path) -> Results:
    """The results under a folder; files that are refused are named on standard error, the rest counts."""
    from fffbench.results import store

    found = store.load(results)
    name_refused(found.refused, results)
    return found


def name_refused(refused: Iterable[Refusal], results: Path) -> None:
    """Name on standard error what could not be used, and runs that are not finished."""
    from fffbench.runs import journals

    for refusal in refused:
        notices.note(f"left out {refusal.line}")
    if (unfinished := journals.unfinished(results)) is not None:
        notices.note(unfinished)
