"""The commands that measure or compute: ``list``, ``check``, ``run``."""

from __future__ import annotations

import importlib
import json
import sys
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fffbench.cli import options
from fffbench.cli.stopped import Stopped
from fffbench.devices import HOST
from fffbench.errors import UserError
from fffbench.plan.workload import CACHE_MEANING, CALL_MEANING, ROUTING_MEANING, meanings
from fffbench.units import duration, number, parse_duration

if TYPE_CHECKING:
    from fffbench.bench import Options, Planned

NEEDED = ("psutil", "threadpoolctl", "torch")  # of the extra `measure`, by what computes
EXIT_WRONG = 1  # ``check`` found an implementation that computes something else

Json = Annotated[bool, typer.Option("--json", help="print one JSON array")]
ResultsDir = Annotated[
    Path, typer.Option("--results", parser=options.folder("--results"), metavar="DIR", help="the folder of results")
]
Listed = Annotated[str | None, typer.Option(help="comma-separated; leaves the preset's own values where not given")]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command("list")(list_implementations)
    app.command()(check)
    app.command()(run)


def list_implementations(as_json: Json = False) -> None:
    """List the implementations, and why one cannot run here."""
    from fffbench.implementations import registry
    from fffbench.plan.workload import Shape, Workload

    # some are for small batches only, some for large ones, some for leaf blocks only
    tried = list(product((Shape.tree(768, 1, 12), Shape.leaf(768, 1, 7, 32)), (1, 16384)))
    questions = [
        (item, Workload(shape, batch, item.dtypes[0], device=device))
        for item in registry.implementations().values()
        for device in item.devices
        for shape, batch in tried
    ]
    reasons: dict[str, list[str | None]] = {}
    for (item, _), reason in zip(questions, registry.reasons(questions), strict=True):
        reasons.setdefault(item.name, []).append(reason)
    rows: list[dict[str, Any]] = [
        {
            "name": item.name,
            "family": item.family,
            "device": ", ".join(item.devices),
            "dtypes": list(item.dtypes),
            "summary": item.summary,
            "unsupported": None if None in reasons[item.name] else reasons[item.name][0],
        }
        for item in registry.implementations().values()
    ]
    rows += [
        {"name": name, "family": None, "device": "", "dtypes": [], "summary": "", "unsupported": reason}
        for name, reason in registry.broken().items()
    ]
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    for row in rows:
        dtypes = " ".join(map(str, row["dtypes"] or ()))
        print(f"{row['name']:<20} {row['family'] or 'broken':<10} {row['device']:<10} {dtypes:<20} {row['summary']}")
        if row["unsupported"]:
            print(f"{'':<20} not here: {row['unsupported']}")


def check(
    implementations: Listed = None,
    dtypes: Listed = None,
    devices: Annotated[str, typer.Option(help="comma-separated")] = HOST,
    as_json: Json = False,
) -> None:
    """Check implementations against the float64 reference on every edge of the shapes; exit 1 if one is wrong."""
    from fffbench import checking
    from fffbench.implementations import registry

    for module in NEEDED:  # here, not as a fault of every implementation
        importlib.import_module(module)
    axes = options.axes(implementations=implementations, dtypes=dtypes, devices=devices)
    for name in axes.implementations:
        if name not in registry.broken():
            registry.implementation(name)
    rows = []
    for row in checking.rows(axes.implementations, axes.dtypes, axes.devices):
        rows.append(row)
        if not as_json:
            print(
                f"{row['name']:<20} {row['device']:<5} {row['dtype']:<5} "
                f"{row['passed']:>3} right, {row['skipped']:>3} not run"
                f"{'' if row['error'] is None else ', largest error ' + number(row['error'])}"
                f"{'' if row['failure'] is None else '  WRONG: ' + row['failure']}",
                flush=True,
            )
    if as_json:
        print(json.dumps(rows, indent=1))
    if any(row["failure"] for row in rows):
        raise typer.Exit(EXIT_WRONG)
    if not any(row["passed"] for row in rows):
        reasons = dict.fromkeys(row["reason"] for row in rows if row["reason"])
        raise UserError(f"nothing was checked: {next(iter(reasons), 'no implementation runs in these dtypes here')}")


def run(
    preset: Annotated[str, typer.Option(help="which cells: see the README's list of presets")] = "quick",
    budget: Annotated[
        str | None, typer.Option(help="time budget, such as 30m; costly cells lose processes first")
    ] = None,
    results: ResultsDir = Path("results"),
    implementations: Listed = None,
    d: Listed = None,
    batches: Listed = None,
    levels: Listed = None,
    trees: Listed = None,
    dtypes: Listed = None,
    routing: Annotated[str | None, typer.Option(help=f"comma-separated; {meanings(ROUTING_MEANING)}")] = None,
    threads: Annotated[str | None, typer.Option(help="comma-separated counts, all or physical")] = None,
    devices: Listed = None,
    cache: Annotated[str | None, typer.Option(help=f"comma-separated; {meanings(CACHE_MEANING)}")] = None,
    call: Annotated[str | None, typer.Option(help=f"comma-separated; {meanings(CALL_MEANING)}")] = None,
    block: Annotated[
        str | None, typer.Option(help="only the cells of one block, such as cpu-d768-b128 (see fleet plan)")
    ] = None,
    processes: Annotated[int | None, typer.Option(min=1, max=100, help="fresh processes for each cell")] = None,
    seconds: Annotated[
        float | None,
        typer.Option(min=0.01, max=60, callback=options.finite("--seconds"), help="timed seconds in each process"),
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="print the cells and the time it will take, then stop")] = False,
) -> None:
    """Measure a preset. Killed at any moment, the same command continues it."""
    from fffbench import bench

    axes = options.axes(
        implementations=implementations,
        d=d,
        batches=batches,
        levels=levels,
        trees=trees,
        dtypes=dtypes,
        routing=routing,
        threads=threads,
        devices=devices,
        cache=cache,
        call=call,
    )
    wanted = bench.Options(preset, axes, processes, seconds, None if budget is None else parse_duration(budget))
    if block is not None:
        wanted = bench.of_block(wanted, block)
    if plan:
        for line in bench.describe(wanted):
            print(line)
        return
    if results.exists() and not results.is_dir():
        raise UserError(f"--results {str(results)!r} is not a folder")
    _measured(wanted, results)


def _measured(wanted: Options, results: Path) -> None:
    """Measure what is wanted, export it, print the file's name; ``Stopped`` where a signal ends it."""
    from fffbench import bench
    from fffbench.cli.display import Display
    from fffbench.runs import endings, lifecycle
    from fffbench.suite.export import export

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    journal: Path | None = None
    try:
        with endings.in_order():
            planned = bench.prepare(wanted, results, say)
            journal = planned.journal
            say(_announcement(planned))
            with Display() as display:
                lifecycle.measure(planned, display.progress, display.outcome)
            print(export(journal, say))
    except (KeyboardInterrupt, endings.Ended) as error:
        raise Stopped(endings.sentence(error, journal), endings.exit_code(error)) from None


def _announcement(planned: Planned) -> str:
    """What is about to be measured, and how long it will take."""
    skipped = len(planned.run.skipped)
    return (
        f"{len(planned.plan.cells)} cells in {planned.plan.processes} fresh processes each on "
        f"{planned.run.machine.id}: about {duration(planned.seconds)}"
        + (f"; {skipped} cells cannot run here, reasons in the report" if skipped else "")
    )
