"""Options that several commands have, each declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fffbench.plan import options


def folder(option: str, text: str, metavar: str = "DIR") -> Any:
    """An option whose value is a path; ``text`` is its help."""
    return typer.Option(option, parser=options.folder(option), metavar=metavar, help=text)


def share(option: str, most: float, text: str) -> Any:
    """An option whose value is a number from 0 to ``most``."""
    return typer.Option(option, min=0, max=most, callback=options.finite(option), help=text)


ResultsDir = Annotated[Path, folder("--results", "the folder of results")]
MergedInto = Annotated[Path, folder("--results", "where they go")]
Summary = Annotated[Path | None, folder("--markdown", "append the summary to this file", "FILE")]
Json = Annotated[bool, typer.Option("--json", help="print one JSON array")]
Width = Annotated[int, typer.Option(min=1, max=2**16)]
Levels = Annotated[int, typer.Option(min=1, max=20)]
Trees = Annotated[int, typer.Option(min=1, max=2**12)]
Threads = Annotated[int, typer.Option(min=1, max=1024)]
