"""The commands that read results: ``report``, ``claims``, ``speedup``. None of them needs torch."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fffbench.cli import options
from fffbench.text import plain
from fffbench.units import percent, ratio, seconds

if TYPE_CHECKING:
    from fffbench.results.store import Results

Json = Annotated[bool, typer.Option("--json", help="print one JSON array")]
ResultsDir = Annotated[
    Path, typer.Option("--results", parser=options.folder("--results"), metavar="DIR", help="the folder of results")
]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(report)
    app.command()(claims)
    app.command()(speedup)


def _load(results: Path) -> Results:
    """The results under a folder; files that are refused are named on standard error, the rest counts."""
    from fffbench.results import store
    from fffbench.runs import journals

    found = store.load(results)
    for refusal in found.refused:
        print(plain(f"fffbench: left out {refusal.line}"), file=sys.stderr)
    if (unfinished := journals.unfinished(results)) is not None:
        print(f"fffbench: {unfinished}", file=sys.stderr)
    return found


def report(
    results: ResultsDir = Path("results"),
    out: Annotated[
        Path, typer.Option("--out", parser=options.folder("--out"), metavar="DIR", help="the folder the page goes to")
    ] = Path("reports"),
) -> None:
    """Render the page and the CSV of every table; print the headline and where the page is."""
    from fffbench.analysis.headline import headline
    from fffbench.analysis.speedup import speedups
    from fffbench.report import render

    found = _load(results)
    page = render(found, out)
    for line in headline(found, speedups(found)).text.split("\n"):
        print(plain(line))
    print(page.resolve())


def claims(results: ResultsDir = Path("results"), as_json: Json = False) -> None:
    """Judge every published claim against the results."""
    from fffbench.analysis.claims import judge_all

    rows = judge_all(_load(results))
    if as_json:
        print(json.dumps([row.to_json() for row in rows], indent=1))
        return
    paragraphs: dict[tuple[str, str | None, str | None], str] = {}
    for row in rows:  # one paragraph per claim and machine, whatever the number of conditions and thread counts
        where = f"{row.machine} ({row.device})" if row.machine else "no machine"
        program = (
            f" The published program: as shipped {row.program_shipped}, mended {row.program_mended}. {row.program}"
        )
        text = f"{row.id:<22} {row.verdict:<40} {where}: {row.reason}{program if row.program else ''}"
        paragraphs.setdefault((row.id, row.machine, row.device), text)
    for text in paragraphs.values():
        print(plain(text))


def speedup(results: ResultsDir = Path("results"), as_json: Json = False) -> None:
    """Print the speed-up of every conditional implementation over every named baseline."""
    from fffbench.analysis.rivals import provisional, tried_text
    from fffbench.analysis.speedup import speedups

    rows = speedups(_load(results))
    if as_json:
        print(json.dumps([row.to_json() for row in rows], indent=1))
        return
    for row in rows:
        place = f"{row.machine} {row.implementation} {row.d}x{row.n} b{row.batch} {row.dtype} {row.routing}"
        how = f"{row.cache}-{row.call} {row.threads}th over {row.baseline} ({row.baseline_threads} threads)"
        if row.speedup is None or row.time is None:
            print(plain(f"{place} {how}: {row.reason}"))
            continue
        share = "" if row.roofline_share is None else f", {percent(row.roofline_share)} of bound"
        tried = "" if row.tried is None else f", {tried_text(row.tried, row.not_measured)}"
        doubted = f" ({provisional(row)})" if row.provisional else ""
        gain = ratio(row.speedup, row.low, row.high)
        print(plain(f"{place} {how}: {gain} in {seconds(row.time)}{share}{tried}{doubted}"))
