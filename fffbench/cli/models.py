"""The commands of whole models: ``run --preset models`` measures them, ``models`` shows what was measured."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fffbench.cli import options
from fffbench.cli.stopped import Stopped
from fffbench.errors import UserError
from fffbench.plan.presets_of_models import ModelAxes
from fffbench.text import plain
from fffbench.units import duration

if TYPE_CHECKING:
    from fffbench.models.run import ModelOptions

Json = Annotated[bool, typer.Option("--json", help="print one JSON array")]
ResultsDir = Annotated[
    Path, typer.Option("--results", parser=options.folder("--results"), metavar="DIR", help="the folder of results")
]


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command("models")(show)


def show(results: ResultsDir = Path("results"), as_json: Json = False) -> None:
    """Show how fast whole models run with each kind of feedforward layer, and what of the possible gain that is."""
    from fffbench.analysis.model_claims import judge_models
    from fffbench.analysis.models import model_rows, terminal_lines
    from fffbench.results.models import load_models

    if not results.is_dir():
        raise UserError(
            f"results folder {str(results)!r} does not exist; measure first, or name another with --results"
        )
    found = load_models(results)
    for refusal in found.refused:
        print(plain(f"fffbench: left out {refusal.line}"), file=sys.stderr)
    rows = model_rows(found)
    if as_json:
        print(json.dumps([row.to_json() for row in rows], indent=1))
        return
    for line in terminal_lines(rows):
        print(line)
    print()
    for verdict in judge_models(rows):
        print(f"{verdict.id:<24} {verdict.verdict:<16} {verdict.reason}")


def run(
    preset: str, axes: ModelAxes, processes: int | None, seconds: float | None, budget: float | None, results: Path
) -> None:
    """Measure a preset of whole models, export it, print the file's name."""
    from fffbench.cli.display import Display
    from fffbench.models import run as models_run
    from fffbench.runs import endings

    wanted = models_run.ModelOptions(preset, axes, processes, seconds, budget)
    journal: Path | None = None
    try:
        with endings.in_order():
            planned = models_run.prepare(wanted, results, _say)
            journal = planned.journal
            _say(
                f"{len(planned.plan.cells)} cells in {planned.plan.processes} fresh processes each on "
                f"{planned.header.run.machine.id}: about {duration(planned.seconds)}"
                + (f"; {len(planned.header.skipped)} cells cannot run here" if planned.header.skipped else "")
            )
            with Display() as display:
                models_run.measure(planned, display.progress, display.outcome)
            print(models_run.export(journal))
    except (KeyboardInterrupt, endings.Ended) as error:
        raise Stopped(_sentence(error, journal), endings.exit_code(error)) from None


def describe(wanted: ModelOptions) -> None:
    """Print the cells, and measure nothing."""
    from fffbench.models.run import describe as lines

    for line in lines(wanted):
        print(line)


def _sentence(error: BaseException, journal: Path | None) -> str:
    from fffbench.models.run import read_journal

    del error
    count = 0
    if journal is not None and journal.exists():
        count = sum(one.failure is None for one in read_journal(journal)[1])
    if not count:
        return "interrupted; nothing had been measured yet"
    return f"interrupted; what was measured is kept ({count} process results), and the same command continues"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
