"""Which claims are open on a machine, how do they lean, and which cells would settle them in how much time?

A claim is open on a machine where its verdict there is undecided, or where nothing of it was measured although the
machine has the device. What settles it are both sides of each set of conditions that is open, in fresh processes of one
run: the cells that were measured, where there is a ratio already, else those that the claim's file asks for. Where an
interval is wide in spite of six processes, more are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from fffbench.analysis.baselines import BERT_WIDTH, PUBLISHED, PUBLISHED_WIDTH, SAME_PRIMITIVE
from fffbench.analysis.ranks import LEVEL
from fffbench.claims.base import Claim, Conditions
from fffbench.claims.judging import judge_all
from fffbench.claims.leaning import Place, places
from fffbench.claims.rows import ClaimRow
from fffbench.claims.rule import EXCEEDED, NOT_MEASURED, REPRODUCED, UNDECIDED
from fffbench.devices import device
from fffbench.plan.candidates import candidates
from fffbench.plan.workload import Cell, Protocol, Shape, Workload, parse_cell
from fffbench.results.record import FULL_PROCESSES, OUT_OF_BUDGET
from fffbench.results.store import Results

MORE_PROCESSES = 16  # where six left an interval that sticks out of the band on both sides
PUBLISHED_TREE = (1, 12)  # of the row that the claims about width are set against


@dataclass(frozen=True)
class Kernels:
    """What an open claim must know of implementations: names by family, device and type; seconds of a process."""

    names: Callable[[str, str, str], Sequence[str]]
    seconds: Callable[[Cell], float]


@dataclass(frozen=True)
class Where:
    """A device of a machine, and how many threads it has (1 on a GPU)."""

    machine: str
    device: str
    threads: int


@dataclass(frozen=True)
class Open:
    """One open claim on one machine."""

    claim: Claim
    machine: str
    device: str
    verdict: str
    leans: str
    lacking: str
    cells: tuple[Cell, ...]
    processes: int
    seconds: float


def measured_places(results: Results) -> list[Where]:
    """The devices of which there are results."""
    found: dict[tuple[str, str], int] = {}
    for record in results.records:
        work, cores = record.cell.workload, results.machines[record.machine].stable.get("cores", "")
        known = int(cores) if cores.isdecimal() and len(cores) < 6 and device(work.device).threaded else 1
        key = (record.machine, work.device)
        found[key] = max(found.get(key, known), work.threads)
    return [Where(machine, device, threads) for (machine, device), threads in sorted(found.items())]


def open_claims(
    results: Results, claims: Sequence[Claim], where: Iterable[Where], kernels: Callable[[str], Kernels]
) -> list[Open]:
    """Every claim that is open at ``where``, the quickest to settle first on each device."""
    judged = {
        (place.claim.id, place.machine, place.device): place
        for place in places(judge_all(results, claims=claims), claims)
    }
    found = []
    for place in where:
        cells = _Cells(results, place, kernels(place.machine))
        here = [
            cells.open(claim, judged.get((claim.id, place.machine, place.device)))
            for claim in claims
            if claim.conditions and claim.workload is not None and place.device in claim.workload.devices
        ]
        found += sorted((one for one in here if one is not None), key=lambda one: one.seconds)
    return found


def together(found: Iterable[Open]) -> tuple[dict[Cell, None], int]:
    """The cells that settle all of ``found``, each once; many processes only where all of them ask for many."""
    found = list(found)
    return (
        {cell: None for one in found for cell in one.cells},
        min((one.processes for one in found), default=FULL_PROCESSES),
    )


class _Cells:
    """The cells of open claims on one device of one machine."""

    def __init__(self, results: Results, where: Where, kernels: Kernels) -> None:
        self._where, self._kernels = where, kernels
        self._unable = {
            item.cell for item in results.skipped if item.machine == where.machine and item.reason != OUT_OF_BUDGET
        } - {record.cell for record in results.records if record.machine == where.machine}

    def open(self, claim: Claim, place: Place | None) -> Open | None:
        """``claim`` if it is open here."""
        if place is not None and place.verdict != UNDECIDED:
            return None
        needed = list(claim.conditions) if place is None else _deciding(place)
        rows = {"fair": place.fair, "published": place.published} if place else {}
        cells: dict[Cell, None] = {}
        thick = False
        for name, conditions in claim.conditions.items():
            if name not in needed:
                continue
            row = rows.get(name)
            thick |= row is not None and (row.coverage or 0) >= LEVEL
            cells |= dict.fromkeys(_of_row(row) if row is not None else self._of_conditions(claim, conditions))
        kept = tuple(cell for cell in cells if cell not in self._unable)
        processes = MORE_PROCESSES if thick else FULL_PROCESSES
        return Open(
            claim,
            self._where.machine,
            self._where.device,
            NOT_MEASURED if place is None else UNDECIDED,
            "" if place is None else place.leans,
            _lacking(needed, rows),
            kept,
            processes,
            processes * sum(map(self._kernels.seconds, kept)),
        )

    def _of_conditions(self, claim: Claim, conditions: Conditions) -> list[Cell]:
        """Both sides that ``conditions`` ask for, at the batch that takes the least time."""
        want = claim.workload
        assert want is not None
        assert want.batch is not None
        options = [list(self._at(claim, conditions, batch)) for batch in (want.batch, *conditions.or_batch)]
        return min(options, key=lambda cells: sum(map(self._kernels.seconds, cells)))

    def _at(self, claim: Claim, conditions: Conditions, batch: int) -> Iterator[Cell]:
        want, subject = claim.workload, conditions.subject or claim.subject
        assert want is not None
        assert subject is not None
        dtype = str(want.dtype)
        names: Sequence[str] = subject.implementations
        if subject.family == "dense":
            names = candidates(self._where.device, dtype, batch)
        elif subject.family is not None:
            names = self._kernels.names(subject.family, self._where.device, dtype)
        usual = device(self._where.device).headline_call
        call = usual if usual in conditions.call else conditions.call[0]
        protocol = Protocol(conditions.cache, call)
        routing = conditions.routing if want.trees else "uniform"
        for threads in self._threads(conditions):
            for name in names:
                yield Cell(name, Workload(want.shape, batch, dtype, routing, threads, self._where.device), protocol)
            for name, shape in self._baselines(conditions.baseline, names, want.shape, dtype, batch):
                yield Cell(name, Workload(shape, batch, dtype, "uniform", threads, self._where.device), protocol)

    def _baselines(
        self, baseline: str, names: Sequence[str], shape: Shape, dtype: str, batch: int
    ) -> Iterable[tuple[str, Shape]]:
        """The dense layers that can be the baseline, with their shapes."""
        if baseline == "published":
            return [(PUBLISHED, shape)]
        if baseline == "same-primitive":
            return [(SAME_PRIMITIVE[name], shape) for name in names if name in SAME_PRIMITIVE]
        if baseline == "wider":
            wide = Shape.tree(shape.d, *PUBLISHED_TREE)
            assert wide.n == PUBLISHED_WIDTH
            return product(names, [wide])
        best = candidates(self._where.device, dtype, batch)
        return product(best, [Shape.dense(shape.d, BERT_WIDTH) if baseline == "bert" else shape])

    def _threads(self, conditions: Conditions) -> list[int]:
        if not device(self._where.device).threaded:
            return [1]
        if isinstance(conditions.threads, int):
            return [conditions.threads]
        return sorted({1, self._where.threads}) if conditions.threads == "fastest" else [self._where.threads]


def _deciding(place: Place) -> list[str]:
    """The open conditions that matter: where the fair ones lean to the figure, the published ones decide nothing."""
    needed = place.open_conditions
    return ["fair"] if place.leans in (REPRODUCED, EXCEEDED) and "fair" in needed else needed


def _of_row(row: ClaimRow) -> list[Cell]:
    """The cells of both sides of a ratio that is there."""
    return [parse_cell(record.rpartition("/")[2]) for record in row.records]


def _lacking(needed: Sequence[str], rows: dict[str, ClaimRow | None]) -> str:
    said = []
    for name in needed:
        row = rows.get(name)
        if row is None:
            said.append(f"{name} not measured")
        elif (row.coverage or 0) >= LEVEL:
            said.append(f"{name} too wide")
        else:
            said.append(f"{name} few processes")
    return ", ".join(said)
