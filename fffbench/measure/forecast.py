"""How long will a run take, before anything of it was measured?

From the same counts as the roofline, at rates a first guess can rely on. It
only has to be right within a factor of two: after one round the measured
times of that round replace it.
"""

from __future__ import annotations

from fffbench.plan.counts import compulsory_bytes, useful_operations
from fffbench.plan.workload import Cell

Ceilings = dict[str, dict[str, float]]

JOB_SECONDS = 0.5  # forking twice, copying data in, loading the reference, judging, leaving
ROUND_SECONDS = 3.0  # a new worker importing torch
# A GPU's cell on top: its share of a new context and its libraries (3 s among 24 cells), the warm-up, the float64
# reference, capturing a graph, and in a first process NVRTC or Triton.
CUDA_SECONDS = 0.5
COMPILE_SECONDS = 8.0  # torch.compile, 5 to 10 s a shape; every process compiles its own
CALLS_BESIDES = 2  # the checked call, and a warm-up
# Before the ceilings are measured (``--plan``): one core with AVX2, and a data-centre GPU of 2020 in fp32.
GUESSED_RATE = {"cpu": 5e10, "cuda": 2e13}  # operations a second
GUESSED_BANDWIDTH = {"cpu": 1e10, "cuda": 1.5e12}  # bytes a second
# Share of its roofline that a family reaches at worst on the machines seen so far.
SHARE = {"dense": 0.4, "cmm": 0.01, "fff": 0.2, "reference": 0.002, "faulty": 0.2}


def call_seconds(cell: Cell, family: str, ceilings: Ceilings, share: float | None = None) -> float:
    """A guess at one call; ``share`` of the roofline where the implementation's differs from its family's."""
    workload = cell.workload
    conditional = family != "dense"
    key = "0" if workload.device == "cuda" else str(workload.threads)
    rate = ceilings.get(f"fma_{workload.dtype}", {}).get(key, GUESSED_RATE[workload.device])
    bandwidth = ceilings.get("dram_read", {}).get(key, GUESSED_BANDWIDTH[workload.device])
    bound = max(
        useful_operations(workload, conditional=conditional) / rate,
        compulsory_bytes(workload, conditional=conditional) / bandwidth,
    )
    return bound / (share or SHARE[family])


def process_seconds(call: float, sample_seconds: float, *, device: str = "cpu", slow_to_prepare: bool = False) -> float:
    """What one process takes for a cell whose call takes ``call`` seconds."""
    fixed = JOB_SECONDS
    if device == "cuda":
        fixed += CUDA_SECONDS + (COMPILE_SECONDS if slow_to_prepare else 0.0)
    return fixed + max(sample_seconds, call) + CALLS_BESIDES * call
