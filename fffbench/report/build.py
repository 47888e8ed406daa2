"""What do these results put on the page? Analysis in, view model out."""

from __future__ import annotations

from collections.abc import Sequence

from fffbench.analysis import claims as verdicts
from fffbench.analysis.breakeven import BreakEven
from fffbench.analysis.headline import headline, machine_name
from fffbench.report import forest, history_section
from fffbench.report.analysed import Analysis
from fffbench.report.claim_section import claim_views
from fffbench.report.machine_section import fingerprints, machine_views
from fffbench.report.maps import width_by_batch
from fffbench.report.samples import medians_text, strip
from fffbench.report.view import Cell, Figure, Page, SampleRow, Table
from fffbench.report.waterfall import waterfall
from fffbench.results.store import Results
from fffbench.units import number, seconds

TITLE = "How fast are fast feedforward networks?"
CEILING = 4095 / 12
FILES = (
    ("claims.csv", "every claim, machine and set of conditions with its verdict"),
    ("speedup.csv", "every speed-up with interval, both sides' times and record ids"),
    ("cells.csv", "every record: time, interval, error, share of the roofline"),
    ("samples.csv", "every raw sample, by record and process"),
    ("breakeven.csv", "where each curve meets 1x, 78x and 341x"),
    ("history.csv", "every point of asv's history with its steps"),
    ("skipped.csv", "every planned cell without a time, with the reason"),
    ("machines.csv", "every machine's fingerprint and measured ceilings"),
    ("refused.csv", "what could not be read"),
)


def build(analysis: Analysis) -> Page:
    """The page of an analysis."""
    results = analysis.results
    return Page(
        title=TITLE,
        headline=headline(results, analysis.rows),
        summary=_summary(analysis),
        hero=forest.forest(analysis.claims, CEILING, places(analysis)),
        claims=tuple(claim_views(analysis)),
        machines=tuple(machine_views(analysis)),
        why=_why(analysis),
        break_even=_break_even(analysis.crossings),
        maps=_maps(analysis),
        history=history_section.figures(analysis.history, _names(results)),
        history_table=history_section.table(analysis.history, _names(results), analysis.history_note),
        skipped=_skipped(results),
        fingerprints=tuple(fingerprints(results)),
        refused=tuple(refusal.line for refusal in results.refused),
        samples=tuple(_samples(analysis)),
        files=FILES,
    )


def _summary(analysis: Analysis) -> str:
    """How much evidence there is, and what became of the claims."""
    results = analysis.results
    counted: dict[str, set[str]] = {}
    for row in analysis.claims:
        counted.setdefault(row.verdict, set()).add(row.id)
    said = ", ".join(f"{len(counted[name])} {name}" for name in verdicts.VERDICTS if name in counted)
    cells, machines = len(results.records), len(results.machines)
    claims = len({row.id for row in analysis.claims})
    return (
        f"{cells} cell{'s' * (cells != 1)} on {machines} machine{'s' * (machines != 1)}, each checked against a "
        f"float64 reference before it was timed. The {claims} published claims came out so: {said}."
    )


def _why(analysis: Analysis) -> tuple[Figure, ...]:
    """One waterfall per machine, device and dtype of the headline."""
    found = []
    for index, item in enumerate(analysis.attributions):
        machine = machine_name(analysis.results.machines[item.machine], item.device)
        found.append(waterfall(item, f"why{index}", f"{machine}, {item.dtype}"))
    return tuple(found)


def _maps(analysis: Analysis) -> tuple[Figure, ...]:
    """Width by batch, one map per machine and device that measured several widths."""
    places = sorted({(row.machine, row.device) for row in analysis.rows})
    found = []
    for index, (machine, device) in enumerate(places):
        rows = [row for row in analysis.rows if (row.machine, row.device) == (machine, device)]
        title = machine_name(analysis.results.machines[machine], device)
        found.append(width_by_batch(rows, f"map{index}", title))
    return tuple(figure for figure in found if figure)


def places(analysis: Analysis) -> dict[tuple[str, str], str]:
    """What a reader calls each measured machine and device."""
    found = sorted({(record.machine, record.cell.workload.device) for record in analysis.results.records})
    return {(name, device): machine_name(analysis.results.machines[name], device) for name, device in found}


def _names(results: Results) -> dict[str, str]:
    """What a reader calls each machine."""
    return {
        name: machine_name(machine, "cuda" if machine_name(machine, "cuda") != name else "cpu")
        for name, machine in results.machines.items()
    }


def _break_even(crossings: Sequence[BreakEven]) -> Table | None:
    if not crossings:
        return None
    rows = []
    for item in crossings:
        met = _met(item)
        sure = str(item.sure_from) if item.sure_from is not None else "not reached"
        best = f"{number(item.best)}x at batch {item.best_batch}"
        rows.append(
            (
                Cell(item.machine),
                Cell(item.device),
                Cell(item.dtype),
                Cell(f"{item.d}→{item.n}, {item.trees}x{item.levels}"),
                Cell(f"{item.target:g}x"),
                Cell(met, words=item.batch is None),
                Cell(sure, words=item.sure_from is None),
                Cell(best),
            )
        )
    return Table(
        "break-even-table",
        (
            "Machine",
            "Device",
            "Type",
            "Layer",
            "Target",
            "First met at batch",
            "Whole interval above from batch",
            "Best",
        ),
        (False, False, False, False, True, True, True, True),
        tuple(rows),
        "breakeven.csv",
        "FFF over best dense at each side's fastest thread count; cold caches, bare kernel, uniform routing. "
        "Between two measured batches the crossing is interpolated; nothing is extrapolated.",
    )


def _met(item: BreakEven) -> str:
    if item.batch is None:
        return "not reached"
    return f"about {number(item.batch)}" if item.interpolated else f"{item.batch:.0f}, the smallest measured"


def _skipped(results: Results) -> Table | None:
    rows = tuple(
        (Cell(item.machine), Cell(item.cell.id), Cell(item.reason, words=True), Cell(item.run))
        for item in results.skipped
    )
    if not rows:
        return None
    return Table("skipped", ("Machine", "Cell", "Reason", "Run"), (False,) * 4, rows, "skipped.csv", filterable=True)


def _samples(analysis: Analysis) -> list[SampleRow]:
    found: list[SampleRow] = []
    for record in analysis.results.records:
        time = analysis.times[record.id]
        notes = "; ".join(record.info.notes)
        if record.provisional:
            planned = record.info.planned_processes
            notes = f"provisional: {len(record.info.processes)} of {planned} processes. {notes}".strip()
        found.append(
            SampleRow(
                analysis.anchors[record.id],
                record.cell.id,
                f"{record.machine}, run {record.run}",
                seconds(time.value),
                medians_text(record),
                strip(record.info.processes),
                notes,
            )
        )
    return found
