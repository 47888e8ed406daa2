"""Which pieces of whole models does a release have on this machine, and how long does one visit of them take?

A piece is one model at one batch on one device, with all its variants: what is compared with each other.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec

from fffbench import timed
from fffbench.models.run import ModelOptions, runnable
from fffbench.models.session import FIRST_COST
from fffbench.plan.models import ModelCell
from fffbench.plan.presets_of_models import ModelAxes, model_preset
from fffbench.results.current import current
from fffbench.results.models import ModelRecord, ModelResults
from fffbench.results.record import OUT_OF_BUDGET
from fffbench.runs.release import FEWEST_PROCESSES, Visits

PASSES = 6  # forward passes of a process beside the timed ones: the check, the layers' inputs, the warm-up


@dataclass(frozen=True)
class ModelPiece:
    """One model at one batch: what is measured, in which visits it was, and seconds of one visit."""

    preset: str
    model: str
    batch: int
    device: str
    cells: tuple[ModelCell, ...]
    visits: Visits
    seconds: float

    @property
    def name(self) -> str:
        """``models cpu-bert-base-b1``."""
        return f"{self.preset} {self.device}-{self.model}-b{self.batch}"

    def open(self, now: datetime, *, early: bool) -> bool:
        """Whether its next visit may begin now; ``early`` without the hour between."""
        return self.visits.lacking and (early or self.visits.wait(now) <= 0)

    @property
    def axes(self) -> ModelAxes:
        """What of its preset it is."""
        return ModelAxes(devices=(self.device,), batches=(self.batch,), models=(self.model,))


def model_pieces(
    presets: Mapping[str, str], devices: tuple[str, ...], found: ModelResults, machine: str, wanted: int, processes: int
) -> list[ModelPiece]:
    """The pieces of ``presets`` (by device) that can run here; none where whole models cannot be built."""
    if find_spec("transformers") is None:
        return []
    pieces = []
    for device, preset in presets.items():
        if device not in devices:
            continue
        plan, _ = runnable(ModelOptions(preset, ModelAxes(devices=(device,))))
        groups: dict[tuple[str, int], list[ModelCell]] = {}
        for cell in plan.cells:
            groups.setdefault((cell.work.model, cell.work.batch), []).append(cell)
        sample = model_preset(preset).sample_seconds
        for (model, batch), cells in groups.items():
            seconds = processes * sum(_cost(cell, found, machine, sample) for cell in cells)
            visits = _visits(cells, found, machine, wanted)
            pieces.append(ModelPiece(preset, model, batch, device, tuple(cells), visits, seconds))
    return pieces


def _visits(cells: list[ModelCell], found: ModelResults, machine: str, wanted: int) -> Visits:
    known, names = current(timed.MODELS), {cell.id for cell in cells}
    failed = {cell.id for where, cell, reason in found.skipped if where == machine and reason != OUT_OF_BUDGET}
    runs: dict[tuple[str, str], set[str]] = {}
    for record in found.records:
        enough = len(record.info.processes) >= FEWEST_PROCESSES
        if known is not None and record.machine == machine and record.timed_sources == known and enough:
            runs.setdefault((record.started, record.run), set()).add(record.cell.id)
    complete = [started for (started, _), measured in runs.items() if measured & names and names <= measured | failed]
    return Visits(tuple(sorted(complete)), wanted)


def _cost(cell: ModelCell, found: ModelResults, machine: str, sample: float) -> float:
    """Seconds of one process of ``cell``, by what it took here, else elsewhere, else by the guess of a first run."""
    known = [record for record in found.records if record.cell == cell]
    here = [record for record in known if record.machine == machine] or known
    return _took(here[-1], sample) if here else FIRST_COST


def _took(record: ModelRecord, sample: float) -> float:
    one = statistics.median(statistics.median(samples) for samples in record.info.processes)
    return record.info.build_seconds + record.info.prepare_seconds + max(sample, one) + PASSES * one
