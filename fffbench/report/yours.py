"""What do the reader's own runs say? A table beside what is published, which they do not change.

A published interval says where the next run's value will lie (``analysis.pooling``), and the reader's run is such a
run: it agrees where its value lies inside, and differs where it does not. On hardware that is not published it is set
beside all published devices of its kind, from the lowest end of their intervals to the highest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fffbench.analysis.headline import Answer, answers, type_name
from fffbench.analysis.rivals import provisional
from fffbench.analysis.rows import Speedup
from fffbench.analysis.speedup import speedups
from fffbench.devices import device
from fffbench.report.analysed import Analysis, analyse
from fffbench.report.cards import ARCHIVE, Cards
from fffbench.report.first import gain_cell
from fffbench.report.view import Card, Cell, Table
from fffbench.results.store import Results
from fffbench.units import ratio

AGREES, DIFFERS = "agrees", "differs"


@dataclass(frozen=True)
class Yours:
    """The table of the reader's runs and the cards of its numbers."""

    table: Table | None = None
    cards: tuple[Card, ...] = ()


NONE = Yours()
RULE = (
    "Measured here and not published: {named}. No published figure on this page rests on these runs. Yours agrees "
    "where its value lies in the published interval, which says where a next run's value will be. Published:"
)


@dataclass(frozen=True)
class Interval:
    """A published figure: its value, and where the next run's value will lie; ``record`` is what it rests on."""

    value: float
    low: float
    high: float
    record: str = ""


@dataclass(frozen=True)
class Beside:
    """The published figure of a reader's row: its text, of what it is, and whether the row agrees with it."""

    shown: str
    of: str
    verdict: str
    record: str = ""  # the one that it rests on, or the lowest of several


def your_runs(own: Results, published: Analysis, folder: Path | None = None) -> Yours:
    """A row per device, type and batch of ``own`` as the headline asks, beside the published figure."""
    analysis = analyse(own, kind="y")
    cards = Cards(own, analysis.anchors, analysis.places, archived=False, folder=folder)
    rows = []
    for answer in analysis.answers:
        for row in answer.rows:
            found = beside(row, published.answers)
            link = f"{ARCHIVE}#{published.anchors[found.record]}" if found.record in published.anchors else ""
            shown = Cell(found.shown, found.of, link, words=not found.verdict)
            where = (Cell(answer.name), Cell(row.dtype), Cell(str(row.batch)), gain_cell(row, cards))
            rows.append((*where, shown, Cell(found.verdict, words=True)))
    runs = sorted(own.runs.values(), key=lambda run: (run.started, run.id))
    named = ", ".join(f"{run.id} ({run.preset}, {run.started[:10]}, {run.sources})" for run in runs)
    table = Table(
        "your-runs",
        ("Device", "Type", "Batch", "Over best dense, yours", "Published here", "Yours"),
        (False, False, True, True, True, False),
        tuple(rows),
        "speedup.csv",
        RULE.format(named=named),
    )
    return Yours(table, cards.all)


def lines(own: Results, published: Results) -> list[str]:
    """The same for a terminal: a line per device, type and batch."""
    theirs = answers(published, speedups(published))
    said = []
    for answer in answers(own, speedups(own)):
        for row in answer.rows:
            found = beside(row, theirs)
            doubt = f" ({provisional(row)})" if row.provisional else ""
            value = ratio(row.speedup or 0, row.low, row.high)
            of = f"published {found.shown} on {found.of}: {found.verdict}" if found.verdict else found.shown
            said.append(
                f"Your run on {answer.name}: {value} at batch {row.batch} in {type_name(row.dtype)}{doubt}; {of}."
            )
    return said


def beside(row: Speedup, answers: Iterable[Answer]) -> Beside:
    """What is published beside ``row``: of the same hardware, else of all devices of its kind."""
    fitting = [
        (
            answer.machine == row.machine and answer.device == row.device,
            Interval(other.speedup or 0, other.low, other.high, other.record or ""),
        )
        for answer in answers
        for other in answer.rows
        if (other.dtype, other.batch, other.device) == (row.dtype, row.batch, row.device)
        and other.low is not None
        and other.high is not None
    ]
    return compared(row.speedup or 0, fitting, device(row.device).label)


def compared(value: float, published: Sequence[tuple[bool, Interval]], label: str) -> Beside:
    """``value`` beside what is published: of the same hardware (True), else of all others, ``label`` machines."""
    same = [one for is_same, one in published if is_same]
    if same:
        one = same[0]
        return Beside(ratio(one.value, one.low, one.high), "same hardware", _verdict(value, same), one.record)
    others = [one for _, one in published]
    if not others:
        return Beside("not published", "", "")
    low, high = _span(others)
    of = f"{len(others)} other {label} machine{'s' * (len(others) != 1)}"
    lowest = min(others, key=lambda other: other.low)
    return Beside(f"{low:.3g}x to {high:.3g}x", of, _verdict(value, others), lowest.record)


def _span(published: Sequence[Interval]) -> tuple[float, float]:
    return min(one.low for one in published), max(one.high for one in published)


def _verdict(value: float, published: Sequence[Interval]) -> str:
    """A single published figure is judged by its own interval, several by the span of theirs."""
    low, high = _span(published)
    return AGREES if low <= value <= high else DIFFERS
