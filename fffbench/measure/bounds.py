"""Is this time possible? A call faster than the machine's measured ceilings allow was not measured, whatever it says.

The bounds are generous: a ceiling is measured in a few short runs, on shared machines under load (of 2,013 committed
fp32 cells on CPUs one in fifty beats its arithmetic ceiling, the worst 1.7 times, and none its bandwidth when cold).
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import replace

from fffbench.measure.outcome import Outcome
from fffbench.plan.workload import Cell
from fffbench.units import seconds

Ceilings = Mapping[str, Mapping[str, float]]

BANDWIDTH = 2.0  # times a measured one that a call may reach; of arithmetic the device says how many
CLOCK_SECONDS = 5e-8  # two readings of the clock; an empty call from Python takes as long


def least_seconds(cell: Cell, ceilings: Ceilings, distinct_rows: float | None, family: str) -> float:
    """What a call of ``cell`` takes at the least; the clock's own grain where no ceiling is known."""
    workload = cell.workload
    if workload.batch == 0:
        return 0.0
    key = workload.place.ceilings_key(workload.threads)
    least = CLOCK_SECONDS
    peak = ceilings.get(f"peak_{workload.dtype}", {}).get(key, 0.0)  # of the fastest unit, where it was measured
    rate = max(peak, *(ceilings.get(name, {}).get(key, 0.0) for name in (f"fma_{workload.dtype}", "fma_fp32")))
    if rate > 0:
        allowed = rate * workload.place.over_ceiling["fp32" if peak else workload.dtype]
        least = max(least, workload.operations(family) / allowed)
    bandwidth = max(ceilings.get(name, {}).get(key, 0.0) for name in ("dram_read", "dram_copy"))
    if bandwidth > 0 and cell.protocol.cache == "cold":
        least = max(least, workload.bytes(family, distinct_rows) / (BANDWIDTH * bandwidth))
    return least


def possible(outcome: Outcome, cell: Cell, ceilings: Ceilings, family: str) -> Outcome:
    """``outcome``, or a failure in its place where its time cannot be."""
    if outcome.failure is not None or not outcome.samples:
        return outcome
    least = least_seconds(cell, ceilings, outcome.distinct_rows, family)
    claimed = statistics.median(outcome.samples)
    if claimed >= least:
        return outcome
    allowed = f"the ceilings measured on this machine allow no less than {seconds(least)}"
    reason = f"it reports {seconds(claimed)} per call; {allowed}"
    return replace(outcome, samples=(), failure=reason)
