"""The command that judges every published claim: ``claims``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fffbench.cli import loading, selecting, tables
from fffbench.cli.shared import Json, ResultsDir

if TYPE_CHECKING:
    from fffbench.claims.leaning import Place
    from fffbench.claims.rows import ClaimRow

SHORT = {"reproduced-under-published-protocol-only": "only as published"}
LEANS = "? undecided, and leans that way; `fffbench todo` says what would settle it"
ON_PAPER = "on paper"  # instead of a machine
Claim = Annotated[str | None, typer.Option("--claim", help="comma-separated ids of claims")]


def claims(
    results: ResultsDir = Path("results"),
    claim: Claim = None,
    verdict: Annotated[str | None, typer.Option(help="comma-separated verdicts")] = None,
    machine: selecting.Machine = None,
    device: selecting.Device = None,
    dtype: selecting.Dtype = None,
    batch: selecting.Batch = None,
    impl: selecting.Implementation = None,
    threads: selecting.Threads = None,
    why: Annotated[bool, typer.Option("--why", help="the reason of each verdict in full, a paragraph each")] = False,
    sort: selecting.Sort = None,
    markdown: selecting.Markdown = False,
    as_csv: selecting.Csv = False,
    as_json: Json = False,
) -> None:
    """Judge every published claim against the results: a line for each claim and machine."""
    from fffbench.claims.judging import judge_all
    from fffbench.claims.leaning import places
    from fffbench.claims.ledger import load_claims
    from fffbench.claims.rule import VERDICTS

    selecting.one_form(as_json=as_json, as_markdown=markdown, as_csv=as_csv)
    ledger = load_claims()
    ids = selecting.names("claim", "--claim", claim, (item.id for item in ledger))
    verdicts = selecting.names("verdict", "--verdict", verdict, VERDICTS)
    holds = selecting.on_axes(device, dtype, batch)
    counts = selecting.threads(threads)
    loaded = loading.load(results)
    machines = selecting.machines(machine, loaded.machines)
    rows = judge_all(loaded, claims=ledger)
    known = {row.implementation for row in rows if row.implementation}
    implementations = selecting.names("implementation in these rows", "--impl", impl, known)
    dtypes = {item.id: item.workload.dtype for item in ledger if item.workload}
    rows = [
        row
        for row in rows
        if selecting.within(row.id, ids)
        and selecting.within(row.verdict, verdicts)
        and selecting.within(row.machine, machines)
        and holds(row.device, dtypes.get(row.id), row.batch)
        and selecting.within(row.implementation, implementations)
        and selecting.within(row.threads, counts)
    ]
    if as_json or as_csv:
        selecting.print_rows([row.to_json() for row in selecting.ordered(rows, sort, _row_keys())], as_json=as_json)
        return
    _print(selecting.ordered(places(rows, ledger), sort, _keys()), why=why, markdown=markdown)


def _row_keys() -> dict[str, Callable[[ClaimRow], Any]]:
    return {
        "claim": lambda row: row.id,
        "published": lambda row: row.published,
        "measured": lambda row: row.measured,
        "verdict": lambda row: row.verdict,
        "machine": lambda row: row.machine,
    }


def _keys() -> dict[str, Callable[[Place], Any]]:
    return {
        "claim": lambda place: place.claim.id,
        "published": lambda place: place.claim.published,
        "measured": lambda place: None if place.fair is None else place.fair.measured,
        "verdict": lambda place: place.verdict,
        "machine": lambda place: place.machine,
    }


def verdict_text(place: Place) -> str:
    """The verdict in few words; of an undecided one that leans, which it will probably get, marked by ``?``."""
    name = place.leans or place.verdict
    words = SHORT.get(name, name.replace("-", " "))
    return f"? {words}" if place.leans else words


def _columns(*, why: bool) -> list[tables.Column[Place]]:
    def measured(row: ClaimRow | None) -> str:
        if row is None:
            return "-"
        if row.baseline is None:
            return row.measured_shown or "-"
        return tables.gain(row.measured, row.low, row.high, provisional=row.provisional)

    def sides(place: Place) -> str:
        row = place.fair or place.published
        return "" if row is None or not row.records else f"{row.implementation} over {row.baseline_implementation}"

    columns: list[tables.Column[Place]] = [
        tables.Column("claim", lambda place: place.claim.id),
        tables.Column("published", lambda place: place.claim.shown, right=True),
        tables.Column("verdict", verdict_text, worth=99),
        tables.Column("fair conditions", lambda place: measured(place.fair), right=True, worth=90),
        tables.Column("as published", lambda place: measured(place.published), right=True, worth=80),
        tables.Column("fair sides", sides, worth=50),
    ]
    if why:
        return [*columns[:3], tables.Column("why", lambda place: _why(place.rows[0]), wraps=True)]
    return columns


def _why(row: ClaimRow) -> str:
    program = f" The published program: as shipped {row.program_shipped}, mended {row.program_mended}. {row.program}"
    return f"{row.reason}{program if row.program else ''}"


def _print(found: Sequence[Place], *, why: bool, markdown: bool) -> None:
    if not found:
        print("no claim")
        return
    groups: dict[str, list[Place]] = defaultdict(list)
    for place in found:
        nowhere = "on no machine" if place.claim.measurable else ON_PAPER
        groups[f"{place.machine} ({place.device})" if place.machine else nowhere].append(place)
    notes = ["--why gives the reason of each, --csv every ratio with its conditions"]
    notes += [LEANS] if any(place.leans for place in found) else []
    if any(row.provisional for place in found for row in (place.fair, place.published) if row):
        notes.append(tables.PROVISIONAL)
    made = [tables.Table(title, rows) for title, rows in groups.items()]
    selecting.print_tables(made, _columns(why=why), notes, as_markdown=markdown)
