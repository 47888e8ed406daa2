"""How long will a run take, before anything of it was measured?

From the same counts as the roofline, at rates a first guess can rely on. It
only has to be right within a factor of two: after one round the measured
times of that round replace it.
"""

from __future__ import annotations

from fffbench.devices import Device
from fffbench.plan.workload import Cell

Ceilings = dict[str, dict[str, float]]

JOB_SECONDS = 0.5  # forking twice, copying data in, loading the reference, judging, leaving
ROUND_SECONDS = 3.0  # a new worker importing torch
CALLS_BESIDES = 2  # the checked call, and a warm-up
# Share of its roofline that a family reaches at worst on the machines seen so far.
SHARE = {"dense": 0.4, "cmm": 0.01, "fff": 0.2, "reference": 0.002, "faulty": 0.2}


def call_seconds(cell: Cell, family: str, ceilings: Ceilings, share: float | None = None) -> float:
    """A guess at one call; ``share`` of the roofline where the implementation's differs from its family's."""
    workload, device = cell.workload, cell.workload.place
    key = device.ceilings_key(workload.threads)
    rate = ceilings.get(f"fma_{workload.dtype}", {}).get(key, device.guessed_rate)
    bandwidth = ceilings.get("dram_read", {}).get(key, device.guessed_bandwidth)
    bound = max(
        workload.operations(family) / rate,
        workload.bytes(family) / bandwidth,
    )
    return bound / (share or SHARE[family])


def process_seconds(call: float, sample_seconds: float, *, device: Device, slow_to_prepare: bool = False) -> float:
    """What one process takes for a cell whose call takes ``call`` seconds."""
    fixed = JOB_SECONDS + device.cell_seconds + (device.compile_seconds if slow_to_prepare else 0.0)
    return fixed + max(sample_seconds, call) + CALLS_BESIDES * call
