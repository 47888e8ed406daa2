"""``run --preset release`` measures what a release lacks on this machine, ``todo --release`` says what that is."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fffbench.cli import notices, selecting, tables
from fffbench.errors import UserError
from fffbench.units import duration

if TYPE_CHECKING:
    from fffbench.models.pieces import ModelPiece
    from fffbench.plan.workload import Cell
    from fffbench.runs.planning import Options
    from fffbench.runs.release import Piece

MOST_AT_ONCE = 600.0  # seconds of one run: of what is compared, both sides are measured within minutes of each other


@dataclass(frozen=True)
class Ledger:
    """What a release has on this machine: pieces of layers and of whole models, the most important first."""

    machine: str
    pieces: tuple[Piece | ModelPiece, ...]
    processes: int
    cost: Callable[[Cell], float]  # seconds of one process
    known: Callable[[Cell], bool]  # whether it was measured here before

    def seconds(self, cells: Sequence[Cell]) -> float:
        """Of one visit of ``cells``."""
        return self.processes * sum(map(self.cost, cells))


def ledger(wanted: Options, results: Path) -> Ledger:
    """The state of the preset of ``wanted`` on this machine; measures nothing."""
    from fffbench.measure import fingerprint
    from fffbench.plan.matrix import preset
    from fffbench.results import store
    from fffbench.results.current import current
    from fffbench.results.store import Results
    from fffbench.runs import release
    from fffbench.runs.parts import parts

    chosen = preset(wanted.preset)
    machine = fingerprint.machine_id(fingerprint.stable())
    processes = wanted.processes or release.processes_of_visit(chosen.processes, chosen.visits)
    loaded = store.load(results) if results.exists() else Results()
    plan = parts(wanted, results)
    seen = release.Seen.of(loaded, machine, current)
    layers = release.pieces(plan.cells, plan.keep, plan.unable, seen, chosen.visits)
    models = _models(wanted, results, machine, processes)
    place = next((i + 1 for i in reversed(range(len(layers))) if layers[i].part == chosen.models.get("after")), 0)
    return Ledger(machine, (*layers[:place], *models, *layers[place:]), processes, plan.cost, plan.known)


def _models(wanted: Options, results: Path, machine: str, processes: int) -> list[ModelPiece]:
    from fffbench.devices import DEVICES
    from fffbench.models.pieces import model_pieces
    from fffbench.plan.matrix import Axes, preset
    from fffbench.results.models import ModelResults, load_models

    if replace(wanted.axes, devices=()) != Axes():
        return []  # what was asked for is about layers
    chosen = preset(wanted.preset)
    here = {name for name, item in DEVICES.usable().items() if item.absent() is None}
    devices = tuple(here & set(wanted.axes.devices or here))
    found = load_models(results) if results.exists() else ModelResults()
    return model_pieces(chosen.models, devices, found, machine, chosen.visits, processes)


def measure(wanted: Options, results: Path, over: str, *, early: bool) -> None:
    """Measure what is open, run after run, until nothing is or the budget ends; say what remains."""
    from fffbench.runs.release import OVERHEAD_SECONDS

    if wanted.budget_seconds is not None and wanted.budget_seconds < 2 * OVERHEAD_SECONDS:
        least = duration(2 * OVERHEAD_SECONDS)
        raise UserError(f"--budget {wanted.budget_seconds:g}s is too short for a visit; {least} at least")
    end = None if wanted.budget_seconds is None else time.monotonic() + wanted.budget_seconds
    tried: set[str] = set()
    while (step := _next(wanted, results, tried, end, early=early)) is not None:
        tried |= set(step.names)
        notices.note(f"this run: {', '.join(step.names)}")
        step.run(over)
    _print_rest(ledger(wanted, results), early=early)


@dataclass(frozen=True)
class Step:
    """One run: the names of its pieces, and what measures them."""

    names: tuple[str, ...]
    run: Callable[[str], None]


@dataclass(frozen=True)
class _Runs:
    """What makes steps: the command's options, the folder of results, and the seconds that a run may take (or None)."""

    wanted: Options
    results: Path
    left: float | None

    def layers(self, names: tuple[str, ...], cells: Sequence[Cell], processes: int) -> Step:
        from fffbench.cli import measuring

        only = frozenset(cell.id for cell in cells)
        options = replace(self.wanted, only=only, processes=processes, budget_seconds=self.left, command=self.command)
        return Step(names, lambda over: measuring.measured(options, self.results, over))

    def models(self, piece: ModelPiece, processes: int) -> Step:
        from fffbench.cli import models

        seconds = self.wanted.sample_seconds
        return Step(
            (piece.name,),
            lambda _: models.run(piece.preset, piece.axes, processes, seconds, self.left, self.results),
        )

    @property
    def command(self) -> str:
        return f"fffbench run --preset {self.wanted.preset}"


def _next(wanted: Options, results: Path, tried: set[str], end: float | None, *, early: bool) -> Step | None:
    """What is measured next; None where nothing is open, or nothing fits into the time until ``end``."""
    from fffbench.runs import release
    from fffbench.runs.parts import interrupted

    left = None if end is None else (end - time.monotonic() - release.OVERHEAD_SECONDS) / release.OVERTIME
    runs = _Runs(wanted, results, left)
    begun = None if tried else interrupted(replace(wanted, command=runs.command), results)
    if begun is not None:
        return runs.layers(("what was interrupted",), begun.cells, begun.processes)
    state = ledger(wanted, results)
    whole = math.inf if left is None else release.SHARE * left
    layers, model = _open(state, tried, whole, early=early)
    if not layers and model is not None:
        return runs.models(model, state.processes)
    cost, most = (lambda cell: state.processes * state.cost(cell)), min(MOST_AT_ONCE, whole)
    choice = release.choose(layers, cost, most, whole, state.known)
    if choice is None or (choice.seconds > whole and tried):
        return None
    return runs.layers(choice.names, choice.cells, state.processes)


def _open(
    state: Ledger, tried: set[str], whole: float, *, early: bool
) -> tuple[list[tuple[str, Sequence[Sequence[Cell]]]], ModelPiece | None]:
    """The open pieces of layers that are more important than the first open one of whole models, and that one."""
    from fffbench.models.pieces import ModelPiece

    now = datetime.now(UTC)
    found: list[tuple[str, Sequence[Sequence[Cell]]]] = []
    for piece in state.pieces:
        if piece.name in tried:
            continue
        if isinstance(piece, ModelPiece):
            if piece.open(now, early=early) and piece.seconds <= whole:
                return found, piece
        elif groups := piece.open(now, early=early):
            found.append((piece.name, groups))
    return found, None


def show(wanted: Options, results: Path, *, as_json: bool, markdown: bool) -> None:
    """Print the ledger: a line for each piece that lacks a visit."""
    state, now = ledger(wanted, results), datetime.now(UTC)
    rows = list(_rows(state, now))
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    missing = [row for row in rows if row["minutes"]]
    if not missing:
        print(f"nothing is missing: {len(rows)} pieces of {wanted.preset} have their visits on {state.machine}")
        return
    shown = [tables.Table(f"{wanted.preset}, on {state.machine}", missing, [_sentence(state, rows)])]
    selecting.print_tables(shown, _COLUMNS, [], as_markdown=markdown)


def _rows(state: Ledger, now: datetime) -> Iterator[dict[str, Any]]:
    """Each piece: visits done and wanted, cells, minutes of all that is missing, minutes until the next may begin."""
    from fffbench.models.pieces import ModelPiece

    for piece in state.pieces:
        if isinstance(piece, ModelPiece):
            done, wanted = len(piece.visits.begun), piece.visits.wanted
            seconds = piece.seconds * max(0, wanted - done)
            wait = piece.visits.wait(now) if piece.visits.lacking else 0.0
        else:
            done, wanted = piece.done, piece.groups[0][1].wanted
            seconds, wait = state.seconds(piece.missing()), piece.wait(now)
        yield {
            "piece": piece.name,
            "cells": len(piece.cells),
            "visits": min(done, wanted),
            "wanted": wanted,
            "minutes": round(seconds / 60, 1) if done >= wanted else max(0.1, round(seconds / 60, 1)),
            "wait_minutes": round(wait / 60, 1),
        }


_COLUMNS: list[tables.Column[dict[str, Any]]] = [
    tables.Column("piece", lambda row: str(row["piece"])),
    tables.Column("cells", lambda row: str(row["cells"]), right=True),
    tables.Column("visits", lambda row: f"{row['visits']} of {row['wanted']}", right=True),
    tables.Column("takes", lambda row: duration(60 * row["minutes"]), right=True),
    tables.Column(
        "not before", lambda row: f"in {duration(60 * row['wait_minutes'])}" if row["wait_minutes"] else "now"
    ),
]


def _sentence(state: Ledger, rows: Sequence[dict[str, Any]]) -> str:
    missing = [row for row in rows if row["minutes"]]
    total = duration(60 * sum(row["minutes"] for row in missing))
    visit = f"{state.processes} fresh processes a visit"
    return f"{len(missing)} of {len(rows)} pieces lack a visit: about {total} of measuring, {visit}"


def _print_rest(state: Ledger, *, early: bool) -> None:
    rows = list(_rows(state, datetime.now(UTC)))
    missing = [row for row in rows if row["minutes"]]
    if not missing:
        notices.note(f"nothing is missing: all {len(rows)} pieces have their visits")
        return
    notices.note(_sentence(state, rows))
    waits = [row["wait_minutes"] for row in missing]
    if min(waits) > 0 and not early:
        notices.note(f"the next visit may begin in {duration(60 * min(waits))}; `--early` does not wait for it")
