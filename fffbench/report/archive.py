"""What does the archive hold? Every row of the page's machines with its samples: ``all.html``, in the page's order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from fffbench.analysis.breakeven import BreakEven
from fffbench.report import history_section, ladder_section, regression_section
from fffbench.report.analysed import Analysis
from fffbench.report.claim_section import claim_views, claims_table
from fffbench.report.machine_section import fingerprints, machine_views
from fffbench.report.models import Models, archived
from fffbench.report.raw import raw_files
from fffbench.report.samples import medians_text, strip
from fffbench.report.view import Archive, Card, Cell, RunView, SampleRow, Table
from fffbench.units import number, seconds


def archive(
    analysis: Analysis, whole: Models | None = None, folder: Path | None = None, marks: Sequence[Card] = ()
) -> Archive:
    """The archive of an analysis with the cards of the charts' ``marks``.

    ``analysis.shown`` says whose rows and samples it holds, ``folder`` the raw files.
    """
    results = analysis.results
    samples = _samples(analysis)
    climbs = [climb for climb in analysis.climbs if climb.machine in analysis.machines]
    told = ladder_section.ladders(climbs, analysis.anchors, analysis.places)

    def link(_value: str, record: str, *_baseline: str) -> str:
        return analysis.anchors.get(record, "")

    views = claim_views(analysis, told, {row.anchor: row for row in samples}, link)
    tables = (_break_even(analysis, axis) for axis in ("batch", "neurons"))
    of_models = archived(whole)
    return Archive(
        claims=tuple(views),
        claims_table=claims_table(views),
        machines=tuple(machine_views(analysis)),
        ladders=tuple(told),
        break_even=tuple(table for table in tables if table is not None),
        history=history_section.figures(analysis.history, analysis.names),
        history_table=history_section.table(analysis.history, analysis.names),
        regressions=regression_section.table(results.checks, analysis.names),
        skipped=_skipped(analysis),
        fingerprints=tuple(fingerprints(analysis)),
        refused=tuple(refusal.line for refusal in analysis.refused),
        samples=tuple(samples),
        left_out=analysis.left_out,
        models=of_models,
        cards=(*(whole.cards.all if whole else ()), *marks),
        runs=_runs(analysis, folder),
    )


def _runs(analysis: Analysis, folder: Path | None) -> dict[str, RunView]:
    """The runs whose samples are here, by what a row of samples calls them."""
    return {
        _named(run.machine.id, run.id): RunView(
            f"{analysis.names[run.machine.id]}, run {run.id}",
            f"{run.preset}, {run.started[:10]}, {run.sources}",
            raw_files(run.paths, folder),
            f"machine-{run.machine.id}",
        )
        for run in analysis.results.runs.values()
        if run.machine.id in analysis.machines
    }


def _named(machine: str, run: str) -> str:
    return f"{machine}, run {run}"


def _break_even(analysis: Analysis, axis: str) -> Table | None:
    head = "batch" if axis == "batch" else "width"
    cells = {record.id: record.cell.workload for record in analysis.results.records}
    rows = []
    for item in analysis.crossings:
        if item.axis != axis or item.machine not in analysis.machines:
            continue
        sure = str(item.sure_from) if item.sure_from is not None else "not reached"
        curve = [(cells[name], analysis.anchors[name]) for name in item.records]
        points = {work.batch if axis == "batch" else work.shape.n: anchor for work, anchor in curve}
        rows.append(
            (
                Cell(item.fixed, f"{analysis.places[item.machine, item.device]}, {item.dtype}"),
                Cell(f"{item.target:g}x", words=True),
                _met(item, points),
                Cell(sure, link=points.get(item.sure_from or 0, ""), words=item.sure_from is None),
                Cell(f"{number(item.best)}x", f"at {item.best_at}", points[item.best_at]),
            )
        )
    if not rows:
        return None
    what = "layer" if axis == "batch" else "tree and batch"
    return Table(
        f"break-even-{axis}",
        (what.capitalize(), "Target", f"First met at {head}", f"Whole interval above from {head}", "Best"),
        (False, True, True, True, True),
        tuple(rows),
        "breakeven.csv",
        f"Along the {head}, for each {what}: FFF over best dense at each side's fastest thread count; cold caches, "
        "uniform routing. Interpolated: the curve crosses the target between two measured places, on logarithmic "
        "axes; nothing is extrapolated.",
        filterable=True,
    )


def _met(item: BreakEven, points: Mapping[int, str]) -> Cell:
    """Where it is met, with the samples of the measured places before and after: ``points`` has those of each."""
    if item.first is None:
        return Cell(f"not reached up to {item.measured_to}", words=True)
    if not item.interpolated:
        return Cell(f"{item.first:.0f}", "the smallest measured", points[min(points)])
    before = max(place for place in points if place <= item.first)
    after = min(place for place in points if place >= item.first)
    small = f"interpolated, between {before} and {after}"
    return Cell(f"about {item.first:.0f}", small, points[after], f"{item.first:.6g}", beside=points[before])


def _skipped(analysis: Analysis) -> Table | None:
    """Planned cells without a time, of the machines that are here, and what jobs of a fleet owe."""
    results = analysis.results
    elsewhere = {machine for machine, _ in analysis.places} - analysis.machines
    rows = tuple(
        (Cell(item.machine), Cell(item.cell.id), Cell(item.reason, words=True), Cell(item.run))
        for item in results.skipped
        if item.machine not in elsewhere
    )
    more = analysis.totals.skipped_elsewhere
    caption = f"skipped.csv has {more} more, of machines without a column." if more else ""
    rows += tuple(
        (Cell(f"class {job.class_name}"), Cell(cell), Cell(job.reason, words=True), Cell(f"job {job.name}"))
        for job in results.open_jobs
        for cell in job.cells
    )
    if not rows:
        return None
    head = ("Machine", "Cell", "Reason", "Run")
    return Table("skipped", head, (False,) * 4, rows, "skipped.csv", caption, filterable=True)


def _samples(analysis: Analysis) -> list[SampleRow]:
    found: list[SampleRow] = []
    machines = analysis.machines
    for record in analysis.results.records:
        if record.machine not in machines:
            continue
        time = analysis.times[record.id]
        notes = "; ".join(record.info.notes)
        if record.provisional:
            planned = record.info.planned_processes
            notes = f"provisional: {len(record.info.processes)} of {planned} processes. {notes}".strip()
        found.append(
            SampleRow(
                analysis.anchors[record.id],
                record.cell.id,
                _named(record.machine, record.run),
                seconds(time.value),
                medians_text(record.info.processes),
                strip(record.info.processes),
                notes,
            )
        )
    return found
