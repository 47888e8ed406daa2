"""How is each claim told: what was said, what was measured, the verdict?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

from fffbench.analysis.headline import machine_name
from fffbench.analysis.rivals import tried_text
from fffbench.claims import rule as verdicts
from fffbench.claims.rows import ClaimRow
from fffbench.devices import HOST, threads_text
from fffbench.report.analysed import Analysis
from fffbench.report.view import Cell, ClaimView, Finding, LadderView, SampleRow, Table
from fffbench.results.store import Results

ICONS = {
    verdicts.REPRODUCED: "✓",
    verdicts.EXCEEDED: "✓+",
    verdicts.PROTOCOL_ONLY: "◐",
    verdicts.NOT_REPRODUCED: "✗",
    verdicts.ARITHMETIC_HOLDS: "=",
    verdicts.ARITHMETIC_ERROR: "≠",
    verdicts.UNDECIDED: "?",
    verdicts.NOT_MEASURED: "·",
    verdicts.NOT_TESTABLE: "·",
}
LAYER = "The layer, best against best"
PROGRAM = "The published program"
CONFIDENCE = {
    "confirmed": "confirmed in the source",
    "secondary": "from a secondary source",
    "recalled": "recalled, unconfirmed",
    "derived": "derived by arithmetic",
}


Link = Callable[..., str]  # of a value, its record and its baseline's


def claim_views(
    analysis: Analysis, ladders: Sequence[LadderView], samples: Mapping[str, SampleRow], link: Link
) -> list[ClaimView]:
    """Every claim in the ledger's order, with its ladders and the samples of the records its values rest on."""
    found = []
    places = {(None, None), *(device.place for device in analysis.shown)}
    for claim_id, group in groupby(analysis.claims, key=lambda row: row.id):
        rows = list(group)
        first = rows[0]
        findings = []
        rows = [row for row in rows if (row.machine, row.device) in places]
        for machine, of_machine in groupby(rows, key=lambda row: (row.machine, row.device)):
            items = list(of_machine)
            findings.append(
                Finding(
                    machine=_place(analysis.results, *machine),
                    verdict=items[0].verdict,
                    icon=ICONS[items[0].verdict],
                    published=_measured(items, "published", analysis, link),
                    fair=_measured(items, "fair", analysis, link),
                    reason=_reason(items),
                    difference=items[0].difference,
                    program=_program(items[0]),
                )
            )
        found.append(
            ClaimView(
                claim_id,
                first.statement,
                first.published_shown,
                first.source,
                CONFIDENCE[first.confidence],
                first.note,
                first.command,
                tuple(findings),
                tuple(ladder for ladder in ladders if ladder.claim == claim_id),
                tuple(
                    samples[analysis.anchors[name]]
                    for name in dict.fromkeys(n for row in rows for n in row.records)
                    if analysis.anchors[name] in samples
                ),
            )
        )
    return found


def _program(row: ClaimRow) -> Cell | None:
    """The verdicts on the published program, in the colour of the mended one; None where it was not measured.

    What a program reaches by its mistakes is no success, so that verdict colours nothing.
    """
    if not row.program:
        return None
    shipped, mended = row.program_shipped, row.program_mended
    main = f"as shipped {ICONS[shipped]} {shipped}, mended {ICONS[mended]} {mended}"
    return Cell(main, row.program, badge=mended, beside=f"claim-{row.id}")


def claims_table(views: Sequence[ClaimView]) -> Table | None:
    """The ledger at a glance: a line per claim and machine, to sort and to filter; details follow it."""
    rows = []
    for view in views:
        for finding in view.findings:
            reason = "" if finding.fair or finding.published else finding.reason
            rows.append(
                (
                    Cell(view.shown, link=f"claim-{view.id}"),
                    Cell(view.statement, view.confidence),
                    Cell(f"{finding.icon} {finding.verdict}", finding.machine, badge=finding.verdict),
                    finding.program or Cell(),
                    Cell(reason, words=True) if reason else _first(finding.published),
                    Cell() if reason else _first(finding.fair),
                )
            )
    if not rows:
        return None
    head = ("Published", "Claim", LAYER, PROGRAM, "Published conditions", "Fair conditions")
    return Table(
        "claims-table", head, (True, False, False, False, True, True), tuple(rows), "claims.csv", filterable=True
    )


def _first(values: Sequence[Cell]) -> Cell:
    return values[0] if values else Cell("not measured here", words=True)


def _reason(rows: Sequence[ClaimRow]) -> str:
    """The reason beside the numbers: where there are some, only what they must reach, for they say the rest."""
    first = rows[0]
    if all(row.measured is None for row in rows) or first.machine is None:
        return first.lacking or first.reason
    missing = [row.conditions for row in rows if row.measured is None]
    unmeasured = f" The {missing[0]} conditions were not measured here." if missing else ""
    reached = f"Counts as reached from {first.band_shown}."
    return " ".join(filter(None, (first.with_tf32, reached + unmeasured, first.lacking)))


def _place(results: Results, machine: str | None, device: str | None) -> str:
    if machine is None:
        return ""
    return f"{machine_name(results.machines[machine], device or HOST)} ({device})"


def _measured(rows: Sequence[ClaimRow], conditions: str, analysis: Analysis, link: Link) -> tuple[Cell, ...]:
    cells = []
    for row in rows:
        if row.conditions != conditions or not row.measured_shown or row.machine is None:
            continue
        thin = ", provisional" if row.provisional else ""
        threads = threads_text(row.device or HOST, row.threads, ", ")
        if row.baseline_threads not in (None, row.threads) and threads:
            threads += f" against {row.baseline_threads}"
        batch = f", batch {row.batch}" if row.batch not in (None, rows[0].claimed_batch) else ""
        tried = "" if row.tried is None else f"; {tried_text(row.tried, row.not_measured)}"
        sides = row.implementation or ""
        if row.baseline:
            sides += f" over {row.baseline_implementation} ({row.baseline}{tried})"
        small = f"{sides}{threads}{batch}{thin}"
        value, quantity = row.measured_shown, analysis.anchors.quantity(*row.records)
        cells.append(Cell(value, small, link(value, *row.records), quantity=quantity))
    return tuple(cells)
