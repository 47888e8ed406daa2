"""Which jobs does a fleet have, and how far is each of them?

A job is a class x a block of cells that are compared with each other. What is known of it lies in its own folder, so
that nothing but files has to be shared: ``<folder>/<class>/<preset>-<block>/`` holds ``submitted.json`` (written where
it was submitted), ``state.json`` and ``run.log`` (written on the node) and ``results``. It is done when its results
hold a result file; whatever else is written about it is for people.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fffbench.fleet.classes import MachineClass
from fffbench.implementations.registry import implementations
from fffbench.plan.blocks import by_block
from fffbench.plan.matrix import Names, cells, preset
from fffbench.plan.presets import Preset
from fffbench.plan.workload import Cell
from fffbench.results.listing import json_files
from fffbench.results.parsing import parse_json
from fffbench.text import message

# A plan is made where it is submitted, and the cores of the nodes are not known there: `all` and `physical` are one
# count on this imaginary machine, so a block has at least the cells that are counted.
MOST_THREADS = 2**16

DONE, RUNNING, WAITING, FAILED, ENDED, OPEN = "done", "running", "waiting", "failed", "ended", "not submitted"


@dataclass(frozen=True)
class Job:
    """One block of a preset on one class of machines; ``cells`` is how many it has at least."""

    class_name: str
    preset: str
    block: str
    cells: int
    folder: Path

    @property
    def name(self) -> str:
        """``epyc/quick-cpu-d768-b128``."""
        return f"{self.class_name}/{self.preset}-{self.block}"

    @property
    def results(self) -> Path:
        """The folder of results that its run writes to."""
        return self.folder / "results"

    def done(self) -> list[str]:
        """The machines of its result files; empty while it is not done."""
        return sorted({path.parent.name for path in json_files(self.results, "matrix")[0]})

    def read(self, name: str) -> dict[str, Any]:
        """The JSON object ``name`` in its folder; empty where there is none that can be read."""
        try:
            value = parse_json(self.folder / name)
        except (OSError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}


def plan(classes: Mapping[str, MachineClass], preset_name: str, folder: Path) -> list[Job]:
    """Every job of the preset on these classes, in a stable order."""
    chosen = preset(preset_name)
    return [
        Job(name, preset_name, block, len(held), folder / name / f"{preset_name}-{block}")
        for name, found in classes.items()
        for block, held in blocks_of(chosen, found).items()
    ]


def blocks_of(chosen: Preset, its_class: MachineClass) -> dict[str, list[Cell]]:
    """The blocks of a preset on a class with the cells that each has at least, on ``MOST_THREADS`` where on all."""
    items = implementations().items()
    names = Names({name: item.family for name, item in items}, {name: item.devices for name, item in items})
    planned = cells(chosen, its_class.parsed_axes, names, MOST_THREADS)
    there = (cell for cell in planned if cell.workload.device in its_class.devices)
    return by_block(there)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write ``value`` so that a reader sees the old file or the new one, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(value, indent=1), encoding="utf-8")
    draft.replace(path)


@dataclass(frozen=True)
class State:
    """How far one job is: one of the words above, and in one line why or where."""

    job: Job
    state: str
    said: str = ""

    @property
    def to_submit(self) -> bool:
        """Whether it is neither done nor with the scheduler."""
        return self.state not in (DONE, RUNNING, WAITING)


def states(
    jobs: Iterable[Job], classes: Mapping[str, MachineClass], queue: Mapping[str, tuple[str, str]]
) -> list[State]:
    """How far each job is; ``queue`` says of the scheduler's own jobs their state and its reason, by id."""
    return [_state(job, classes[job.class_name], queue) for job in jobs]


def _state(job: Job, its_class: MachineClass, queue: Mapping[str, tuple[str, str]]) -> State:
    machines = job.done()
    if machines:
        other = [name for name in machines if not name.startswith(its_class.machine)]
        strange = f", which is not {its_class.machine}*: kept under what it is" if other else ""
        return State(job, DONE, f"{', '.join(machines)}{strange}")
    submitted, written = job.read("submitted.json"), job.read("state.json")
    identifier = str(submitted.get("id", ""))
    if not submitted:
        return State(job, OPEN)
    if identifier in queue:
        word, reason = queue[identifier]
        return State(
            job, RUNNING if word == "RUNNING" else WAITING, message(f"job {identifier}: {word.lower()} {reason}")
        )
    if written.get("state") in (FAILED, ENDED) and written.get("id") == identifier:
        return State(job, str(written["state"]), message(str(written.get("said", "")), 300))
    began = "began and ended" if written.get("state") == RUNNING else "ended before it began"
    return State(job, ENDED, f"job {identifier} {began} without reporting: killed, or its node failed; submit again")
