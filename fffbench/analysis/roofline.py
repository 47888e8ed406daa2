"""How close to what this machine allows does an implementation come?

The bound of a cell is the larger of its compulsory bytes over the measured
DRAM bandwidth and its useful operations over the arithmetic peak
(``ceilings``). It is the same bound for every cache protocol, so a hot or warm
cell may exceed it; a cold one cannot, as a ceiling is at least what was reached.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fffbench.analysis.ceilings import Ceilings, costs_of, time_of
from fffbench.problems.base import DENSE
from fffbench.results.record import Record
from fffbench.results.store import Results
from fffbench.units import percent

STRONG = 0.75  # share of a ceiling from which the dense side counts as strong; below, the page says why
LARGE_BATCH = 1024  # from here a dense layer is bound by arithmetic on every machine at hand


@dataclass(frozen=True)
class Bound:
    """The least time a cell can take, and what limits it: ``bandwidth`` or ``arithmetic``."""

    seconds: float
    limit: str


@dataclass(frozen=True)
class DenseStrength:
    """What share of a ceiling the fastest dense layer reaches, and the sentence to print where it is weak."""

    machine: str
    device: str
    dtype: str
    threads: int
    batch: int
    n: int
    ceiling: str
    share: float
    implementation: str
    record: str
    sentence: str

    @property
    def strong(self) -> bool:
        """Whether the share reaches what the design asks of the dense side."""
        return self.share >= STRONG


def bound_of(record: Record, ceilings: Ceilings) -> Bound | None:
    """The least time of the record's work on its machine; None where no ceiling was measured."""
    bounds = _bounds(record, ceilings)
    if bounds is None:
        return None
    return Bound(max(bounds), "bandwidth" if bounds[0] >= bounds[1] else "arithmetic")


def _bounds(record: Record, ceilings: Ceilings) -> tuple[float, float] | None:
    """The least time by the bandwidth, and by the arithmetic peak."""
    bandwidth, peak = ceilings.roofs(record)
    if bandwidth is None or peak is None:
        return None
    operations, moved, _ = costs_of(record)
    return moved / bandwidth.value, operations / peak.value


def share_of(record: Record, ceilings: Ceilings) -> float | None:
    """Bound over time: 1 is the roof. None where a ceiling is missing."""
    bounds = _bounds(record, ceilings)
    return max(bounds) / time_of(record) if bounds else None


def dense_strength(results: Results, ceilings: Ceilings) -> list[DenseStrength]:
    """How strong the dense side is: share of the arithmetic peak at the largest batch, of bandwidth at batch 1.

    One entry per machine, device, dtype, threads and width, cold, by the fastest dense implementation and call.
    """
    groups: dict[tuple[str, str, str, int, int, str], list[Record]] = {}
    for record in results.records:
        work = record.cell.workload
        if record.info.family != "dense" or record.cell.protocol.cache != "cold":
            continue
        if work.batch == 1 or work.batch >= LARGE_BATCH:
            ceiling = "bandwidth" if work.batch == 1 else "arithmetic peak"
            key = (record.machine, work.device, work.dtype, work.threads, work.shape.n, ceiling)
            groups.setdefault(key, []).append(record)
    found = (_strength(records, key[-1], ceilings) for key, records in sorted(groups.items()))
    return [strength for strength in found if strength is not None]


def _strength(records: Iterable[Record], ceiling: str, ceilings: Ceilings) -> DenseStrength | None:
    records = list(records)
    largest = max(record.cell.workload.batch for record in records)
    best = min((record for record in records if record.cell.workload.batch == largest), key=time_of)
    work = best.cell.workload
    if ceiling == "bandwidth":
        top, amount = ceilings.bandwidth(best.machine, work), work.bytes(DENSE)
    else:
        top, amount = ceilings.peak(best.machine, work), float(work.operations(DENSE))
    if top is None:
        return None
    share = amount / time_of(best) / top.value
    where = f"{work.shape.d} to {work.shape.n}, {work.dtype}, batch {work.batch}, {work.threads} threads"
    sentence = (
        f"The fastest dense layer ({best.cell.implementation}; {where}) reaches {percent(share)} of the {ceiling}"
    )
    if share < STRONG:
        sentence += f", short of the {percent(STRONG)} asked of it, so the speed-ups over it there are flattering"
        sentence += f" ({work.place.dense_notes})" if work.place.dense_notes else ""
    return DenseStrength(
        best.machine,
        work.device,
        work.dtype,
        work.threads,
        work.batch,
        work.shape.n,
        ceiling,
        share,
        best.cell.implementation,
        best.id,
        sentence + ".",
    )
