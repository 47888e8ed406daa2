"""What do whole models gain? The page's table, its sentence for the first screen, and the tables of the archive."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from fffbench.analysis.models import ModelRow, by_work, model_rows, work_title
from fffbench.claims.model_claims import COMMAND, ModelVerdict, judge_models, load_figures
from fffbench.devices import HOST
from fffbench.plan.models import Variant, Work
from fffbench.report import model_section
from fffbench.report.cards import ARCHIVE
from fffbench.report.claim_section import CONFIDENCE, ICONS
from fffbench.report.first import PLACES
from fffbench.report.model_cards import ModelCards
from fffbench.report.sources import source
from fffbench.report.view import Cell, LedgerCell, LedgerGroup, LedgerRow, Link, Note, Said, Table
from fffbench.results.models import ModelResults, load_models
from fffbench.units import number, percent, ratio, seconds

MOST = 8  # works on the page; the archive has all
KINDS = ("fff", "none", "small", "int8")  # a column each: the best of its kind


@dataclass(frozen=True)
class Models:
    """Everything about whole models, computed once."""

    rows: tuple[ModelRow, ...]
    verdicts: tuple[ModelVerdict, ...]
    names: dict[str, str]
    results: ModelResults = field(default_factory=ModelResults)
    folder: Path | None = None

    @cached_property
    def cards(self) -> ModelCards:
        """The cards of the figures that asked for one."""
        return ModelCards(self.results, self.rows, self.names, self.folder)


def models(folder: Path | None, names: dict[str, str], wanted: Callable[[str], bool] | None = None) -> Models | None:
    """What lies under ``folder`` of whole models, in the files that are ``wanted``; None where nothing does."""
    results = load_models(folder, wanted) if folder is not None else ModelResults()
    rows = model_rows(results)
    return Models(tuple(rows), tuple(judge_models(rows)), names, results, folder) if rows else None


def best_of(rows: Sequence[ModelRow], kind: str) -> ModelRow | None:
    """The fastest replacement of one kind that is compared with the model as it is."""
    found = [row for row in rows if Variant.parse(row.variant).kind == kind and row.gain is not None]
    return max(found, key=lambda row: row.gain or 0, default=None)


def sentence(found: Models) -> Said:
    """What a model gains on CPUs and on GPUs, for the first screen: over all works with trees and the model as it is.

    One layer of a larger model is no model; it stands in the table.
    """
    titles: list[str] = []
    parts: list[str] = []
    links: list[Link] = []
    for host, place in PLACES:
        kind = [of for of in by_work(found.rows) if (of[1].device == HOST) == host]
        named, said, more = _gained(kind, found.cards, place, first=not parts)
        titles += named
        parts += [said] if said else []
        links += more
    if not parts:
        return Said("")
    return Said(f"a whole model ({' and '.join(dict.fromkeys(titles))}) runs {' and '.join(parts)}", tuple(links))


def _gained(
    works: Sequence[tuple[str, Work, Sequence[ModelRow]]], cards: ModelCards, place: str, *, first: bool
) -> tuple[list[str], str, tuple[Link, ...]]:
    """The models measured on one kind of device, what they gain there and at most, and the cards of the figures."""
    gains: list[ModelRow] = []
    limits: list[ModelRow] = []
    titles: list[str] = []
    ends: list[float] = []
    for _, work, rows in works:
        best, none = best_of(rows, "fff"), best_of(rows, "none")
        if work.architecture.of_layers or best is None or best.gain is None:
            continue
        gains.append(best)
        ends += best.gain_interval or (best.gain, best.gain)
        limits += [none] if none is not None and none.gain is not None else []
        titles.append(work.architecture.title)
    if not gains:
        return [], "", ()
    how = " (slower)" if max(ends) < 1 else "" if min(ends) > 1 else " (undecided: intervals hold 1x)"
    gain, links = _range(gains, cards)
    with_trees = " of its speed with such layers" if first else ""
    bound = ""
    if limits:
        most, more = _range(limits, cards)
        without = " with no feedforward layer at all" if first else ""
        bound, links = f" ({most}{without})", (*links, *more)
    return titles, f"at {gain}{with_trees} on {place}{how}{bound}", links


def _range(rows: Sequence[ModelRow], cards: ModelCards) -> tuple[str, tuple[Link, ...]]:
    """The least and the largest gain, and the cards of both."""
    ends = [pick(rows, key=lambda row: row.gain or 0) for pick in (min, max)]
    links = tuple(Link(f"{number(row.gain or 0)}x", cards.gain(row)) for row in ends)
    return _spread([row.gain or 0 for row in ends]), links


def _spread(values: Sequence[float]) -> str:
    low, high = f"{number(min(values))}x", f"{number(max(values))}x"
    return low if low == high else f"{low} to {high}"


def table(found: Models) -> Table | None:
    """A line per machine and work: the best replacement of each kind over the model as it is."""
    lines = []
    lost: set[str] = set()
    for machine, work, rows in by_work(found.rows)[:MOST]:
        dense = next((row for row in rows if Variant.parse(row.variant).kind == "dense"), None)
        if dense is None:
            continue
        name = found.names.get(machine, machine)
        cells = [_gain(best_of(rows, kind), found.cards) for kind in KINDS]
        key = found.cards.time(dense)
        lost.update(mode for row in rows for mode in row.lost_modes)
        lines.append((Cell(work_title(work), name), Cell(seconds(dense.time), link=key, quantity=key), *cells))
    if not lines:
        return None
    left = len(by_work(found.rows)) - len(lines)
    more = f" {left} more in all.html." if left else ""
    if lost:
        more = f" Where one side had no time in a mode ({', '.join(sorted(lost))}), neither is taken in it.{more}"
    return Table(
        "models",
        ("Model and work", "As it is", "FFF", "No feedforward at all", "Small dense", "int8"),
        (False, True, True, True, True, True),
        tuple(lines),
        model_section.CSV,
        "Whole models from their configurations with random weights, each side in its best mode (eager, compiled or "
        "graph): times as fast as the model as it is, with 95 % intervals. No feedforward at all is the most that any "
        f"replacement can give; the share of that which FFF realises stands under its figure.{more}",
    )


def _gain(row: ModelRow | None, cards: ModelCards) -> Cell:
    if row is None or row.gain is None:
        return Cell("not measured", words=True)
    low, high = row.gain_interval or (None, None)
    share = "" if row.share is None else f"{percent(row.share)} of the possible"
    what = "" if Variant.parse(row.variant).kind == "none" else row.title  # which the column's head says
    key, small = cards.gain(row), "; ".join(filter(None, (what, share)))
    return Cell(ratio(row.gain, low, high), small, key, quantity=key)


def measured_claims(found: Models | None) -> dict[str, list[ModelVerdict]]:
    """The verdicts that rest on a measurement, by claim."""
    claims: dict[str, list[ModelVerdict]] = {}
    for one in found.verdicts if found else ():
        if one.measured is not None:
            claims.setdefault(one.id, []).append(one)
    return claims


def ledger_group(found: Models | None, columns: int) -> tuple[LedgerGroup, ...]:
    """The claims about whole models that were measured, a row each: the verdict that most works have, and how many."""
    rows = []
    for name, each in measured_claims(found).items():
        (verdict, count), *_ = Counter(one.verdict for one in each).most_common(1)
        first = next(one for one in each if one.verdict == verdict)
        others = f" So for {count} of the {len(each)} sizes measured." if len(each) > 1 else ""
        key = found.cards.verdict(first) if found else ""
        figure = ratio(first.measured or 0, first.low, first.high)
        alone = LedgerCell("", ICONS[verdict], verdict, f"{first.reason}{others}", key, figure=figure)
        rows.append(LedgerRow(name, first.shown, first.statement, (None,) * columns, alone=alone))
    return (LedgerGroup("Whole models", tuple(rows)),) if rows else ()


def notes(found: Models | None) -> tuple[Note, ...]:
    """What is said of each of them, for its card."""
    return tuple(
        Note(
            f"claim-{name}",
            each[0].shown,
            each[0].statement,
            source(each[0].source),
            CONFIDENCE[each[0].confidence],
            tuple(
                Link(f"{ICONS[one.verdict]} {one.verdict}: {one.reason}", found.cards.verdict(one) if found else "")
                for one in each
            ),
            (),
            COMMAND,
            f"{ARCHIVE}#model-claims",
        )
        for name, each in measured_claims(found).items()
    )


def archived(found: Models | None) -> tuple[Table, ...]:
    """Every table of whole models, and what others published."""
    if found is None:
        return ()
    tables = model_section.tables(found.rows, found.names, found.cards)
    judged = model_section.claims_table(found.verdicts, found.names, found.cards)
    return (*tables, judged, model_section.elsewhere_table(load_figures()))
