"""The commands for many machines: ``fleet plan``, ``submit``, ``status``, ``collect``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fffbench.cli import notices, shared
from fffbench.cli.shared import Json, MergedInto
from fffbench.text import plain

if TYPE_CHECKING:
    from fffbench.fleet.classes import MachineClass
    from fffbench.fleet.jobs import Job, State

EXIT_OPEN = 1  # ``status`` and ``collect`` where some job is not done

fleet_app = typer.Typer(
    help="Measure every class of machine of a cluster, exclusively and resumably.", no_args_is_help=True
)

Classes = Annotated[Path, shared.folder("--classes", "the classes, in TOML", "FILE")]
PresetName = Annotated[str, typer.Option("--preset", help="which cells: docs/reference/presets.md lists them")]
Folder = Annotated[Path, shared.folder("--folder", "where the jobs write")]


def _planned(classes: Path, preset: str, folder: Path) -> tuple[dict[str, MachineClass], list[Job]]:
    from fffbench.fleet.classes import read_classes
    from fffbench.fleet.jobs import plan

    known = read_classes(classes)
    return known, plan(known, preset, folder.absolute())


def _states(classes: Path, preset: str, folder: Path) -> tuple[dict[str, MachineClass], list[State]]:
    from fffbench.fleet.jobs import states
    from fffbench.fleet.submit import queue

    known, jobs = _planned(classes, preset, folder)
    return known, states(jobs, known, queue(jobs))


@fleet_app.command()
def plan(classes: Classes, preset: PresetName = "quick", folder: Folder = Path("fleet"), as_json: Json = False) -> None:
    """Print the jobs: a class of machines x a block of cells that are compared with each other."""
    from fffbench.plan.matrix import preset as preset_of

    known, jobs = _planned(classes, preset, folder)
    own = preset_of(preset).budget_seconds
    rows: list[dict[str, Any]] = [
        {
            "class": job.class_name,
            "block": job.block,
            "cells": job.cells,
            "minutes": known[job.class_name].minutes(own),
            "folder": str(job.folder),
        }
        for job in jobs
    ]
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    for job, row in zip(jobs, rows, strict=True):
        print(plain(f"{job.name}  at least {job.cells} cells, {row['minutes']} min at most"))
    print(f"{len(jobs)} jobs on {len(known)} classes")


@fleet_app.command()
def submit(
    classes: Classes,
    cluster: Annotated[str, typer.Option(help="slurm, local (here, in processes of their own) or debug (here)")],
    preset: PresetName = "quick",
    folder: Folder = Path("fleet"),
) -> None:
    """Submit every job that is neither done nor queued. Again after a failure, the rest continues where it was."""
    from fffbench.fleet import submit as submitting

    known, found = _states(classes, preset, folder)
    to_do = [state.job for state in found if state.to_submit]
    submitting.submit(to_do, known, cluster, folder.absolute(), notices.say)
    print(f"{len(to_do)} of {len(found)} jobs submitted; the others are done or queued")


@fleet_app.command()
def status(
    classes: Classes, preset: PresetName = "quick", folder: Folder = Path("fleet"), as_json: Json = False
) -> None:
    """Say of every job how far it is and, where it failed, why; exit 1 while some job is not done."""
    _, found = _states(classes, preset, folder)
    _print(found, as_json=as_json)
    _end(found)


@fleet_app.command()
def collect(
    classes: Classes,
    preset: PresetName = "quick",
    folder: Folder = Path("fleet"),
    results: MergedInto = Path("results"),
) -> None:
    """Merge the results of the jobs that are done; name the others with the reason, and exit 1 where there are any.

    The page lists what the others owe, until they are collected too.
    """
    from fffbench.fleet import marks
    from fffbench.fleet.jobs import DONE
    from fffbench.results.merge import merge

    known, found = _states(classes, preset, folder)
    merged = merge([state.job.results for state in found if state.state == DONE], results)
    for refusal in merged.refused:
        notices.note(f"left out {refusal.line}")
    marks.mark(found, known, results)
    print(plain(f"{results}: {len(merged.added)} added, {len(merged.present)} there already"))
    _print([state for state in found if state.state != DONE], as_json=False)
    _end(found)


def _print(found: list[State], *, as_json: bool) -> None:
    if as_json:
        rows = [
            {"class": s.job.class_name, "block": s.job.block, "state": s.state, "said": s.said or None} for s in found
        ]
        print(json.dumps(rows, indent=1))
        return
    for state in found:
        print(plain(f"{state.job.name}: {state.state}{': ' if state.said else ''}{state.said}"))


def _end(found: list[State]) -> None:
    from fffbench.fleet.jobs import DONE

    if any(state.state != DONE for state in found):
        raise typer.Exit(EXIT_OPEN)
