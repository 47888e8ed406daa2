"""What do these results put on the page? Analysis in, view model out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from fffbench.analysis import claims as verdicts
from fffbench.analysis.breakeven import BreakEven, break_even
from fffbench.analysis.claims import ClaimRow, judge_all
from fffbench.analysis.headline import headline, machine_name
from fffbench.analysis.roofline import DenseStrength, bound_of, dense_strength
from fffbench.analysis.speedup import Speedup, speedups
from fffbench.analysis.stats import Estimate, estimate_time
from fffbench.report import plots, tables
from fffbench.report.method import METHOD
from fffbench.report.samples import medians_text, strip
from fffbench.report.view import Cell, ClaimView, Figure, Finding, Fingerprint, MachineView, Page, SampleRow, Table
from fffbench.results.store import Results
from fffbench.units import number, ratio, seconds

TITLE = "How fast are fast feedforward networks?"
CEILING = 4095 / 12
ICONS = {
    verdicts.REPRODUCED: "✓", verdicts.EXCEEDED: "✓+", verdicts.PROTOCOL_ONLY: "◐", verdicts.NOT_REPRODUCED: "✗",
    verdicts.ARITHMETIC_ERROR: "≠", verdicts.UNDECIDED: "?", verdicts.NOT_MEASURED: "–", verdicts.NOT_TESTABLE: "–",
}  # fmt: skip
CONFIDENCE = {
    "confirmed": "confirmed in the source", "secondary": "from a secondary source", "recalled": "recalled, unconfirmed",
    "derived": "derived by arithmetic",
}  # fmt: skip
FILES = (
    ("claims.csv", "every claim, machine and set of conditions with its verdict"),
    ("speedup.csv", "every speed-up with interval, both sides' times and record ids"),
    ("cells.csv", "every record: time, interval, error, share of the roofline"),
    ("samples.csv", "every raw sample, by record and process"),
    ("breakeven.csv", "where each curve meets 1x, 78x and 341x"),
    ("skipped.csv", "every planned cell without a time, with the reason"),
    ("machines.csv", "every machine's fingerprint and measured ceilings"),
    ("refused.csv", "what could not be read"),
)


@dataclass(frozen=True)
class Analysis:
    """Everything the page is made of, computed once."""

    results: Results
    rows: list[Speedup]
    claims: list[ClaimRow]
    times: dict[str, Estimate]
    shares: dict[str, float | None]
    crossings: list[BreakEven]
    strength: list[DenseStrength]
    anchors: dict[str, str]


def analyse(results: Results) -> Analysis:
    """Run the whole analysis on ``results``."""
    rows = speedups(results)
    times = {record.id: estimate_time(record.info.processes) for record in results.records}
    bounds = {record.id: bound_of(record, results.machine_of(record)) for record in results.records}
    shares = {key: bound.seconds / times[key].value if bound else None for key, bound in bounds.items()}
    anchors = {record.id: f"s{index}" for index, record in enumerate(results.records)}
    claims = judge_all(results, rows=rows)
    return Analysis(results, rows, claims, times, shares, break_even(rows), dense_strength(results), anchors)


def build(analysis: Analysis) -> Page:
    """The page of an analysis."""
    results = analysis.results
    return Page(
        title=TITLE,
        headline=headline(results, analysis.rows),
        summary=_summary(analysis),
        hero=plots.forest(analysis.claims, CEILING),
        claims=tuple(_claims(analysis)),
        machines=tuple(_machines(analysis)),
        break_even=_break_even(analysis.crossings),
        break_even_figures=(),
        skipped=_skipped(results),
        fingerprints=tuple(_fingerprints(results)),
        refused=tuple(refusal.line for refusal in results.refused),
        samples=tuple(_samples(analysis)),
        method=METHOD,
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
    return (
        f"{cells} cell{'s' * (cells != 1)} on {machines} machine{'s' * (machines != 1)}, each checked against a float64 "
        f"reference before it was timed. The {len({row.id for row in analysis.claims})} published claims came out so: {said}."
    )


def _claims(analysis: Analysis) -> list[ClaimView]:
    found = []
    for claim_id, group in groupby(analysis.claims, key=lambda row: row.id):
        rows = list(group)
        first = rows[0]
        findings = []
        for machine, of_machine in groupby(rows, key=lambda row: (row.machine, row.device)):
            items = list(of_machine)
            findings.append(
                Finding(
                    machine=_place(analysis.results, *machine),
                    verdict=items[0].verdict,
                    icon=ICONS[items[0].verdict],
                    published=_measured(items, "published", analysis),
                    fair=_measured(items, "fair", analysis),
                    reason=_reason(items),
                )
            )
        found.append(
            ClaimView(
                claim_id, first.statement, first.published_shown, first.source, CONFIDENCE[first.confidence], first.note,
                tuple(findings),
            )  # fmt: skip
        )
    return found


def _reason(rows: Sequence[ClaimRow]) -> str:
    """The reason beside the numbers: where there are some, only what they must reach, for they say the rest."""
    first = rows[0]
    if all(row.measured is None for row in rows) or first.kind != "ratio":
        return first.reason
    low, high = first.band
    missing = [row.conditions for row in rows if row.measured is None]
    unmeasured = f" The {missing[0]} conditions were not measured here." if missing else ""
    return f"Counts as reached from {number(low)}x to {number(high)}x.{unmeasured}"


def _place(results: Results, machine: str | None, device: str | None) -> str:
    if machine is None:
        return ""
    return f"{machine_name(results.machines[machine], device or 'cpu')} ({device})"


def _measured(rows: Sequence[ClaimRow], conditions: str, analysis: Analysis) -> tuple[Cell, ...]:
    cells = []
    for row in rows:
        if row.conditions != conditions or row.measured is None or row.kind != "ratio":
            continue
        thin = ", provisional" if row.provisional else ""
        threads = f"{row.threads} thread{'s' * (row.threads != 1)}"
        small = f"{row.implementation} over {row.baseline_implementation} ({row.baseline}), {threads}{thin}"
        cells.append(Cell(ratio(row.measured, row.low, row.high), small, analysis.anchors.get(row.records[0], "")))
    return tuple(cells)


def _machines(analysis: Analysis) -> list[MachineView]:
    found = []
    results = analysis.results
    places = sorted({(record.machine, record.cell.workload.device) for record in results.records})
    for index, (machine, device) in enumerate(places):
        rows = [row for row in analysis.rows if (row.machine, row.device) == (machine, device)]
        name = machine_name(results.machines[machine], device)
        main = [row for row in rows if tables.is_main(row)]
        other = [row for row in rows if not tables.is_main(row)]
        drawn = (
            plots.against_batch(rows, f"batch{index}", name),
            plots.against_roofline(_points(analysis, machine, device), f"roof{index}", name),
        )
        weak = [item for item in analysis.strength if (item.machine, item.device) == (machine, device)]
        found.append(
            MachineView(
                id=machine,
                anchor=f"on-{index}",
                title=name,
                device=device,
                figures=tuple(figure for figure in drawn if figure),
                main=tables.speedup_table(
                    main, analysis.anchors, f"main{index}",
                    "Cold caches, bare kernel, uniform routing. A speed-up stands with its 95 % interval and, smaller, the "
                    "baseline it is over; a time with its error and its share of the roofline. Numbers link to samples.",
                    protocols=False,
                ),  # fmt: skip
                other=tables.speedup_table(other, analysis.anchors, f"other{index}", "", protocols=True),
                strength=tuple(item.sentence for item in weak if not item.strong),
            )
        )
    return found


def _points(analysis: Analysis, machine: str, device: str) -> list[plots.Point]:
    points = []
    for record in analysis.results.records:
        protocol = record.cell.protocol
        if (record.machine, record.cell.workload.device) != (machine, device):
            continue
        if (protocol.cache, protocol.call) != ("cold", "kernel") or record.info.family == "reference":
            continue
        bound = bound_of(record, analysis.results.machine_of(record))
        if bound:
            points.append((record.info.family, record.cell.implementation, analysis.times[record.id].value, bound))
    return points


def _break_even(crossings: Sequence[BreakEven]) -> Table | None:
    if not crossings:
        return None
    rows = []
    for item in crossings:
        met = _met(item)
        sure = str(item.sure_from) if item.sure_from is not None else "not reached"
        best = f"{number(item.best)}x at batch {item.best_batch}"
        rows.append((
            Cell(item.machine), Cell(item.device), Cell(item.dtype), Cell(f"{item.d}→{item.n}, {item.trees}x{item.levels}"),
            Cell(f"{item.target:g}x"), Cell(met, words=item.batch is None), Cell(sure, words=item.sure_from is None), Cell(best),
        ))  # fmt: skip
    return Table(
        "break-even-table",
        ("Machine", "Device", "Type", "Layer", "Target", "First met at batch", "Whole interval above from batch", "Best"),
        (False, False, False, False, True, True, True, True),
        tuple(rows),
        "breakeven.csv",
        "FFF over best dense at each side's fastest thread count; cold caches, bare kernel, uniform routing. Between two "
        "measured batches the crossing is interpolated; nothing is extrapolated.",
    )


def _met(item: BreakEven) -> str:
    if item.batch is None:
        return "not reached"
    return f"about {number(item.batch)}" if item.interpolated else f"{item.batch:.0f}, the smallest measured"


def _skipped(results: Results) -> Table | None:
    rows = tuple(
        (Cell(item.machine), Cell(item.cell.id), Cell(item.reason, words=True), Cell(item.run)) for item in results.skipped
    )
    if not rows:
        return None
    return Table("skipped", ("Machine", "Cell", "Reason", "Run"), (False,) * 4, rows, "skipped.csv", filterable=True)


def _fingerprints(results: Results) -> list[Fingerprint]:
    found = []
    for index, (machine_id, machine) in enumerate(sorted(results.machines.items())):
        runs = sorted((run.started, run) for run in results.runs.values() if run.machine.id == machine_id)
        device = "cuda" if machine_name(machine, "cuda") != machine_id else "cpu"
        found.append(
            Fingerprint(
                id=machine_id,
                name=machine_name(machine, device),
                stable=tuple(sorted(machine.stable.items())),
                observed=tuple(sorted(machine.observed.items())),
                ceilings=tables.ceilings_table(machine.ceilings, f"ceilings{index}"),
                runs=tuple(f"{run.id}, preset {run.preset}, commit {run.commit}" for _, run in runs),
            )
        )
    return found


def _samples(analysis: Analysis) -> list[SampleRow]:
    found = []
    for record in analysis.results.records:
        time = analysis.times[record.id]
        notes = "; ".join(record.info.notes)
        if record.provisional:
            planned = record.info.planned_processes
            notes = f"provisional: {len(record.info.processes)} of {planned} processes. {notes}".strip()
        found.append(
            SampleRow(
                analysis.anchors[record.id], record.cell.id, record.run, seconds(time.value), medians_text(record),
                strip(record.info.processes), notes,
            )  # fmt: skip
        )
    return found


__all__ = ["Analysis", "Figure", "analyse", "build"]
