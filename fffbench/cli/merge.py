"""The command that brings results of other machines together: ``merge``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from fffbench.cli import notices
from fffbench.cli.shared import MergedInto
from fffbench.plan import options
from fffbench.text import plain


def merge(
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="SOURCE...", parser=options.folder("SOURCE"), help="folders, tars or zips of results"),
    ],
    results: MergedInto = Path("results"),
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON array: place and what was done")] = False,
) -> None:
    """Add results from elsewhere; in any order and any number of times the outcome is the same.

    A file that is there is never changed. The same name with other content is refused by name, and nothing is merged.
    """
    from fffbench.results.merge import merge as merge_sources

    merged = merge_sources(sources, results)
    for refusal in merged.refused:
        notices.note(f"left out {refusal.line}")
    if as_json:
        done = {"added": merged.added, "present": merged.present}
        rows = [{"place": place, "done": what} for what, places in done.items() for place in places]
        rows += [{"place": refusal.path, "done": "left out", "reason": refusal.reason} for refusal in merged.refused]
        print(json.dumps(rows, indent=1))
        return
    counts = f"{len(merged.added)} added, {len(merged.present)} there already, {len(merged.refused)} left out"
    print(plain(f"{results}: {counts}"))
