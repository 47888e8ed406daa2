"""How long will a run take, before anything of it was measured?

From the same counts as the roofline, at rates a first guess can rely on. It
only has to be right within a factor of two: after one round the measured
times of that round replace it.
"""

from __future__ import annotations

from fffbench.plan.counts import compulsory_bytes, useful_operations
from fffbench.plan.workload import Cell

Ceilings = dict[str, dict[str, float]]

JOB_SECONDS = 0.35  # forking, copying data in, loading the reference, leaving
ROUND_SECONDS = 3.0  # a new worker importing torch
CALLS_BESIDES = 2  # the checked call, and a warm-up
# Share of its roofline that a family reaches at worst on the machines seen so far.
SHARE = {"dense": 0.4, "cmm": 0.01, "fff": 0.2, "reference": 0.002, "faulty": 0.2}


def call_seconds(cell: Cell, family: str, ceilings: Ceilings) -> float:
    """A guess at one call."""
    workload = cell.workload
    conditional = family != "dense"
    key = "0" if workload.device == "cuda" else str(workload.threads)
    rate = ceilings.get(f"fma_{workload.dtype}", {}).get(key, 5e10)
    bandwidth = ceilings.get("dram_read", {}).get(key, 1e10)
    bound = max(
        useful_operations(workload, conditional=conditional) / rate,
        compulsory_bytes(workload, conditional=conditional) / bandwidth,
    )
    return bound / SHARE[family]


def process_seconds(call: float, sample_seconds: float) -> float:
    """What one process takes for a cell whose call takes ``call`` seconds."""
    return JOB_SECONDS + max(sample_seconds, call) + CALLS_BESIDES * call
