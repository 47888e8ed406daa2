"""Is it true? A row for each claim, a column for each device, in groups that say what kind of truth it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from fffbench.analysis.fidelity import Climb
from fffbench.claims import leaning
from fffbench.claims import rule as verdicts
from fffbench.claims.ledger import load_claims
from fffbench.claims.rows import ClaimRow
from fffbench.report.analysed import Analysis
from fffbench.report.cards import Cards
from fffbench.report.claim_section import ICONS, claim_views
from fffbench.report.ladder_chart import panels
from fffbench.report.sources import source
from fffbench.report.view import LedgerCell, LedgerGroup, LedgerRow, Note
from fffbench.units import number

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


def ledger(analysis: Analysis, cards: Cards) -> tuple[LedgerGroup, ...]:
    """Every claim in its group, in the ledger's order."""
    leans = {
        (place.claim.id, place.machine, place.device): place.leans
        for place in leaning.places(analysis.claims, load_claims())
    }
    rows: dict[str, list[LedgerRow]] = {name: [] for name in GROUPS}
    ways = {panel[0][1].claim: panel for panel in panels(analysis.climbs, analysis.shown)}
    for _, group in groupby(analysis.claims, key=lambda row: row.id):
        found = list(group)
        first = found[0]
        cells = []
        for device in analysis.shown:
            here = [row for row in found if (row.machine, row.device) == device.place]
            cells.append(_cell(here, device.short, leans.get((first.id, *device.place), ""), cards))
        own = [panel[1] for panel in ways.get(first.id, [])]
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
            LedgerRow(first.id, first.published_shown, first.statement, tuple(cells), *_program(found, own), alone)
        )
    return tuple(LedgerGroup(name, tuple(rows[name])) for name in GROUPS if rows[name])


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


def _program(rows: Sequence[ClaimRow], climbs: Sequence[Climb]) -> tuple[str, str]:
    """What the published program gives once mended, over the page's devices, and its verdict where they agree."""
    verdicts_ = list(dict.fromkeys(row.program_mended for row in rows if row.program_mended))
    gains = [climb.mended.speedup for climb in climbs if climb.mended.speedup]
    if not verdicts_ or not gains:
        return "", ""
    low, high = f"{number(min(gains))}x", f"{number(max(gains))}x"
    icons = " ".join(ICONS[name] for name in verdicts_)
    return f"{icons} {low if low == high else f'{low} to {high}'}", verdicts_[0] if len(verdicts_) == 1 else ""


def notes(analysis: Analysis, cards: Cards) -> tuple[Note, ...]:
    """What is said of each claim, for its card."""
    return tuple(
        Note(
            f"claim-{view.id}",
            view.shown,
            view.statement,
            source(view.source),
            view.confidence,
            (view.note,) if view.note else (),
            view.findings,
            view.command,
        )
        for view in claim_views(analysis, (), {}, cards.link)
    )


def summary(analysis: Analysis) -> str:
    """How many verdicts of each kind there are, one for each claim, machine and device that can test it."""
    counted = Counter({(row.id, row.machine, row.device): row.verdict for row in analysis.claims}.values())
    said = ", ".join(f"{counted[name]} {name}" for name in verdicts.VERDICTS if name in counted)
    claims = len({row.id for row in analysis.claims})
    return (
        f"{counted.total()} verdicts on {claims} published claims (one on each machine and device that can test it): "
        f"{said}."
    )
