"""How close to what this machine allows does an implementation come?

The bound of a cell is the larger of its compulsory bytes over the measured
DRAM bandwidth and its useful operations over the measured FMA peak. It is the
same bound for every cache protocol, so a hot cell may exceed it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from fffbench.analysis.stats import process_medians
from fffbench.plan.counts import compulsory_bytes, useful_operations
from fffbench.plan.workload import Workload
from fffbench.results.record import Machine, Record
from fffbench.results.store import Results
from fffbench.units import percent

ACCELERATOR_KEY = 0  # ceilings of an accelerator do not depend on host threads
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


def time_of(record: Record) -> float:
    """The estimate of a record's time: the median of its process medians."""
    return median(process_medians(record.info.processes))


def conditional(record: Record) -> bool:
    """Whether the record's work is the tree's and not the dense layer's."""
    return record.info.family in ("cmm", "fff")


def dram_bandwidth(machine: Machine, workload: Workload) -> float | None:
    """The best DRAM rate measured (read or copy) at the workload's threads, bytes per second."""
    threads = _key(workload)
    rates = [machine.ceiling(name, threads) for name in machine.ceilings if name.startswith("dram")]
    return max((rate for rate in rates if rate is not None), default=None)


def fma_peak(machine: Machine, workload: Workload) -> float | None:
    """The measured multiply-add peak of the workload's dtype at its threads, operations per second."""
    return machine.ceiling(f"fma_{workload.dtype}", _key(workload))


def _key(workload: Workload) -> int:
    return ACCELERATOR_KEY if workload.device != "cpu" else workload.threads


def bound_of(record: Record, machine: Machine) -> Bound | None:
    """The least time of the record's work on ``machine``; None where no ceiling was measured."""
    work, tree = record.cell.workload, conditional(record)
    bandwidth, peak = dram_bandwidth(machine, work), fma_peak(machine, work)
    bounds = []
    if bandwidth:
        distinct = record.info.distinct_rows if tree else None
        bounds.append(Bound(compulsory_bytes(work, distinct, conditional=tree) / bandwidth, "bandwidth"))
    if peak:
        bounds.append(Bound(useful_operations(work, conditional=tree) / peak, "arithmetic"))
    return max(bounds, key=lambda bound: bound.seconds) if len(bounds) == 2 else None


def share_of(record: Record, machine: Machine) -> float | None:
    """Bound over time: 1 is the roof. None where a ceiling is missing."""
    bound = bound_of(record, machine)
    return bound.seconds / time_of(record) if bound else None


def dense_strength(results: Results) -> list[DenseStrength]:
    """How strong the dense side is: share of the FMA peak at the largest batch, of bandwidth at batch 1.

    One entry per machine, device, dtype, threads and width, cold, by the fastest dense implementation and call.
    """
    groups: dict[tuple[str, str, str, int, int, str], list[Record]] = {}
    for record in results.records:
        work = record.cell.workload
        if record.info.family != "dense" or record.cell.protocol.cache != "cold":
            continue
        if work.batch == 1 or work.batch >= LARGE_BATCH:
            ceiling = "bandwidth" if work.batch == 1 else "FMA peak"
            key = (record.machine, work.device, work.dtype, work.threads, work.shape.n, ceiling)
            groups.setdefault(key, []).append(record)
    found = (_strength(records, key[-1], results) for key, records in sorted(groups.items()))
    return [strength for strength in found if strength is not None]


def _strength(records: Iterable[Record], ceiling: str, results: Results) -> DenseStrength | None:
    records = list(records)
    largest = max(record.cell.workload.batch for record in records)
    best = min((record for record in records if record.cell.workload.batch == largest), key=time_of)
    work, machine = best.cell.workload, results.machine_of(best)
    if ceiling == "bandwidth":
        top, amount = dram_bandwidth(machine, work), compulsory_bytes(work, conditional=False)
    else:
        top, amount = fma_peak(machine, work), float(useful_operations(work, conditional=False))
    if not top:
        return None
    share = amount / time_of(best) / top
    where = f"{work.shape.d} to {work.shape.n}, {work.dtype}, batch {work.batch}, {work.threads} threads"
    sentence = (
        f"The fastest dense layer ({best.cell.implementation}; {where}) reaches {percent(share)} of the {ceiling}"
    )
    if share < STRONG:
        sentence += f", short of the {percent(STRONG)} asked of it, so the speed-ups over it there are flattering"
        if work.device == "cpu":
            sentence += " (docs/kernels.md tells of the dense layers, what was tried and what is missing)"
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
