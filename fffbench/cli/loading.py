"""The results that a reading command is about, and what of them could not be used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fffbench.cli import notices
from fffbench.plan import options

if TYPE_CHECKING:
    from fffbench.results.store import Results

Json = Annotated[bool, typer.Option("--json", help="print one JSON array")]
ResultsDir = Annotated[
    Path, typer.Option("--results", parser=options.folder("--results"), metavar="DIR", help="the folder of results")
]


def load(results: Path) -> Results:
    """The results under a folder; files that are refused are named on standard error, the rest counts."""
    from fffbench.results import store
    from fffbench.runs import journals

    found = store.load(results)
    for refusal in found.refused:
        notices.note(f"left out {refusal.line}")
    if (unfinished := journals.unfinished(results)) is not None:
        notices.note(unfinished)
    return found
