"""The commands of whole models: ``run --preset models`` measures them, ``models`` shows what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fffbench.cli import notices, selecting, tables
from fffbench.cli.shared import Json, ResultsDir
from fffbench.cli.stopped import Stopped
from fffbench.plan.presets_of_models import ModelAxes
from fffbench.text import plain
from fffbench.units import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fffbench.analysis.models import ModelRow
    from fffbench.models.run import ModelOptions


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
    from fffbench.results.store import root_of

    selecting.one_form(as_json=as_json, as_markdown=markdown, as_csv=as_csv)
    holds = selecting.on_axes(device, dtype, batch)
    found = load_models(root_of(results))
    for refusal in found.refused:
        notices.note(f"left out {refusal.line}")
    machines = selecting.machines(machine, found.machines)
    rows = [
        row
        for row in model_rows(found)
        if selecting.within(row.machine, machines) and holds(row.work.device, row.work.dtype, row.work.batch)
    ]
    if as_json or as_csv:
        selecting.print_rows([row.to_json() for row in rows] if as_json else csv_rows(rows), as_json=as_json)
        return
    verdicts = [f"{one.id}: {one.verdict}. {one.reason}" for one in judge_models(rows)]
    if not rows:
        none = "no whole model was measured" if not found.records else "none of the models measured is among these"
        verdicts = [f"{none}; `fffbench run --preset models` measures them"]
    shown = [
        tables.Table(f"{work_title(work)}, on {machine}", group, [*notes_of(group), *_few(group)])
        for machine, work, group in by_work(rows)
    ]
    selecting.print_tables(shown, _columns(), verdicts, as_markdown=markdown)


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
            planned = models_run.prepare(wanted, results, notices.say)
            journal = planned.journal
            notices.say(
                f"{len(planned.plan.cells)} cells in {planned.plan.processes} fresh processes each on "
                f"{planned.header.run.machine.id}: about {duration(planned.seconds)}"
                + (f"; {len(planned.header.skipped)} cells cannot run here" if planned.header.skipped else "")
            )
            with Display(words=str) as display:
                models_run.measure(planned, display.progress, display.outcome)
            print(plain(str(export(journal))))
    except (KeyboardInterrupt, endings.Ended) as error:
        raise Stopped(endings.sentence(error, journal, _kept), endings.exit_code(error)) from None


def describe(wanted: ModelOptions) -> None:
    """Print the cells, and measure nothing."""
    from fffbench.models.run import describe as lines

    for line in lines(wanted):
        print(line)


def _kept(journal: Path) -> int:
    from fffbench.models.journal import read_journal

    return sum(one.failure is None for one in read_journal(journal)[1])
