"""What does the page need to know? The whole analysis, computed once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from fffbench.analysis.attribution import Attribution, every_attribution
from fffbench.analysis.breakeven import BreakEven, break_even
from fffbench.analysis.ceilings import Ceilings, ceilings_of
from fffbench.analysis.devices import Saving, savings
from fffbench.analysis.evidence import one_record_per_cell
from fffbench.analysis.fidelity import Climb
from fffbench.analysis.headline import Answer, answers, machine_name
from fffbench.analysis.history import Series, history
from fffbench.analysis.roofline import DenseStrength, dense_strength, share_of
from fffbench.analysis.rows import Speedup
from fffbench.analysis.speedup import speedups
from fffbench.analysis.stats import Estimate, time_of_medians
from fffbench.claims.judging import judge_all, published_ladders
from fffbench.claims.rows import ClaimRow
from fffbench.devices import main_device
from fffbench.report.anchors import Anchors
from fffbench.report.shown import Device, Place, devices
from fffbench.results.listing import Refusal
from fffbench.results.record import Machine, Record
from fffbench.results.store import Results
from fffbench.results.superseded import place_of

PUBLISHED = "n"  # how names of published quantities begin


@dataclass(frozen=True)
class Totals:
    """How much there is of all machines, those without a column as well."""

    records: int
    superseded: int
    skipped: int
    skipped_elsewhere: int  # on machines that have records and no column


@dataclass(frozen=True)
class Analysis:
    """Everything the page is made of, computed once."""

    results: Results
    rows: list[Speedup]
    shown_rows: list[Speedup]  # of the devices with a column
    claims: list[ClaimRow]
    times: dict[str, Estimate]
    ceilings: Ceilings
    shares: dict[str, float | None]
    crossings: list[BreakEven]
    savings: list[Saving]
    strength: list[DenseStrength]
    answers: list[Answer]
    attributions: list[Attribution]  # of every cell under fair conditions
    climbs: list[Climb]
    anchors: Anchors
    history: list[Series]
    shown: list[Device]  # the devices with a column on the page
    left_out: int  # machines that have records and no column
    totals: Totals
    places: dict[Place, str]  # what a reader calls each machine and device
    names: dict[str, str]  # what a reader calls each machine
    refused: tuple[Refusal, ...]  # what could not be used of any room

    @property
    def machines(self) -> set[str]:
        """The machines whose rows and samples are in the archive."""
        return {device.machine for device in self.shown}

    def with_all(self, claims: list[ClaimRow], answers: list[Answer], climbs: list[Climb]) -> Analysis:
        """This with what is told of all machines."""
        return replace(self, claims=claims, answers=answers, climbs=climbs, savings=savings(answers))


def analyse(results: Results, kind: str = PUBLISHED) -> Analysis:
    """Run the whole analysis on ``results``; names of quantities begin with ``kind``."""
    rows, ladders = speedups(results), published_ladders(results)
    counted = Counter(map(place_of, results.records))
    shown = devices(counted, results.machines, results.older)
    elsewhere = {machine for machine, _ in counted} - {device.machine for device in shown}
    return of_all(
        results,
        kind,
        shown,
        rows,
        judge_all(results, rows=rows, ladders=ladders),
        answers(results, rows),
        ladders,
        places_of(counted, results.machines),
        Totals(
            len(results.records),
            len(results.superseded),
            len(results.skipped),
            sum(item.machine in elsewhere for item in results.skipped),
        ),
    )


def of_all(
    results: Results,
    kind: str,
    shown: list[Device],
    rows: list[Speedup],
    claims: list[ClaimRow],
    found: list[Answer],
    ladders: list[Climb],
    places: dict[Place, str],
    totals: Totals,
) -> Analysis:
    """The analysis of ``results`` and their ``rows``, with what is told of all machines: ``claims`` and the rest."""
    times = {record.id: time_of_medians(record.medians) for record in results.records}
    ceilings = ceilings_of(results)
    shares = {record.id: share_of(record, ceilings) for record in results.records}
    columns = {device.place for device in shown}
    return Analysis(
        results=results,
        rows=rows,
        shown_rows=[row for row in rows if (row.machine, row.device) in columns],
        claims=claims,
        times=times,
        ceilings=ceilings,
        shares=shares,
        crossings=break_even(rows),
        savings=savings(found),
        strength=dense_strength(one_record_per_cell(results), ceilings),
        answers=found,
        attributions=every_attribution(results, rows),
        climbs=ladders,
        anchors=Anchors(_named(results, shown, kind), kind),
        history=history(results.history),
        shown=shown,
        left_out=len({machine for machine, _ in places} - {device.machine for device in shown}),
        totals=totals,
        places=places,
        names=_names(results),
        refused=results.refused,
    )


def _named(results: Results, shown: list[Device], kind: str) -> Iterable[Record]:
    """The records that have a place on a page: of the machines with a column, or all of a reader's ``kind``."""
    machines = {device.machine for device in shown}
    return (record for record in results.records if kind != PUBLISHED or record.machine in machines)


def places_of(counted: Iterable[Place], machines: Mapping[str, Machine]) -> dict[Place, str]:
    """What a reader calls each machine and device."""
    return {(name, device): machine_name(machines[name], device) for name, device in sorted(counted)}


def _names(results: Results) -> dict[str, str]:
    return {name: machine_name(machine, main_device(machine.stable)) for name, machine in results.machines.items()}
