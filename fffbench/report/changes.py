"""What changed since the last published version? Figures beyond the interval that was published, other verdicts.

A rule over the committed snapshots (``results/published``): the page's figures are set beside those of the newest
version whose figures are not all the present ones. A version is so compared with the one before it, and what was
measured since a version with that version.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from fffbench.analysis.models import by_work, work_title
from fffbench.analysis.rows import Speedup
from fffbench.claims.program import deciding_climb
from fffbench.claims.rule import in_words
from fffbench.report.analysed import Analysis
from fffbench.report.cards import Cards
from fffbench.report.first import First, strict_row
from fffbench.report.models import KINDS, Models, best_of
from fffbench.report.raw import raw_files
from fffbench.report.view import Cell, Link, Table
from fffbench.results.snapshots import FORMAT, ROOM, Figure, Snapshot, read_snapshots
from fffbench.units import number, ratio

CSV = "changes.csv"
MOST = 6  # lines on the page, the largest changes; the CSV file has all
DIGITS = 6  # significant, of a figure in a snapshot
RULE = (
    "A figure is listed where it lies outside the interval that was published (one without an interval where it moved "
    "by more than 10 %), a claim where its verdict is another one."
)
WITHOUT_INTERVAL = 1.1


@dataclass(frozen=True)
class Now:
    """A figure of today with what it rests on; ``unit`` stands behind the number."""

    figure: Figure
    records: tuple[str | None, ...] = ()
    card: str = ""  # of a figure that has no records of layers


@dataclass(frozen=True)
class Change:
    """One figure or verdict that is another one now; ``size`` is the ratio of the values, at least 1."""

    before: Figure
    now: Now
    size: float


@dataclass(frozen=True)
class Changes:
    """What is different from ``version``, in the page's order; no version where there is none to compare with."""

    version: str = ""
    date: str = ""
    found: tuple[Change, ...] = ()
    same: int = 0
    new: int = 0
    gone: int = 0
    file: Link | None = None  # the snapshot, which is copied beside the page


def _figure(
    key: str, what: str, value: float | None, low: float | None, high: float | None, verdict: str = ""
) -> Figure:
    def rounded(number_: float | None) -> float | None:
        known = number_ is not None and math.isfinite(number_)
        return float(f"{number_:.{DIGITS}g}") if known else None

    return Figure(key=key, what=what, value=rounded(value), low=rounded(low), high=rounded(high), verdict=verdict)


def figures(analysis: Analysis, first: First, whole: Models | None) -> list[Now]:
    """Every figure of the first screen, of the ledger and of the table of models, by the question it answers."""
    return [*_layers(analysis, first), *_claims(analysis), *_programs(analysis), *_models(whole)]


def _layers(analysis: Analysis, first: First) -> Iterator[Now]:
    def of(row: Speedup, question: str) -> Now:
        name = analysis.places[row.machine, row.device]
        key = f"layer|{row.machine}|{row.device}|{question}|batch {row.batch}"
        what = f"layer over best dense, {name}, {question}, batch {row.batch}"
        return Now(_figure(key, what, row.speedup, row.low, row.high), (row.record, row.baseline_record))

    for device in analysis.shown:
        yield from (of(row, "deployed type") for row in first.served.get(device.place, {}).values())
        answer = first.answers.get(device.place)
        if answer is not None and (row := strict_row(answer)) is not None:
            yield of(row, "strict fp32")


def _claims(analysis: Analysis) -> Iterator[Now]:
    for (name, machine, device), group in groupby(analysis.claims, key=lambda row: (row.id, row.machine, row.device)):
        rows = list(group)
        shown = next((row for row in rows if row.conditions == "fair" and row.decides and row.measured), None)
        where = f", {analysis.places[machine, device]}" if machine and device else ""
        what = f"claim {rows[0].published_shown} ({name}){where}"
        value = (shown.measured, shown.low, shown.high) if shown else (None, None, None)
        figure = _figure(f"claim|{name}|{machine or ''}|{device or ''}", what, *value, rows[0].verdict)
        yield Now(figure, shown.records[:2] if shown else ())


def _programs(analysis: Analysis) -> Iterator[Now]:
    for (claim, machine, device), group in groupby(
        analysis.climbs, key=lambda climb: (climb.claim, climb.machine, climb.device)
    ):
        climb = deciding_climb(list(group), None)
        for name, step in (("as shipped", climb.steps[0]), ("mended", climb.mended)):
            key = f"program|{claim}|{machine}|{device}|{name}"
            what = f"published program of {number(climb.published)}x, {name}, {analysis.places[machine, device]}"
            if step.speedup is not None:
                yield Now(_figure(key, what, step.speedup, step.low, step.high), step.records)


def _models(whole: Models | None) -> Iterator[Now]:
    for machine, work, rows in by_work(whole.rows) if whole else ():
        for kind in KINDS:
            row = best_of(rows, kind)
            if row is None or whole is None:
                continue
            low, high = row.gain_interval or (None, None)
            what = f"{work_title(work)}, {whole.names.get(machine, machine)}, {row.title}"
            figure = _figure(f"model|{machine}|{work.id}|{kind}", what, row.gain, low, high)
            yield Now(figure, card=whole.cards.gain(row))


def snapshot(version: str, date: str, now: Sequence[Now]) -> Snapshot:
    """What a version publishes."""
    return Snapshot(format=FORMAT, version=version, date=date, figures=[one.figure for one in now])


def changes(folder: Path | None, now: Sequence[Now]) -> Changes:
    """The present figures beside those of the newest version that are not the same ones."""
    known, _ = read_snapshots(folder)
    present = [one.figure for one in now]
    last = next((one for one in known if one.figures != present), None)
    if last is None:
        return Changes()
    before = {one.key: one for one in last.figures}
    both = [(before[one.figure.key], one) for one in now if one.figure.key in before]
    found = [Change(old, one, _size(old, one.figure)) for old, one in both if _differs(old, one.figure)]
    [file] = raw_files([f"{ROOM}/{last.version}.json"], folder)
    return Changes(
        last.version, last.date, tuple(found), len(both) - len(found), len(now) - len(both),
        len(before) - len(both), file,
    )  # fmt: skip


def _differs(old: Figure, new: Figure) -> bool:
    if old.verdict != new.verdict:
        return True
    if old.value is None or new.value is None:
        return old.value is not new.value
    if old.low is None:
        return _size(old, new) > WITHOUT_INTERVAL
    return not old.low <= new.value <= (math.inf if old.high is None else old.high)


def _size(old: Figure, new: Figure) -> float:
    if not old.value or not new.value or old.value * new.value < 0:
        return 1.0
    return max(new.value / old.value, old.value / new.value)


def sentence(found: Changes) -> str:
    """What the rule found, in one line; empty where there is no version to compare with."""
    if not found.version:
        return ""
    verdicts = sum(one.before.verdict != one.now.figure.verdict for one in found.found)
    moved = len(found.found) - verdicts
    return (
        f"Beside version {found.version} (measured up to {found.date}): {verdicts} verdict{'s' * (verdicts != 1)} "
        f"changed, {moved} figure{'s' * (moved != 1)} moved, {found.same} stayed, {found.new} are new, {found.gone} "
        f"are no longer asked. {RULE}"
    )


def table(found: Changes, cards: Cards | None = None) -> Table | None:
    """The changes, verdicts first, then the largest; ``cards`` say where the new figures come from."""
    if not found.found:
        return None
    order = sorted(found.found, key=lambda one: (one.before.verdict == one.now.figure.verdict, -one.size))
    rows = []
    for one in order[:MOST]:
        old, new = one.before, one.now.figure
        value = _written(new)
        known = bool(cards and value and one.now.records and all(one.now.records))
        key = one.now.card or (cards.link(value, *one.now.records) if cards and known else "")
        rows.append(
            (
                Cell(new.what),
                Cell(_written(old) or "none", in_words(old.verdict), found.file.to if found.file else "", words=True),
                Cell(value or "none", in_words(new.verdict), key, words=not value),
            )
        )
    left = len(order) - len(rows)
    more = f"{left} smaller changes are in the file." if left else ""
    return Table("changes", ("What", "Then", "Now"), (False, True, True), tuple(rows), CSV, more)


def _written(figure: Figure) -> str:
    if figure.value is None:
        return ""
    if figure.low is None:
        return f"{number(figure.value)}x"
    return ratio(figure.value, figure.low, math.inf if figure.high is None else figure.high)


CSV_COLUMNS = ("version", "key", "what", "before", "before_low", "before_high", "before_verdict",
               "now", "low", "high", "verdict", "size")  # fmt: skip


def csv_rows(found: Changes) -> list[dict[str, object]]:
    """Every change as one flat row."""
    return [
        {
            "version": found.version, "key": one.now.figure.key, "what": one.now.figure.what,
            "before": one.before.value, "before_low": one.before.low, "before_high": one.before.high,
            "before_verdict": one.before.verdict, "now": one.now.figure.value, "low": one.now.figure.low,
            "high": one.now.figure.high, "verdict": one.now.figure.verdict, "size": one.size,
        }
        for one in found.found
    ]  # fmt: skip
