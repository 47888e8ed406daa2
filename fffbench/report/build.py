"""What do these results put on the page? Analysis in, view model out."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fffbench.analysis.served import served
from fffbench.report import (
    accuracy_section,
    changes,
    comparing,
    curves,
    dictionary,
    hero,
    ladder_chart,
    ledger_section,
    models,
    proofs,
    roofs,
    tables_of_page,
)
from fffbench.report.accuracy_section import Accuracy
from fffbench.report.analysed import Analysis
from fffbench.report.cards import Cards
from fffbench.report.first import NO_MODEL, First, answers_table, facts, lede
from fffbench.report.models import Models
from fffbench.report.view import Link, Page, Said
from fffbench.report.waterfall import waterfalls
from fffbench.report.yours import NONE, Yours

TITLE = "How fast are fast feedforward networks?"
CEILING = 4095 / 12


def first_of(analysis: Analysis, whole: Models | None = None, learnt: Accuracy | None = None) -> First:
    """What the first screen is made of: speeds, ``whole`` models, and what layers have ``learnt``."""
    return First(
        analysis.shown,
        served(analysis.results, analysis.shown_rows, [device.place for device in analysis.shown]),
        {(answer.machine, answer.device): answer for answer in analysis.answers},
        analysis.climbs,
        analysis.claims,
        (models.sentence(whole).text if whole else "") or NO_MODEL,
        learnt.said if learnt else Said(accuracy_section.UNKNOWN),
    )


def cards_of(analysis: Analysis, folder: Path | None = None) -> Cards:
    """A collector of cards for the numbers of one page; ``folder`` holds the raw files."""
    return Cards(analysis.results, analysis.anchors, analysis.places, folder=folder)


def _lede(first: First, cards: Cards, whole: Models | None) -> Said:
    """The first sentence, with the cards of its figures."""
    links: list[Link] = []
    text = lede(first, cards.citing(links))
    return Said(text, (*links, *(models.sentence(whole).links if whole else ())))


def hero_lines(analysis: Analysis) -> list[hero.Line]:
    """The rows of the first chart."""
    by_place = {(answer.machine, answer.device): answer for answer in analysis.answers}
    return hero.lines(analysis.claims, analysis.climbs, by_place, analysis.shown)


def changes_of(analysis: Analysis, folder: Path | None, whole: Models | None) -> changes.Changes:
    """What differs from the last published version under ``folder``."""
    return changes.changes(folder, changes.figures(analysis, first_of(analysis, whole), whole))


def build(
    analysis: Analysis,
    yours: Yours = NONE,
    your_models: Yours = NONE,
    folder: Path | None = None,
    whole: Models | None = None,
    since: changes.Changes | None = None,
) -> Page:
    """The page of an analysis and of ``whole`` models.

    ``yours`` and ``your_models`` are what runs say that are not published, ``folder`` holds the results, ``since`` what
    changed.
    """
    since = since or changes.Changes()
    results = analysis.results
    cards = cards_of(analysis, folder)
    learnt = accuracy_section.accuracy(folder, analysis.names)
    first = first_of(analysis, whole, learnt)
    marks = cards_of(analysis, folder)
    ways = ladder_chart.panels(analysis.climbs, analysis.shown)
    return Page(
        title=TITLE,
        lede=_lede(first, cards, whole),
        answers=answers_table(first, cards),
        older=answers_table(first, cards, history=True),
        facts=facts(first, cards),
        hero=hero.hero(hero_lines(analysis), CEILING, marks.mark),
        summary=ledger_section.summary(analysis),
        devices=tuple((device.short, device.name) for device in analysis.shown),
        ledger=ledger_section.ledger(analysis, cards, whole),
        notes=ledger_section.notes(analysis, cards, whole),
        model=(models.table(whole) if whole else None) or tables_of_page.model(analysis.shown, first.served, cards),
        accuracy=accuracy_section.figure(learnt),
        curves=curves.charts(analysis.shown_rows, analysis.shown, marks.mark),
        why=waterfalls(analysis, first.served, marks),
        roofline=roofs.roofline(analysis, marks),
        ladder=ladder_chart.chart(ways, marks.mark),
        ladders=ladder_chart.sentences(ways, cards),
        break_even=tables_of_page.break_even(analysis, cards),
        evidence=(*_evidence(analysis), *proofs.sentences(folder)),
        machines=tables_of_page.machines(analysis),
        changed=changes.sentence(since),
        changes=changes.table(since, cards),
        yours=yours.table,
        your_models=your_models.table,
        cards=(*cards.all, *(whole.cards.all if whole else ()), *yours.cards, *your_models.cards, *learnt.all_cards),
        compare=comparing.data(analysis, marks.mark),
        starred=any(device.older for device in analysis.shown),
        marks=marks.all,  # after all that asks for one
        version=_version(),
        date=max((run.started[:10] for run in results.runs.values()), default=""),
        left_out=analysis.left_out,
        files=dictionary.FILES,
    )


def _evidence(analysis: Analysis) -> tuple[str, ...]:
    """How much there is, and how much was refused."""
    results = analysis.results
    totals = analysis.totals
    cells, machines, runs = totals.records, len(results.machines), len(results.runs)
    records = f"{cells} record{'s' * (cells != 1)} of {runs} run{'s' * (runs != 1)} on {machines}"
    said = [f"{records} machine{'s' * (machines != 1)}, each checked against a float64 reference before it was timed."]
    if totals.superseded:
        said.append(f"{totals.superseded} more records are of older sources and stand in no figure.")
    if analysis.refused:
        said.append(f"{len(analysis.refused)} parts of result files were refused (refused.csv).")
    if totals.skipped:
        said.append(f"{totals.skipped} planned cells have no time, each with its reason (skipped.csv).")
    if results.open_jobs:
        owed = sum(len(job.cells) for job in results.open_jobs)
        jobs = f"{len(results.open_jobs)} job{'s' * (len(results.open_jobs) != 1)} of a fleet"
        said.append(f"{jobs} not done; {owed} cells that they should have measured are listed (skipped.csv).")
    return tuple(said)


def _version() -> str:
    try:
        return version("fffbench")
    except PackageNotFoundError:
        return ""
