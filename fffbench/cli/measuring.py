"""The command that measures: ``run``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fffbench.cli import notices, planning, release, summary, todo
from fffbench.cli.shared import ResultsDir
from fffbench.cli.stopped import Stopped
from fffbench.errors import UserError, one_of
from fffbench.plan import options
from fffbench.plan.matrix import Axes
from fffbench.plan.workload import CACHE_MEANING, CALL_MEANING, ROUTING_MEANING, meanings
from fffbench.text import plain
from fffbench.units import duration, parse_duration

if TYPE_CHECKING:
    from fffbench.plan.matrix import Axes
    from fffbench.runs.planning import Options, Planned

Listed = Annotated[str | None, typer.Option(help="comma-separated; leaves the preset's own values where not given")]


def run(
    preset: Annotated[str, typer.Option(help="which cells: docs/reference/presets.md lists them")] = "quick",
    budget: Annotated[
        str | None, typer.Option(help="time budget, such as 30m; costly cells lose processes first")
    ] = None,
    results: ResultsDir = Path("results"),
    implementations: Listed = None,
    shape: Annotated[str | None, typer.Option(help="ids of layers, such as d768-n4095-t1x12, comma-separated")] = None,
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
    over: Annotated[
        str | None, typer.Option(metavar="NAME", help="what the table at the end is over, beside the best dense layer")
    ] = None,
    undecided: Annotated[
        bool, typer.Option("--undecided", help="just the cells that settle what is open here: see fffbench todo")
    ] = False,
    claim: Annotated[str | None, typer.Option(help="with --undecided: of these claims alone, comma-separated")] = None,
    early: Annotated[
        bool, typer.Option("--early", help="with release: the second visit without an hour since the first")
    ] = False,
    processes: Annotated[int | None, typer.Option(min=1, max=100, help="fresh processes for each cell")] = None,
    seconds: Annotated[
        float | None,
        typer.Option(min=0.01, max=60, callback=options.finite("--seconds"), help="timed seconds in each process"),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="print what would be measured and the time it takes, then stop")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="with --plan: print one JSON array of all cells")] = False,
) -> None:
    """Measure a preset. If it is killed, run the same command again: it continues where it stopped."""
    from fffbench.implementations import registry
    from fffbench.runs import planning as bench

    axes = options.axes(
        implementations=implementations,
        shapes=shape,
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
    if _is_of_models(preset):
        if undecided or claim is not None:
            raise UserError("--undecided chooses cells of layers; a preset of whole models measures all of its own")
        _run_models(preset, axes, block, processes, seconds, budget, results, only_plan=plan)
        return
    limit = None if budget is None else parse_duration(budget)
    wanted = bench.Options(preset, axes, processes, seconds, limit)
    if undecided or claim is not None:
        wanted = _undecided(wanted, results, claim, block, asked=undecided)
    if block is not None:
        wanted = bench.of_block(wanted, block)
    if plan:
        planning.show(bench.expected(wanted, results), as_json=as_json)
        return
    if as_json:
        raise UserError("--json prints a plan: give --plan with it; what was measured is in the result file")
    if results.exists() and not results.is_dir():
        raise UserError(f"--results {str(results)!r} is not a folder")
    if over is not None:
        registry.implementation(over)
    if wanted.in_visits:
        release.measure(wanted, results, over or "", early=early)
    else:
        measured(wanted, results, over or "", early=early)


def _is_of_models(preset: str) -> bool:
    """Whether ``preset`` is one of whole models; ``UserError`` with the nearest of both kinds where it is none."""
    from fffbench.plan.presets import presets
    from fffbench.plan.presets_of_models import model_presets

    known = [*presets(), *model_presets()]
    if preset not in known:
        raise one_of("preset", preset, known)
    return preset in model_presets()


def _undecided(wanted: Options, results: Path, claim: str | None, block: str | None, *, asked: bool) -> Options:
    """What would settle the open claims, or ``claim``, in place of a preset's cells."""
    if not asked:
        raise UserError("--claim goes with --undecided; a preset measures all of its cells")
    if wanted.axes != Axes() or block is not None:
        raise UserError("--undecided chooses the cells; beside it only --claim, --processes, --seconds, --budget")
    found = todo.on_this_machine(results, claim, wanted.processes)
    return replace(
        found,
        sample_seconds=wanted.sample_seconds or found.sample_seconds,
        budget_seconds=wanted.budget_seconds,
    )


def _run_models(
    preset: str,
    axes: Axes,
    block: str | None,
    processes: int | None,
    seconds: float | None,
    budget: str | None,
    results: Path,
    *,
    only_plan: bool,
) -> None:
    """Whole models have some axes of their own, and lack others; ``--implementations`` names variants of them."""
    from fffbench.cli import models
    from fffbench.models.run import ModelOptions
    from fffbench.plan.presets_of_models import ModelAxes

    taken = {"implementations", "batches", "dtypes", "threads", "devices"}
    refused = [name for name, value in vars(axes).items() if value and name not in taken]
    if refused or block is not None:
        what = (
            {"routings": "routing", "caches": "cache", "calls": "call"}.get(refused[0], refused[0])
            if refused
            else "block"
        )
        allowed = "--implementations (variants such as dense,fff-1x12), --batches, --dtypes, --threads and --devices"
        raise UserError(f"--{what} does not apply to whole models; allowed are {allowed}")
    own = ModelAxes(axes.devices, axes.threads, axes.batches, axes.dtypes, variants=axes.implementations)
    seconds_of_budget = None if budget is None else parse_duration(budget)
    if only_plan:
        models.describe(ModelOptions(preset, own, processes, seconds, seconds_of_budget))
        return
    if results.exists() and not results.is_dir():
        raise UserError(f"--results {str(results)!r} is not a folder")
    models.run(preset, own, processes, seconds, seconds_of_budget, results)


def measured(wanted: Options, results: Path, over: str, *, early: bool = False) -> None:
    """Measure what is wanted, export it, print the file's name; ``Stopped`` where a signal ends it."""
    if early:
        raise UserError("--early goes with a preset that is measured in visits, whole: --preset release")
    from fffbench.runs import endings, lifecycle
    from fffbench.runs import planning as bench
    from fffbench.runs.display import Display
    from fffbench.suite.export import export

    journal: Path | None = None
    try:
        with endings.in_order():
            planned = bench.prepare(wanted, results, notices.say)
            journal = planned.journal
            notices.say(_announcement(planned))
            with Display() as display:
                lifecycle.measure(planned, display.progress, display.outcome)
            exported = export(journal, notices.say)
            summary.show(exported, over)
            print(plain(str(exported)))
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
