"""The commands of whole models: ``run --preset models`` measures them, ``models`` shows what was measured."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fffbench.cli import notices, selecting, tables
from fffbench.cli.loading import Json, ResultsDir
from fffbench.cli.stopped import Stopped
from fffbench.errors import UserError
from fffbench.plan import options
from fffbench.plan.presets_of_models import ModelAxes
from fffbench.text import plain
from fffbench.units import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fffbench.analysis.models import ModelRow
    from fffbench.models.run import ModelOptions


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command("models")(show)


def show(
    results: ResultsDir = Path("results"),
    machine: selecting.Machine = None,
    device: selecting.Device = None,
    dtype: selecting.Dtype = None,
    batch: selecting.Batch = None,
    markdown: selecting.Markdown = False,
    as_csv: selecting.Csv = False,
    as_json: Json = False,
) -> None:
    """Show how fast whole models run with each kind of feedforward layer, and what of the possible gain that is."""
    from fffbench.analysis.model_text import csv_rows, notes_of
    from fffbench.analysis.models import by_work, model_rows, work_title
    from fffbench.claims.model_claims import judge_models
    from fffbench.results.models import load_models

    selecting.one_form(as_json=as_json, as_markdown=markdown, as_csv=as_csv)
    axes = options.chosen(device=device, dtype=dtype)
    batches = set(options.numbers("--batch", batch, 0, options.MAX_BATCH)) if batch is not None else None
    if not results.is_dir():
        raise UserError(
            f"results folder {str(results)!r} does not exist; measure first, or name another with --results"
        )
    found = load_models(results)
    for refusal in found.refused:
        notices.note(f"left out {refusal.line}")
    machines = selecting.machines(machine, found.machines)
    rows = [
        row
        for row in model_rows(found)
        if selecting.within(row.machine, machines)
        and selecting.within(row.work.device, set(axes.devices) or None)
        and selecting.within(row.work.dtype, set(axes.dtypes) or None)
        and selecting.within(row.work.batch, batches)
    ]
    if as_json:
        print(json.dumps([row.to_json() for row in rows], indent=1))
        return
    if as_csv:
        print(tables.as_csv(csv_rows(rows)), end="")
        return
    verdicts = [f"{one.id}: {one.verdict}. {one.reason}" for one in judge_models(rows)]
    if not rows:
        none = "no whole model was measured" if not found.records else "none of the models measured is among these"
        verdicts = [f"{none}; `fffbench run --preset models` measures them"]
    shown = [
        tables.Table(f"{work_title(work)}, on {machine}", group, [*notes_of(group), *_few(group)])
        for machine, work, group in by_work(rows)
    ]
    if markdown:
        print(tables.as_markdown(shown, _columns()))
        return
    tables.show(shown, _columns(), verdicts)


def _few(rows: Sequence[ModelRow]) -> list[str]:
    """What the star beside a time says, where one has it."""
    return ["* provisional: fewer processes than it takes to decide"] if any(row.provisional for row in rows) else []


def _columns() -> list[tables.Column[ModelRow]]:
    """Those of ``analysis.models``, by what they are worth where the terminal is narrow."""
    from fffbench.analysis.model_text import COLUMNS, cells_of

    worth = {"layers": 100, "gain": 99, "time": 98, "of possible": 97, "mode": 90, "tokens/s": 80, "p99": 70, "p90": 60}
    return [
        tables.Column(
            name,
            lambda row, place=place: cells_of(row)[place].replace(" (provisional)", "*"),  # type: ignore[misc]
            right=name not in ("layers", "mode"),
            worth=worth.get(name, 50),
            common=name == "J/1000 tokens",
        )
        for place, name in enumerate(COLUMNS)
    ]


def run(
    preset: str, axes: ModelAxes, processes: int | None, seconds: float | None, budget: float | None, results: Path
) -> None:
    """Measure a preset of whole models, export it, print the file's name."""
    from fffbench.models import run as models_run
    from fffbench.models.exporting import export
    from fffbench.runs import endings
    from fffbench.runs.display import Display

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
            with Display(words=str) as display:
                models_run.measure(planned, display.progress, display.outcome)
            print(plain(str(export(journal))))
    except (KeyboardInterrupt, endings.Ended) as error:
        raise Stopped(_sentence(error, journal), endings.exit_code(error)) from None


def describe(wanted: ModelOptions) -> None:
    """Print the cells, and measure nothing."""
    from fffbench.models.run import describe as lines

    for line in lines(wanted):
        print(line)


def _sentence(error: BaseException, journal: Path | None) -> str:
    from fffbench.models.journal import read_journal

    del error
    count = 0
    if journal is not None and journal.exists():
        count = sum(one.failure is None for one in read_journal(journal)[1])
    if not count:
        return "interrupted; nothing had been measured yet"
    results = "1 process result" if count == 1 else f"{count} process results"
    return f"interrupted; what was measured is kept ({results}), and the same command continues"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
