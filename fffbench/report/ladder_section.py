"""How is the way from a published benchmark to a fair one told? One table per figure and machine, a line a rung."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fffbench.analysis.fidelity import Climb, Step, written_change
from fffbench.devices import threads_text
from fffbench.report.anchors import Anchors
from fffbench.report.view import Cell, LadderView, Table
from fffbench.units import number, ratio, seconds

CSV = "ladder.csv"
CSV_COLUMNS = (
    "claim", "published", "machine", "device", "batch", "threads", "arrival", "residual", "rung", "mended",
    "fff", "dense", "time", "dense_time", "speedup", "low", "high", "fff_factor", "dense_factor", "wrong", "missing",
    "records",
)  # fmt: skip


def ladders(climbs: Sequence[Climb], anchors: Anchors, names: Mapping[tuple[str, str], str]) -> list[LadderView]:
    """One view per figure and machine, in the ledger's order; a column for each batch and thread count."""
    grouped: dict[tuple[str, str, str], list[Climb]] = {}
    for climb in climbs:
        grouped.setdefault((climb.claim, climb.machine, climb.device), []).append(climb)
    found = []
    for index, ((claim, machine, device), group) in enumerate(grouped.items()):
        first = group[0]
        found.append(
            LadderView(
                claim,
                f"{number(first.published)}x: {first.title}",
                names[machine, device],
                tuple(climb.sentence for climb in group),
                _table(group, anchors, f"ladder{index}"),
                "fffbench run --preset fidelity",
            )
        )
    return found


def _table(group: Sequence[Climb], anchors: Anchors, table_id: str) -> Table:
    published = (
        Cell("as published", "elsewhere"),
        *(Cell(f"{number(climb.published)}x", words=True) for climb in group),
    )
    rows: list[tuple[Cell, ...]] = [published]
    for index, step in enumerate(group[0].steps):
        rows.append(
            (
                Cell(f"{index + 1}. {'as shipped, here' if index == 0 else step.mended}", _kind(step)),
                *(_cell(climb.steps[index], anchors, climb.arrival if index == 0 else None) for climb in group),
            )
        )
    rows.append((Cell("residual", "ratio at the end over the product of all factors"), *map(_residual, group)))
    head = ("From the publication to a fair comparison", *(_place(climb) for climb in group))
    return Table(table_id, head, (False, *(True for _ in group)), tuple(rows), CSV)


def _place(climb: Climb) -> str:
    threads = threads_text(climb.device, climb.threads, ", ")
    return f"batch {climb.batch}{threads}"


def _kind(step: Step) -> str:
    if not step.mistake:
        return "ours"
    return "wrong on purpose" if step.wrong else "right"


def _residual(climb: Climb) -> Cell:
    if climb.residual is None:
        return Cell("a rung is missing", words=True)
    return Cell(number(climb.residual))


def _cell(step: Step, anchors: Anchors, arrival: float | None) -> Cell:
    """One rung; ``arrival`` is what leads from the published figure to the first."""
    if step.speedup is None:
        return Cell(f"not measured: {step.missing}", words=True)
    factor = step.factor if arrival is None else arrival
    changed = "" if factor is None else f"{written_change(factor)}; "
    small = f"{changed}{step.ours} {seconds(step.time or 0)}, {step.dense} {seconds(step.dense_time or 0)}"
    link, beside = (anchors.get(record, "") for record in (step.records[0], step.records[-1]))
    value = ratio(step.speedup, step.low, step.high)
    return Cell(value, small, link, quantity=anchors.quantity(*step.records), beside=beside)


def csv_rows(climbs: Sequence[Climb]) -> list[dict[str, object]]:
    """Every rung of every ladder as one flat row."""
    rows: list[dict[str, object]] = []
    for climb in climbs:
        for index, step in enumerate(climb.steps, start=1):
            shared = {name: getattr(climb, name) for name in CSV_COLUMNS[:8]}
            own = {name: getattr(step, name) for name in ("mended", "dense", "time", "dense_time", "speedup", "low")}
            more = {"fff": step.ours, "fff_factor": step.ours_factor, "rung": index}
            last = {name: getattr(step, name) for name in ("high", "dense_factor", "wrong", "missing", "records")}
            rows.append(shared | own | more | last)
    return rows
