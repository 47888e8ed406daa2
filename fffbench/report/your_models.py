"""What do the reader's own runs of whole models say? As ``yours`` for layers: beside what is published, in none of it.

A line per machine, work and kind of replacement: the reader's fastest of that kind over the model as it is, from the
reader's runs alone, beside the published figure of the same replacement.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path

from fffbench.analysis.headline import machine_name
from fffbench.analysis.models import ModelRow, by_work, model_rows, work_title
from fffbench.devices import device, main_device
from fffbench.plan.models import Work
from fffbench.report.model_cards import OWN, ModelCards
from fffbench.report.models import KINDS, Models, best_of
from fffbench.report.view import Cell, Table
from fffbench.report.yours import NONE, RULE, Beside, Interval, Yours, compared
from fffbench.results.models import ModelResults, load_models
from fffbench.results.record import state_of_sources
from fffbench.units import ratio


@dataclass(frozen=True)
class Line:
    """One figure of the reader's, and what is published beside it."""

    row: ModelRow
    kind: str
    beside: Beside


def your_models(folder: Path, own: AbstractSet[str], published: Models | None) -> Yours:
    """The table of the files ``own`` of whole models under ``folder``, and its cards."""
    results = load_models(folder, own.__contains__)
    if not results.runs:
        return NONE
    rows = model_rows(results)
    names = {name: machine_name(one, main_device(one.stable)) for name, one in results.machines.items()}
    cards = ModelCards(results, rows, names, folder, OWN)
    theirs = {_key(row): row for row in published.rows} if published else {}
    lines = []
    for line in _lines(rows, list(theirs.values())):
        row, found = line.row, line.beside
        key = cards.gain(row)
        link = published.cards.gain(theirs[found.record]) if published and found.record else ""
        lines.append(
            (
                Cell(work_title(row.work), _where(row, results)),
                Cell(row.title),
                Cell(_gain(row), "provisional" if row.provisional else "", key, quantity=key),
                Cell(found.shown, found.of, link, words=not found.verdict),
                Cell(found.verdict, words=True),
            )
        )
    runs = sorted(results.runs, key=lambda run: (run.started, run.run))
    named = ", ".join(
        f"{run.run} ({run.preset}, {run.started[:10]}, {state_of_sources(run.commit, dirty=run.dirty)})" for run in runs
    )
    table = Table(
        "your-models",
        ("Model", "Feedforward layers", "Over the model as it is, yours", "Published here", "Yours"),
        (False, False, True, True, False),
        tuple(lines),
        "models.csv",
        RULE.format(named=named),
    )
    return Yours(table, cards.all)


def model_lines(folder: Path, own: AbstractSet[str]) -> list[str]:
    """The same for a terminal: a line per machine and work, of the fastest FFF."""
    published = model_rows(load_models(folder, lambda path: path not in own))
    results = load_models(folder, own.__contains__)
    said = []
    for line in _lines(model_rows(results), published):
        row, found = line.row, line.beside
        if line.kind == "fff":
            of = f"published {found.shown} on {found.of}: {found.verdict}" if found.verdict else found.shown
            doubt = " (provisional)" if row.provisional else ""
            what = f"{work_title(row.work)}, {row.title}"
            said.append(f"Your run on {_where(row, results)}: {_gain(row)} of its speed for {what}{doubt}; {of}.")
    return said


def _lines(own: Sequence[ModelRow], published: Sequence[ModelRow]) -> Iterator[Line]:
    for _, _, rows in by_work(own):
        for kind in KINDS:
            best = best_of(rows, kind)
            if best is not None:
                yield Line(best, kind, _beside(best, published))


def _beside(row: ModelRow, published: Sequence[ModelRow]) -> Beside:
    """What is published of the same replacement: of the same machine and threads, else of each other machine."""
    others: dict[str, tuple[int, Interval]] = {}
    fitting = []
    for other in published:
        if other.gain is None or other.gain_interval is None or not _alike(row, other):
            continue
        one = Interval(other.gain, *other.gain_interval, _key(other))
        if other.machine == row.machine:
            fitting.append((True, one))
        else:  # a machine counts once, with its most threads
            others[other.machine] = max(others.get(other.machine, (0, one)), (other.work.threads, one), key=_threads)
    fitting += [(False, one) for _, one in others.values()]
    return compared(row.gain or 0, fitting, device(row.work.device).label)


def _alike(row: ModelRow, other: ModelRow) -> bool:
    """Whether the same was asked: on another machine with as many threads as it has, or with one as here."""
    if row.variant != other.variant:
        return False
    if row.machine == other.machine:
        return row.work == other.work
    return _elsewhere(row.work) == _elsewhere(other.work)


def _elsewhere(work: Work) -> Work:
    return replace(work, threads=min(work.threads, 2), seed=0)


def _threads(found: tuple[int, Interval]) -> int:
    return found[0]


def _key(row: ModelRow) -> str:
    return f"{row.machine}/{row.variant}@{row.work.id}"


def _gain(row: ModelRow) -> str:
    return ratio(row.gain or 0, *(row.gain_interval or (None, None)))


def _where(row: ModelRow, results: ModelResults) -> str:
    return machine_name(results.machines[row.machine], row.work.device)
