"""How long does a call take on this machine, by what was measured here before?

The forecast from counts is right within a factor of two or more where a family's worst share of the roofline stands for
all of it; a stored time of the same cell is right within some per cent. A cell that was not measured takes the forecast
corrected by what the nearest measured cell of the same implementation took against its own. What a process takes
beside its calls (forking, laying out data, judging) is what the newest runs took beyond that: a second on 2 cores,
nine on a host of 16. Before anything was measured on a machine, a plan goes by the other machines whose results are
there.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import MappingProxyType

from fffbench.measure.forecast import ROUND_SECONDS, Ceilings, process_seconds
from fffbench.plan.workload import Cell
from fffbench.results.listing import files_of_room
from fffbench.results.reader import read_file
from fffbench.results.record import Record
from fffbench.results.store import MATRIX

Guess = Callable[[Cell], float]
SAMPLE_SECONDS = 0.25  # of a process, as every preset that a claim rests on; a file does not say
NEWEST = 3  # runs: how outputs are judged changes with the code, from half a second to nine on one host
MOST_BESIDE = 60.0  # a run that was interrupted for hours says nothing of a process
FARTHEST = math.log(64)  # a cell that differs by more than this factor in batch or neurons teaches nothing


class Learnt:
    """Times of calls on one machine."""

    def __init__(
        self,
        records: Iterable[Record] = (),
        ceilings: Ceilings | None = None,
        elsewhere: Learnt | None = None,
        spent: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        """Take the median call of every record, of several of one cell the newest; ``elsewhere`` answers the rest.

        Files are read by their names, and those of older sources after those of now. ``spent`` has the seconds of runs.
        """
        self._elsewhere = elsewhere
        self.ceilings: Ceilings = ceilings or {}
        self._known: dict[Cell, float] = {}
        runs: dict[str, list[Record]] = defaultdict(list)
        for record in sorted(records, key=lambda one: one.started):
            medians = [statistics.median(samples) for samples in record.info.processes]
            self._known[record.cell] = statistics.median(medians)
            runs[record.run].append(record)
        beside: dict[str, list[float]] = defaultdict(list)
        for run, its_records in runs.items():
            if run in spent:
                beyond = self._beyond(its_records, spent[run])
                for device in {record.cell.workload.device for record in its_records}:
                    beside[device].append(beyond)
        self._beside = {device: statistics.median(found[-NEWEST:]) for device, found in beside.items()}
        self._alike: dict[tuple[str, str, str], list[Cell]] = defaultdict(list)
        for cell in self._known:
            self._alike[_kind(cell)].append(cell)

    def knows(self, cell: Cell) -> bool:
        """Whether that very cell was measured."""
        return cell in self._known

    def call(self, cell: Cell, guess: Guess) -> float:
        """Seconds of one call."""
        if cell in self._known:
            return self._known[cell]
        near = min(self._alike[_kind(cell)], key=lambda other: _distance(cell, other), default=None)
        if near is None or max(_distance(cell, near)[1:]) > FARTHEST:
            return guess(cell) if self._elsewhere is None else self._elsewhere.call(cell, guess)
        return guess(cell) * self._known[near] / guess(near)

    def _beyond(self, records: Sequence[Record], seconds: float) -> float:
        """Seconds of each process of a run beyond what its calls and the start of its rounds explain."""
        counts = [len(record.info.processes) for record in records]
        explained = max(counts) * ROUND_SECONDS + sum(
            count * process_seconds(self._known[record.cell], SAMPLE_SECONDS, device=record.cell.workload.place)
            for count, record in zip(counts, records, strict=True)
        )
        return min(max(0.0, seconds - explained) / sum(counts), MOST_BESIDE)

    def beside(self, device: str) -> float:
        """Seconds that a process on ``device`` takes beyond the forecast: the median over its newest runs."""
        if device in self._beside or self._elsewhere is None:
            return self._beside.get(device, 0.0)
        return self._elsewhere.beside(device)

    def process(self, cell: Cell, guess: Guess, sample_seconds: float, *, slow_to_prepare: bool) -> float:
        """Seconds of one fresh process."""
        work = cell.workload
        return self.beside(work.device) + process_seconds(
            self.call(cell, guess), sample_seconds, device=work.place, slow_to_prepare=slow_to_prepare
        )


def _kind(cell: Cell) -> tuple[str, str, str]:
    return cell.implementation, cell.workload.dtype, cell.workload.device


def _distance(cell: Cell, other: Cell) -> tuple[float, float, float]:
    """How far two cells of a kind are apart: what differs in kind, then factors in neurons and in batch."""
    one, two = cell.workload, other.workload
    differs = [one.threads != two.threads, cell.protocol != other.protocol, one.routing != two.routing]
    layer = abs(math.log((one.shape.d * one.shape.n) / (two.shape.d * two.shape.n)))
    return sum(differs), layer, abs(math.log(max(1, one.batch) / max(1, two.batch)))


def learnt(results_dir: Path, machine: str, *, others: bool = False) -> Learnt:
    """What the results under ``results_dir`` say of ``machine``; nothing where there are none.

    With ``others``, what was not measured on it is answered by the other machines there: good enough for a plan, and
    not for a limit after which a process is taken to hang.
    """
    records: dict[bool, list[Record]] = {True: [], False: []}
    spent: dict[str, float] = {}
    ceilings: Ceilings = {}
    for path in files_of_room(results_dir, MATRIX)[0]:
        own = path.parent.name == machine
        if not own and not others:
            continue
        content = read_file(path, results_dir)
        records[own] += content.records
        if content.run is not None:
            spent |= seconds_of(content.run.run, content.run.started, content.run.ended)
            ceilings = (content.run.machine.ceilings if own else {}) or ceilings
    return Learnt(records[True], ceilings, Learnt(records[False], spent=spent) if others else None, spent)


def seconds_of(run: str, started: str, ended: str) -> dict[str, float]:
    """How long ``run`` took, under its name; empty where its file does not say when it ended."""
    try:
        return {run: (datetime.fromisoformat(ended) - datetime.fromisoformat(started)).total_seconds()}
    except (ValueError, TypeError):  # no date, or one without a time zone
        return {}
