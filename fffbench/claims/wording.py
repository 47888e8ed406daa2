"""What is said of the ratio that answers a claim?"""

from __future__ import annotations

from collections.abc import Iterable

from fffbench.analysis.baselines import WITH_TF32
from fffbench.analysis.ranks import LEVEL
from fffbench.analysis.rivals import provisional, tried_text
from fffbench.analysis.rows import Speedup
from fffbench.claims.base import Claim
from fffbench.claims.rule import position
from fffbench.devices import threads_text
from fffbench.units import number, percent, ratio


def position_of(claim: Claim, row: Speedup) -> str:
    """Where the interval of ``row`` lies."""
    return position(claim, row.low, row.high, row.coverage)


def fair_or_published(claim: Claim, row: Speedup) -> str:
    """``116x [112, 121], above the band 62.4 to 97.5 (fff_cpu over dense_padded, 2 threads)``."""
    above = (row.low or 0) > claim.published * claim.band
    outside = "above the band of" if above else "below the band of"
    # what the rule counts as reached is an interval that overlaps the band: the ratio itself may lie beside it
    inside = claim.published / claim.band <= (row.low or 0) and (row.high or 0) <= claim.published * claim.band
    reached = "within the band of" if inside else "which reaches the band of"
    where = {"reached": reached, "unclear": "too uncertain for the band of"}.get(position_of(claim, row), outside)
    band = f"{number(claim.published / claim.band)} to {number(claim.published * claim.band)}"
    threads = threads_text(row.device, row.threads, ", ")
    if threads and row.baseline_thread_count != row.threads:
        threads += f" against {row.baseline_thread_count}"
    other = claim.workload and row.batch != claim.workload.batch
    batch = f", batch {row.batch} instead of the published {claim.workload.batch}" if claim.workload and other else ""
    sides = f"{row.implementation} over {row.baseline_implementation}{threads}{batch}"
    thin = f"; only {percent(row.coverage or 0)} coverage" if 0 < (row.coverage or 0) < LEVEL else ""
    tried = "" if row.tried is None else f"; {tried_text(row.tried, row.not_measured)}"
    doubted = f"; {provisional(row)}" if row.reason else ""
    return f"{ratio(row.speedup or 0, row.low, row.high)}, {where} {band} ({sides}{thin}{tried}{doubted})"


def with_tf32_beside(fair: Speedup | None, rows: Iterable[Speedup]) -> str:
    """What is left of the fair ratio in strict fp32 once the dense side may use TF32; empty where nobody knows."""
    for row in rows:
        if fair and row.baseline == WITH_TF32 and row.record == fair.record and row.speedup is not None:
            gain = ratio(row.speedup, row.low, row.high)
            return f"That is strict fp32; over a dense layer in fp32 with TF32 it is {gain}."
    return ""
