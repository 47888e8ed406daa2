"""Is it true? A row for each claim, a column for each device, in groups that say what kind of truth it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from fffbench.claims import leaning
from fffbench.claims import rule as verdicts
from fffbench.claims.ledger import load_claims
from fffbench.claims.rows import ClaimRow
from fffbench.report import models
from fffbench.report.analysed import Analysis
from fffbench.report.cards import Cards
from fffbench.report.claim_section import ICONS, claim_views
from fffbench.report.ladder_chart import Panel, panels
from fffbench.report.models import Models
from fffbench.report.sources import source
from fffbench.report.view import LedgerCell, LedgerGroup, LedgerRow, Link, Note
from fffbench.units import number, ratio

SPEEDS, USERS, WIDTHS, COUNTS, UNTESTABLE = (
    "Speeds that were published",
    "Speeds that users reported",
    "A dense layer of 3072 neurons over one of 4095",
    "Arithmetic: counted, not measured",
    "Not testable here",
)
GROUPS = (SPEEDS, USERS, WIDTHS, COUNTS, UNTESTABLE)


def group_of(row: ClaimRow) -> str:
    """The group of a claim."""
    if row.verdict in (verdicts.ARITHMETIC_HOLDS, verdicts.ARITHMETIC_ERROR, verdicts.NOT_TESTABLE):
        return UNTESTABLE if row.verdict == verdicts.NOT_TESTABLE else COUNTS
    if row.id.startswith(("user-", "forum-")):
        return USERS
    return WIDTHS if row.id.startswith("width-") else SPEEDS


def ledger(analysis: Analysis, cards: Cards, whole: Models | None = None) -> tuple[LedgerGroup, ...]:
    """Every claim in its group, in the ledger's order; those about ``whole`` models where they were measured."""
    told = models.measured_claims(whole)
    leans = {
        (place.claim.id, place.machine, place.device): place.leans
        for place in leaning.places(analysis.claims, load_claims())
    }
    rows: dict[str, list[LedgerRow]] = {name: [] for name in GROUPS}
    ways = {panel[0][1].claim: panel for panel in panels(analysis.climbs, analysis.shown)}
    for _, group in groupby(analysis.claims, key=lambda row: row.id):
        found = list(group)
        first = found[0]
        if first.id in told:
            continue
        cells = []
        for device in analysis.shown:
            here = [row for row in found if (row.machine, row.device) == device.place]
            cells.append(_cell(here, device.short, leans.get((first.id, *device.place), ""), cards))
        own = ways.get(first.id, [])
        alone = None
        if not any(cells):
            text = (
                first.reason
                if group_of(first) in (COUNTS, UNTESTABLE)
                else "measured on other machines"
                if first.machine
                else ""
            )
            alone = LedgerCell("", ICONS[first.verdict], first.verdict, text)
        rows[group_of(first)].append(
            LedgerRow(
                first.id, first.published_shown, first.statement, tuple(cells), *_program(found, own, cards), alone
            )
        )
    groups = tuple(LedgerGroup(name, tuple(rows[name])) for name in GROUPS if rows[name])
    return (*models.ledger_group(whole, len(analysis.shown)), *groups)


def _cell(rows: Sequence[ClaimRow], device: str, leans: str, cards: Cards) -> LedgerCell | None:
    if not rows:
        return None
    verdict = rows[0].verdict
    shown = next((row for row in rows if row.conditions == "fair" and row.decides and row.measured), None)
    if shown is None or len(shown.records) < 2:
        text = shown.value_shown if shown else ""
        return LedgerCell(device, ICONS[leans or verdict], verdict, text, leans=leans)
    key = cards.link(shown.measured_shown, *shown.records)
    return LedgerCell(device, ICONS[leans or verdict], verdict, shown.value_shown, key, key, leans)


def _program(rows: Sequence[ClaimRow], panel: Panel, cards: Cards) -> tuple[str, str, str]:
    """What the published program gives once mended, over the page's devices, its verdict where they agree, its card."""
    verdicts_ = list(dict.fromkeys(row.program_mended for row in rows if row.program_mended))
    steps = [(device, climb.mended) for device, climb in panel if climb.mended.speedup]
    gains = [step.speedup or 0 for _, step in steps]
    if not verdicts_ or not gains:
        return "", "", ""
    low, high = f"{number(min(gains))}x", f"{number(max(gains))}x"
    decided = [name for name in verdicts_ if name != verdicts.UNDECIDED]
    icons = " ".join(ICONS[name] for name in decided or verdicts_)
    text = f"{icons} {low if low == high else f'{low} to {high}'}"
    parts = []
    for device, step in steps:
        value = ratio(step.speedup or 0, step.low, step.high)
        parts.append(Link(f"{value}, {device.name}", cards.link(value, *step.records)))
    how = f"{rows[0].published_shown}: what the published program gives here with its mistakes mended, on each device."
    key = cards.derived(text, "The published program, mended", how, parts)
    return text, verdicts_[0] if len(verdicts_) == 1 else "", key


def notes(analysis: Analysis, cards: Cards, whole: Models | None = None) -> tuple[Note, ...]:
    """What is said of each claim, for its card."""
    told = models.measured_claims(whole)
    found = tuple(
        Note(
            f"claim-{view.id}",
            view.shown,
            view.statement,
            source(view.source),
            view.confidence,
            (Link(view.note),) if view.note else (),
            view.findings,
            view.command,
        )
        for view in claim_views(analysis, (), {}, cards.link_or_samples)
        if view.id not in told
    )
    return (*found, *models.notes(whole))


def summary(analysis: Analysis) -> str:
    """How many verdicts of each kind there are, one for each claim, machine and device that can test it."""
    counted = Counter({(row.id, row.machine, row.device): row.verdict for row in analysis.claims}.values())
    said = ", ".join(f"{counted[name]} {verdicts.in_words(name)}" for name in verdicts.VERDICTS if name in counted)
    claims = len({row.id for row in analysis.claims})
    return (
        f"{counted.total()} verdicts on {claims} published claims (one on each machine and device that can test it): "
        f"{said}."
    )
