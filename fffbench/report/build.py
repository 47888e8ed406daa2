"""What do these results put on the page? Analysis in, view model out."""

from __future__ import annotations

from collections import Counter

from fffbench.analysis import rule as verdicts
from fffbench.analysis.breakeven import BreakEven
from fffbench.analysis.headline import headline, machine_name
from fffbench.devices import main_device
from fffbench.report import forest, history_section, ladder_section, regression_section
from fffbench.report.analysed import Analysis
from fffbench.report.claim_section import claim_views, claims_table
from fffbench.report.machine_section import fingerprints, machine_views
from fffbench.report.maps import width_by_batch
from fffbench.report.samples import medians_text, strip
from fffbench.report.view import Cell, Figure, Page, SampleRow, Table
from fffbench.report.waterfall import waterfall
from fffbench.results.store import Results
from fffbench.units import number, percent, seconds

TITLE = "How fast are fast feedforward networks?"
CEILING = 4095 / 12
FILES = (
    ("claims.csv", "every claim, machine and set of conditions with its verdict"),
    ("speedup.csv", "every speed-up with interval, both sides' times and record ids"),
    ("cells.csv", "every record: time, interval, error, share of the roofline"),
    ("samples.csv", "every raw sample, by record and process"),
    ("breakeven.csv", "where each curve over batches or widths meets 1x, 78x and 341x"),
    ("savings.csv", "tokens per second per device, dense against FFF"),
    ("attribution.csv", "every factor between the ceiling and a measured speed-up, for every cell"),
    ("ladder.csv", "every rung from a published benchmark to the fair comparison"),
    ("history.csv", "every point of asv's history with its steps"),
    ("regressions.csv", "every case of every regression check"),
    ("skipped.csv", "every planned cell without a time, with the reason"),
    ("machines.csv", "every machine's fingerprint and measured ceilings"),
    ("refused.csv", "what could not be read"),
)


def build(analysis: Analysis) -> Page:
    """The page of an analysis."""
    results = analysis.results
    samples = _samples(analysis)
    climbed = ladder_section.ladders(analysis.climbs, analysis.anchors, places(analysis))
    views = claim_views(analysis, climbed, {row.anchor: row for row in samples})
    return Page(
        title=TITLE,
        headline=headline(results, analysis.rows),
        summary=_summary(analysis),
        hero=forest.forest(analysis.claims, CEILING, places(analysis)),
        claims=tuple(views),
        claims_table=claims_table(views),
        machines=tuple(machine_views(analysis)),
        why=_why(analysis),
        ladders=tuple(climbed),
        break_even=tuple(table for axis in ("batch", "neurons") if (table := _break_even(analysis, axis)) is not None),
        savings=_savings(analysis),
        maps=_maps(analysis),
        history=history_section.figures(analysis.history, _names(results)),
        history_table=history_section.table(analysis.history, _names(results), analysis.history_note),
        regressions=regression_section.table(results.checks, _names(results)),
        skipped=_skipped(results),
        fingerprints=tuple(fingerprints(results, analysis.ceilings)),
        refused=tuple(refusal.line for refusal in results.refused),
        samples=tuple(samples),
        files=FILES,
    )


def _summary(analysis: Analysis) -> str:
    """How much evidence there is, and what became of the claims."""
    results = analysis.results
    counted = Counter({(row.id, row.machine, row.device): row.verdict for row in analysis.claims}.values())
    said = ", ".join(f"{counted[name]} {name}" for name in verdicts.VERDICTS if name in counted)
    cells, machines = len(results.records), len(results.machines)
    claims = len({row.id for row in analysis.claims})
    return (
        f"{cells} record{'s' * (cells != 1)} on {machines} machine{'s' * (machines != 1)}, each checked against a "
        f"float64 reference before it was timed. {counted.total()} verdicts on {claims} published claims (one on each "
        f"machine and device that can test it): {said}."
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
    return {name: machine_name(machine, main_device(machine.stable)) for name, machine in results.machines.items()}


def _break_even(analysis: Analysis, axis: str) -> Table | None:
    named = places(analysis)
    head = "batch" if axis == "batch" else "width"
    rows = []
    for item in analysis.crossings:
        if item.axis != axis:
            continue
        sure = str(item.sure_from) if item.sure_from is not None else "not reached"
        rows.append(
            (
                Cell(item.fixed, f"{named[item.machine, item.device]}, {item.dtype}"),
                Cell(f"{item.target:g}x"),
                _met(item),
                Cell(sure, words=item.sure_from is None),
                Cell(f"{number(item.best)}x", f"at {item.best_at}"),
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


def _met(item: BreakEven) -> Cell:
    if item.first is None:
        return Cell(f"not reached up to {item.measured_to}", words=True)
    if item.interpolated:
        return Cell(f"about {item.first:.0f}", "interpolated", sort=f"{item.first:.6g}")
    return Cell(f"{item.first:.0f}", "the smallest measured")


def _savings(analysis: Analysis) -> Table | None:
    named = places(analysis)
    rows = []
    for item in analysis.savings:
        dense, fff = f"{item.dense_tokens:.3g}", f"{item.fff_tokens:.3g}"
        interval = "one process, no interval"
        if item.low is not None and item.high is not None:
            interval = f"[{percent(item.low)}, {percent(item.high)}]"
        rows.append(
            (
                Cell(named[item.machine, item.device], f"{item.dtype}, batch {item.batch}"),
                Cell(_tokens(item.dense_tokens), sort=dense),
                Cell(_tokens(item.fff_tokens), sort=fff),
                Cell(percent(item.fewer), interval, sort=f"{item.fewer:.6g}"),
            )
        )
    if not rows:
        return None
    return Table(
        "savings",
        ("Device", "Dense, tokens/s", "FFF, tokens/s", "Fewer devices"),
        (False, True, True, True),
        tuple(rows),
        "savings.csv",
        "Tokens per second of one device through this one layer, and the share of devices that the measured speed-up "
        "saves there, 1 - 1/speed-up; the press's 99.7 % puts 341x into it. A model has other layers too, which cost "
        "what they cost.",
    )


def _tokens(value: float) -> str:
    for step, unit in ((1e9, " billion"), (1e6, " million"), (1e3, " thousand")):
        if value >= step:
            return number(value / step) + unit
    return number(value)


def _skipped(results: Results) -> Table | None:
    rows = tuple(
        (Cell(item.machine), Cell(item.cell.id), Cell(item.reason, words=True), Cell(item.run))
        for item in results.skipped
    )
    rows += tuple(
        (Cell(f"class {job.class_name}"), Cell(cell), Cell(job.reason, words=True), Cell(f"job {job.name}"))
        for job in results.open_jobs
        for cell in job.cells
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
