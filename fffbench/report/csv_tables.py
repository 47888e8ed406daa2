"""Which CSV files hold what of every machine? Written for all machines at once, or for one as a part of each file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from itertools import chain
from operator import attrgetter
from pathlib import Path

from fffbench.analysis.attribution import Attribution
from fffbench.analysis.breakeven import BreakEven
from fffbench.analysis.ceilings import ceilings_of
from fffbench.analysis.devices import Saving
from fffbench.analysis.roofline import share_of
from fffbench.analysis.rows import Speedup
from fffbench.analysis.stats import estimate_times, time_of_medians
from fffbench.claims.rows import ClaimRow
from fffbench.report import changes, history_section, ladder_section, regression_section, waterfall
from fffbench.report.analysed import Analysis
from fffbench.report.csv_files import floats, text, write_csv, write_lines, write_rows
from fffbench.report.tables import CELL_COLUMNS, cell_rows
from fffbench.results.open_jobs import OpenJob
from fffbench.results.store import Results

RECORDS = 200  # whose samples are written at once
SAMPLE_COLUMNS = ("record", "process", "median", "samples")
SKIPPED_COLUMNS = ("machine", "run", "cell", "family", "reason")
MACHINE_COLUMNS = ("machine", "part", "name", "threads", "value")
SPEEDUP_COLUMNS = Speedup._fields
BREAK_EVEN_COLUMNS = tuple(field.name for field in fields(BreakEven))
# The files that have rows of every cell, with their columns; one without records has the first column alone.
MEASURED = {
    "cells.csv": CELL_COLUMNS,
    "samples.csv": SAMPLE_COLUMNS,
    "skipped.csv": SKIPPED_COLUMNS,
    "machines.csv": MACHINE_COLUMNS,
}


def write_measured(results: Results, out: Path, *, header: bool = True) -> None:
    """What was measured: cells, samples, machines, and planned cells without a time."""
    estimate_times(record.medians for record in results.records)
    ceilings = ceilings_of(results)
    shares = {record.id: share_of(record, ceilings) for record in results.records}
    times = {record.id: time_of_medians(record.medians) for record in results.records}
    cells = cell_rows(results.records, shares, times)
    write_rows(out / "cells.csv", cells, CELL_COLUMNS if results.records else CELL_COLUMNS[:1], header=header)
    head = [[",".join(SAMPLE_COLUMNS)]] if header else []
    write_lines(out / "samples.csv", chain(head, _sample_lines(results)))
    write_rows(out / "skipped.csv", _skipped_rows(results), SKIPPED_COLUMNS, header=header)
    write_csv(out / "machines.csv", _machine_rows(results), MACHINE_COLUMNS, header=header)


def write_speedups(rows: Sequence[Speedup], out: Path, *, header: bool = True) -> None:
    """Every speed-up."""
    write_rows(out / "speedup.csv", rows, SPEEDUP_COLUMNS, header=header)


def write_break_even(found: Sequence[BreakEven], path: Path, *, header: bool = True) -> None:
    """Where curves reach their targets."""
    write_rows(path, map(attrgetter(*BREAK_EVEN_COLUMNS), found), BREAK_EVEN_COLUMNS, header=header)


def write_attributions(found: Sequence[Attribution], out: Path, *, header: bool = True) -> list[str]:
    """The factors of every cell; returns the columns, which depend on the factors that there are."""
    columns, ways = waterfall.csv_table(found)
    write_csv(out / waterfall.CSV, ways, columns, header=header)
    return columns


def write_told(analysis: Analysis, since: changes.Changes, out: Path) -> None:
    """What is told of all machines together: claims, savings, ladders, changes; history, checks and refusals."""
    for name, kind, rows in (("claims.csv", ClaimRow, analysis.claims), ("savings.csv", Saving, analysis.savings)):
        columns = [field.name for field in fields(kind)]
        write_rows(out / name, map(attrgetter(*columns), rows), columns)
    results = analysis.results
    write_csv(out / "history.csv", history_section.csv_rows(analysis.history), history_section.CSV_COLUMNS)
    write_csv(out / ladder_section.CSV, ladder_section.csv_rows(analysis.climbs), ladder_section.CSV_COLUMNS)
    checks = regression_section.csv_rows(results.checks)
    write_csv(out / "regressions.csv", checks, regression_section.CSV_COLUMNS)
    refused = ({"path": item.path, "field": item.field, "reason": item.reason} for item in analysis.refused)
    write_csv(out / "refused.csv", refused, ["path", "field", "reason"])
    write_csv(out / changes.CSV, changes.csv_rows(since), changes.CSV_COLUMNS)


def _sample_lines(results: Results) -> Iterator[list[str]]:
    """A line a process, of some records at a time. Half of all bytes of a report, and nothing but floats."""
    for first in range(0, len(results.records), RECORDS):
        some = results.records[first : first + RECORDS]
        values: list[float] = []
        for record in some:
            for samples, middle in zip(record.info.processes, record.medians, strict=True):
                values.append(middle)
                values.extend(samples)
        fields = floats(values)
        place, lines = 0, []
        for record in some:
            name = text(record.id)
            for index, samples in enumerate(record.info.processes):
                end = place + 1 + len(samples)
                lines.append(f"{name},{index},{fields[place]},{' '.join(fields[place + 1 : end])}")
                place = end
        yield lines


def _skipped_rows(results: Results) -> Iterator[tuple[object, ...]]:
    for item in results.skipped:
        yield item.machine, item.run, item.cell.id, item.family, item.reason
    yield from owed_rows(results.open_jobs)


def owed_rows(jobs: Sequence[OpenJob]) -> Iterator[tuple[object, ...]]:
    """What jobs of a fleet that are not done should have measured."""
    for job in jobs:
        for cell in job.cells:
            yield f"class {job.class_name}", f"job {job.name}", cell, None, job.reason


def _machine_rows(results: Results) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    ceilings = ceilings_of(results)
    for machine in results.machines.values():
        for part, facts in (("stable", machine.stable), ("observed", machine.observed)):
            rows += [
                {"machine": machine.id, "part": part, "name": name, "value": facts[name]} for name in sorted(facts)
            ]
        for name, by_threads in sorted(ceilings.measured[machine.id].items()):
            for threads, value in sorted(by_threads.items()):
                rows.append(
                    {"machine": machine.id, "part": "ceiling", "name": name, "threads": threads, "value": value}
                )
        rows += [
            {"machine": machine.id, "part": "bound", "name": name, "threads": threads, "value": ceiling.value}
            for name, by in ceilings.used(machine.id).items()
            for threads, ceiling in sorted(by.items())
        ]
    return rows
