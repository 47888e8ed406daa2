"""What can each machine do at best, as far as the results know?

A ceiling is measured by a short loop or a library's product, and noise can only lower it; so it is the best of all runs
of the machine. It may still be below what the machine can do (an AVX-512 loop knows nothing of AMX tiles), and then a
cell beats its bound. Such a cell puts the ceiling in doubt, not its own time, which was checked and repeated: a
ceiling is at least what a correct cell on that machine reached. Arithmetic counts from any cell, bandwidth from cold
ones, whose bytes were flushed from the caches before each call.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from fffbench.analysis.once import once
from fffbench.analysis.stats import estimate_times, time_of_medians
from fffbench.plan.workload import FAULTY, Workload, parse_cell
from fffbench.results.record import Record
from fffbench.results.store import Results

DOUBT = 1.05  # a cell that takes less than its bound by more than this puts the measured ceiling in doubt
FP32_UNIT = "the fp32 unit"
PEAKS = ("peak", "fma")  # by the fastest library or unit; by a plain multiply-add loop
MEANING = (
    "The arithmetic peak is the fastest of the measured ones (a multiply-add loop, a library's product) and the "
    "bandwidth the faster of reading and copying, each the best of all runs of a machine. Both are at least what a "
    "correct cell of that machine reached there: where a cell beats a measured ceiling, the ceiling is raised to it. "
    "The peak of a narrower type is at least that of fp32."
)

Measured = dict[str, dict[str, float]]
Key = tuple[str, str, str]  # machine, what (a dtype's peak or the bandwidth), threads


@dataclass(frozen=True)
class Ceiling:
    """A rate per second, what was measured as such, and the record or unit that reached more (empty if none did)."""

    value: float
    measured: float
    reached_by: str = ""

    @property
    def doubtful(self) -> bool:
        """Whether a cell is so much above the measured ceiling that the measurement is in doubt."""
        return self.value > DOUBT * self.measured


class Ceilings:
    """The ceilings of every machine; computed once for an analysis."""

    def __init__(self, results: Results) -> None:
        """Read what all runs measured, and the best rate that a correct record reached."""
        self.measured: dict[str, Measured] = {machine: {} for machine in results.machines}
        for run in results.runs.values():
            known = self.measured.setdefault(run.machine.id, {})
            for name, by_threads in run.machine.ceilings.items():
                best = known.setdefault(name, {})
                for threads, value in by_threads.items():
                    best[threads] = max(value, best.get(threads, 0.0))
        self._known: dict[Key, Ceiling | None] = {}
        self._reached: dict[Key, tuple[float, str]] = {}
        estimate_times(record.medians for record in results.records)
        for record in results.records:
            if record.info.family == FAULTY:
                continue
            time, cell = time_of(record), record.cell
            operations, moved, threads = costs_of(record)
            self._reach((record.machine, cell.workload.dtype, threads), operations / time, record)
            if cell.protocol.cache == "cold":
                self._reach((record.machine, "bandwidth", threads), moved / time, record)

    def _reach(self, key: Key, rate: float, record: Record) -> None:
        most = self._reached.get(key, (0.0, ""))
        if rate >= most[0]:
            self._reached[key] = max(most, (rate, record.id))

    def peak(self, machine: str, workload: Workload) -> Ceiling | None:
        """The multiply-add peak of the workload's dtype at its threads, operations per second."""
        return self._peak(machine, workload.dtype, threads_key(workload))

    def bandwidth(self, machine: str, workload: Workload) -> Ceiling | None:
        """The memory bandwidth at the workload's threads, bytes per second."""
        return self._bandwidth(machine, threads_key(workload))

    def roofs(self, record: Record) -> tuple[Ceiling | None, Ceiling | None]:
        """Bandwidth and peak for ``record``."""
        threads = costs_of(record)[2]
        return self._bandwidth(record.machine, threads), self._peak(record.machine, record.cell.workload.dtype, threads)

    def used(self, machine: str) -> dict[str, dict[str, Ceiling]]:
        """The ceilings that bounds of ``machine`` rest on, by name and threads."""
        found: dict[str, dict[str, Ceiling]] = {}
        for name, by_threads in sorted(self.measured.get(machine, {}).items()):
            kind, _, dtype = name.partition("_")
            for threads in by_threads:
                if kind == "dram" and (ceiling := self._bandwidth(machine, threads)):
                    found.setdefault("memory bandwidth", {})[threads] = ceiling
                elif kind in PEAKS and (ceiling := self._peak(machine, dtype, threads)):
                    found.setdefault(f"arithmetic peak, {dtype}", {})[threads] = ceiling
        return dict(sorted(found.items()))

    def _peak(self, machine: str, dtype: str, threads: str) -> Ceiling | None:
        key = (machine, dtype, threads)
        if key not in self._known:
            self._known[key] = self._peak_of(machine, dtype, threads)
        return self._known[key]

    def _peak_of(self, machine: str, dtype: str, threads: str) -> Ceiling | None:
        """A narrower type is no slower than fp32, whose unit can do its work."""
        own = self._ceiling(machine, dtype, [f"{kind}_{dtype}" for kind in PEAKS], threads)
        wide = self._ceiling(machine, "fp32", [f"{kind}_fp32" for kind in PEAKS], threads)
        if own is None or wide is None or own.value >= wide.value:
            return own
        return replace(wide, measured=own.measured, reached_by=wide.reached_by or FP32_UNIT)

    def _bandwidth(self, machine: str, threads: str) -> Ceiling | None:
        key = (machine, "bandwidth", threads)
        if key not in self._known:
            names = [name for name in self.measured.get(machine, {}) if name.startswith("dram")]
            self._known[key] = self._ceiling(*key[:2], names, threads)
        return self._known[key]

    def _ceiling(self, machine: str, what: str, names: list[str], threads: str) -> Ceiling | None:
        known = self.measured.get(machine, {})
        measured = max((known[name][threads] for name in names if threads in known.get(name, {})), default=None)
        if measured is None:
            return None
        rate, record = self._reached.get((machine, what, threads), (0.0, ""))
        return Ceiling(rate, measured, record) if rate > measured else Ceiling(measured, measured)


@once
def ceilings_of(results: Results) -> Ceilings:
    """The ceilings of every machine in ``results``."""
    return Ceilings(results)


def time_of(record: Record) -> float:
    """The estimate of a record's time."""
    return time_of_medians(record.medians).value


def costs_of(record: Record) -> tuple[int, float, str]:
    """Useful operations of a record's work, the bytes it must move at the least, and its ``threads_key``."""
    return _costs(record.cell.id, record.info.family, record.info.distinct_rows)


@lru_cache(maxsize=20_000)  # machines of one kind measure the same cells, and each is asked about ten times
def _costs(cell: str, family: str, distinct_rows: float) -> tuple[int, float, str]:
    work = parse_cell(cell).workload
    return work.operations(family), work.bytes(family, distinct_rows), threads_key(work)


def threads_key(workload: Workload) -> str:
    """Under which a machine's ceilings stand for ``workload``."""
    return workload.place.ceilings_key(workload.threads)
