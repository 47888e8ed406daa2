"""How does the page know of a job that is not done?

``mark`` writes beside the results what each such job owes (``results.open_jobs``) and takes it away once it is done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from fffbench.errors import UserError
from fffbench.fleet.classes import MachineClass
from fffbench.fleet.jobs import DONE, MOST_THREADS, State, blocks_of, write_json
from fffbench.plan.matrix import preset
from fffbench.plan.workload import Cell
from fffbench.results.open_jobs import ROOM, OpenJob

_MOST = f"-{MOST_THREADS}th-"


def mark(states: Sequence[State], classes: Mapping[str, MachineClass], results: Path) -> list[Path]:
    """Mark the jobs that are not done, unmark those that are; the marks that stand. ``UserError`` for a full disk."""
    standing = []
    planned: dict[tuple[str, str], dict[str, list[Cell]]] = {}
    for state in states:
        job = state.job
        place = results / ROOM / job.class_name / f"{job.preset}-{job.block}.json"
        try:
            if state.state == DONE:
                place.unlink(missing_ok=True)
                continue
            key = (job.preset, job.class_name)
            if key not in planned:
                planned[key] = blocks_of(preset(job.preset), classes[job.class_name])
            write_json(place, _open(state, planned[key][job.block]).model_dump())
        except OSError as error:
            raise UserError(f"{place}: {error.strerror}") from error
        standing.append(place)
    return standing


def _open(state: State, cells: Sequence[Cell]) -> OpenJob:
    job = state.job
    names = list(dict.fromkeys(cell.id.replace(_MOST, "-all threads-") for cell in cells))
    return OpenJob(
        class_name=job.class_name, preset=job.preset, block=job.block, state=state.state, said=state.said, cells=names
    )
