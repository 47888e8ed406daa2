"""What turns the published figure into a fair one? A factor for each mistake mended, from cells of its own.

A ladder (``plan.fidelity``) is followed at each batch and thread count of a machine, with the one record that speaks
for each cell (``evidence``): the ratio on every rung, and what each rung multiplies it by, the FFF side's share and the
dense side's apart. No factor is a remainder; the residual is what their product misses of the ratio on the last rung.
The first rung differs from the published figure in hardware, BLAS, thread count and threading library (the last alone
is worth a factor of 2.6, ``docs/notebook/fidelity.md``): only the combined factor is known.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from fffbench.analysis.ceilings import time_of
from fffbench.analysis.evidence import interval, one_record_per_cell
from fffbench.analysis.stats import ratio_of_medians
from fffbench.devices import threads_text
from fffbench.plan.fidelity import BEST_DENSE, BEST_FFF, LADDERS, Ladder, Rung, Side
from fffbench.plan.workload import FAULTY
from fffbench.results.record import Record
from fffbench.results.store import Results
from fffbench.units import number

Place = tuple[str, str, int, int]  # machine, device, batch, threads
AtPlace = dict[tuple[str, str, str, str], list[Record]]  # by the layer's id, dtype, cache and call
SMALL_CHANGE = 1.1  # factors nearer to 1 than this are not named in a sentence


@dataclass(frozen=True, slots=True)
class Step:
    """One rung: both sides' times (seconds), their ratio, and what mending multiplied it by on each side.

    ``wrong`` names the sides whose output is wrong on purpose, with their error. Null where a cell is missing.
    """

    mended: str
    ours: str
    dense: str
    time: float | None
    dense_time: float | None
    speedup: float | None
    low: float | None
    high: float | None
    ours_factor: float | None
    dense_factor: float | None
    wrong: str
    missing: str
    records: tuple[str, ...]
    mistake: bool = True  # whether a fault of the benchmark was mended; else a kernel or condition of ours came in
    coverage: float | None = None

    @property
    def factor(self) -> float | None:
        """What this rung multiplied the ratio by; None on the first and beside a missing one."""
        return None if self.ours_factor is None or self.dense_factor is None else self.ours_factor * self.dense_factor


@dataclass(frozen=True)
class Climb:
    """One ladder at one place; ``arrival`` is the first rung over the published figure."""

    claim: str
    title: str
    published: float
    machine: str
    device: str
    batch: int
    threads: int
    steps: tuple[Step, ...]
    arrival: float | None
    residual: float | None
    sentence: str

    @property
    def mended(self) -> Step:
        """The last rung of the published routines, all mistakes mended."""
        return [step for step in self.steps if step.mistake][-1]

    def to_json(self) -> dict[str, Any]:
        """The climb as plain data."""
        return asdict(self)


def climbs(results: Results, published: Mapping[str, float]) -> list[Climb]:
    """Every ladder at every place where its first rung was measured, in the ladders' order.

    ``published`` has the figure of each claim by its id; a ladder of another claim is left out.
    """
    places: dict[Place, AtPlace] = defaultdict(lambda: defaultdict(list))
    for record in one_record_per_cell(results).records:
        work = record.cell.workload
        if work.routing == "uniform":
            here = places[record.machine, work.device, work.batch, work.threads]
            shape, *_, cache, call = record.cell.columns
            here[shape, work.dtype, cache, call].append(record)
    return [
        climb
        for ladder in LADDERS
        for place, records in sorted(places.items())
        if ladder.device == place[1] and ladder.claim in published
        if (climb := _climb(ladder, published[ladder.claim], place, records)) is not None
    ]


def _climb(ladder: Ladder, published: float, place: Place, records: AtPlace) -> Climb | None:
    """The ladder at one place; None where its first rung was not measured there."""
    machine, device, batch, threads = place
    if not (_find(ladder.rungs[0].ours, records) and _find(ladder.rungs[0].dense, records)):
        return None
    sides = [(_find(rung.ours, records), _find(rung.dense, records)) for rung in ladder.rungs]
    steps: list[Step] = []
    before: tuple[Record | None, Record | None] = (None, None)
    for rung, (ours, dense) in zip(ladder.rungs, sides, strict=True):
        steps.append(_step(rung, ours, dense, before))
        before = (ours, dense)
    first, last = steps[0].speedup, steps[-1].speedup
    factors = [step.factor for step in steps[1:]]
    residual = None
    if first and last and all(factors):
        residual = last / math.prod((first, *(factor for factor in factors if factor)))
    arrival = first / published if first else None
    climb = Climb(
        ladder.claim, ladder.title, published, machine, device, batch, threads, tuple(steps), arrival, residual,
        sentence="",
    )  # fmt: skip
    return replace(climb, sentence=_sentence(climb))


def _find(side: Side, records: AtPlace) -> Record | None:
    """The record of ``side``, or of the fastest correct layer there."""
    family = {BEST_DENSE: "dense", BEST_FFF: "fff"}.get(side.implementation)
    fitting = [
        record
        for record in records.get((side.shape.id, side.dtype, side.protocol.cache, side.protocol.call), ())
        if (record.info.family == family if family else record.cell.implementation == side.implementation)
    ]
    return min(fitting, key=time_of, default=None)


def _step(rung: Rung, ours: Record | None, dense: Record | None, before: tuple[Record | None, Record | None]) -> Step:
    gain = ratio_of_medians(dense.medians, ours.medians) if ours and dense else None
    low, high = interval(gain, dense.medians, ours.medians) if gain and ours and dense else (None, None)
    known = all((ours, dense, *before))
    lacking = [side.implementation for side, record in ((rung.ours, ours), (rung.dense, dense)) if record is None]
    wrong = [
        f"{record.cell.implementation}: error {record.info.check.error:.1g}"
        for record in (ours, dense)
        if record is not None and record.info.family == FAULTY and record.info.check.error > record.info.check.tolerance
    ]
    return Step(
        mended=rung.mended,
        ours=ours.cell.implementation if ours else rung.ours.implementation,
        dense=dense.cell.implementation if dense else rung.dense.implementation,
        time=time_of(ours) if ours else None,
        dense_time=time_of(dense) if dense else None,
        speedup=gain.value if gain else None,
        low=low,
        high=high,
        ours_factor=_faster(before[0], ours) if known else None,
        dense_factor=1 / _faster(before[1], dense) if known else None,
        wrong="; ".join(wrong),
        missing=", ".join(lacking),
        records=tuple(record.id for record in (ours, dense) if record),
        mistake=rung.mistake,
        coverage=gain.coverage if gain else None,
    )


def _faster(before: Record | None, after: Record | None) -> float:
    """How many times faster the side became; exactly 1 where it is the same record."""
    assert before is not None
    assert after is not None
    return ratio_of_medians(before.medians, after.medians).value if before.id != after.id else 1.0


def _sentence(climb: Climb) -> str:
    """From the publication to the fair comparison, at one batch and thread count."""
    threads = threads_text(climb.device, climb.threads, ", ", " on both sides")
    first, last = climb.steps[0].speedup or 0, climb.steps[-1].speedup
    said = (
        f"At batch {climb.batch}{threads}: {number(climb.published)}x was published; as shipped, the benchmark gives "
        f"{number(first)}x here ({in_words(climb.arrival or 1)} with other hardware and libraries, and with what was "
        "not published)."
    )
    if last is None or climb.residual is None:
        lacking = sorted({name for step in climb.steps if step.missing for name in step.missing.split(", ")})
        return f"{said} The way to a fair comparison lacks {', '.join(lacking)}."
    mended, ours = (", ".join(changes(climb, mistakes=mistakes)) or "no large change" for mistakes in (True, False))
    return (
        f"{said} With its mistakes mended it gives {number(climb.mended.speedup or 0)}x: {mended}. The fair comparison "
        f"gives {number(last)}x: {ours}. Residual {number(climb.residual)}."
    )


def changes(climb: Climb, *, mistakes: bool) -> list[str]:
    """What mending mistakes changed, or what came in of ours: the factors in words, the largest first."""
    found = [(abs(math.log(step.factor)), step) for step in climb.steps if step.factor and step.mistake == mistakes]
    large = sorted((item for item in found if item[0] > math.log(SMALL_CHANGE)), key=lambda item: -item[0])
    return [f"{in_words(step.factor or 1)} with {step.mended}" for _, step in large]


def in_words(factor: float) -> str:
    """``12.5 times more`` or ``2.00 times less``."""
    return f"{number(factor)} times more" if factor >= 1 else f"{number(1 / factor)} times less"


def written_change(factor: float) -> str:
    """``× 12.5`` or ``÷ 2.00``."""  # noqa: RUF002 - the sign a reader expects
    return f"× {number(factor)}" if factor >= 1 else f"÷ {number(1 / factor)}"  # noqa: RUF001 - the sign a reader expects
