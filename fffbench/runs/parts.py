"""Of which parts is a preset of visits made on this machine, and which run of it was interrupted and can go on?"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from fffbench.errors import UserError
from fffbench.implementations.registry import implementation
from fffbench.measure import fingerprint
from fffbench.plan.matrix import preset
from fffbench.plan.workload import Cell
from fffbench.runs import forecasts, journals, planning
from fffbench.runs.planning import Options
from fffbench.runs.sources import measured_sources


@dataclass(frozen=True)
class Parts:
    """A preset's cells by its parts, those to keep, those that cannot run here.

    ``cost`` is seconds of one process of a cell; ``known`` whether that rests on the same cell, measured here before.
    """

    cells: dict[str, tuple[Cell, ...]]
    keep: frozenset[Cell]
    unable: frozenset[Cell]
    cost: Callable[[Cell], float]
    known: Callable[[Cell], bool]


def parts(options: Options, results_dir: Path) -> Parts:
    """The parts of the preset that ``options`` name, on this machine; measures nothing."""
    plan, skipped = planning.runnable(options)
    here = {*plan.cells, *(cell for cell, _ in skipped)}
    found = {}
    for name in preset(options.preset).parts:
        its_cells = planning.cells_of(preset(name), options)
        found[name] = tuple(cell for cell in its_cells if cell in here)
    known = forecasts.learnt(results_dir, fingerprint.machine_id(fingerprint.stable()), others=True)
    costs = planning.costs_of(plan, known.ceilings, known)
    return Parts(found, plan.keep, frozenset(cell for cell, _ in skipped), costs.__getitem__, known.knows)


@dataclass(frozen=True)
class Interrupted:
    """What a run that was interrupted measures: its cells, and fresh processes for each."""

    cells: tuple[Cell, ...]
    processes: int


def interrupted(options: Options, results_dir: Path) -> Interrupted | None:
    """The newest run of this preset that was interrupted here and can go on: same sources, libraries, surroundings."""
    folder = results_dir / "matrix" / fingerprint.machine_id(fingerprint.stable())
    for path in reversed(journals.paths([folder])):
        with contextlib.suppress(UserError):
            kept = journals.read(path)
            if kept.run.preset != options.preset:
                continue
            again = replace(
                options,
                only=frozenset(kept.header.cells),
                processes=kept.header.processes,
                command=kept.header.command,
            )
            plan, _ = planning.runnable(again)
            sources = measured_sources(implementation(name) for name in {cell.implementation for cell in plan.cells})
            if planning.plan_key(plan, sources, again) == kept.header.plan:
                return Interrupted(plan.cells, kept.header.processes)
    return None
