"""What do the reader's own runs say? A table beside what is published, which they do not change."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fffbench.analysis.headline import Answer
from fffbench.report.analysed import Analysis, analyse
from fffbench.report.cards import Cards
from fffbench.report.first import gain_cell
from fffbench.report.view import Card, Cell, Table
from fffbench.results.store import Results
from fffbench.units import number


@dataclass(frozen=True)
class Yours:
    """The table of the reader's runs and the cards of its numbers."""

    table: Table | None
    cards: tuple[Card, ...]


def your_runs(own: Results, published: Analysis, folder: Path | None = None) -> Yours:
    """A row per device, type and batch of ``own`` as the headline asks, beside the published figure of that device."""
    analysis = analyse(own, kind="y")
    cards = Cards(own, analysis.anchors, analysis.places, archived=False, folder=folder)
    beside = {(answer.machine, answer.device): answer for answer in published.answers}
    rows = []
    for answer in analysis.answers:
        for row in answer.rows:
            there = _published(beside.get((answer.machine, answer.device)), row.dtype, row.batch)
            rows.append((Cell(answer.name), Cell(row.dtype), Cell(str(row.batch)), gain_cell(row, cards), there))
    runs = sorted(own.runs.values(), key=lambda run: (run.started, run.id))
    named = ", ".join(f"{run.id} ({run.preset}, {run.started[:10]}, {run.sources})" for run in runs)
    table = Table(
        "your-runs",
        ("Device", "Type", "Batch", "Over best dense, yours", "Published here"),
        (False, False, True, True, True),
        tuple(rows),
        "speedup.csv",
        f"Measured here and not published: {named}. No published figure on this page rests on these runs. Published:",
    )
    return Yours(table, cards.all)


def _published(answer: Answer | None, dtype: str, batch: int) -> Cell:
    found = next((row for row in answer.rows if (row.dtype, row.batch) == (dtype, batch)), None) if answer else None
    if found is None or found.speedup is None:
        return Cell("no such device", words=True)
    return Cell(f"{number(found.speedup)}x", "same hardware")
