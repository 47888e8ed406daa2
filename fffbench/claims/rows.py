"""A claim as it was judged: one row per machine and conditions, for scripts, the page and the command line."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from fffbench.claims.base import Claim


@dataclass(frozen=True, slots=True)  # as ``analysis.rows.Speedup``
class ClaimRow:
    """A claim on one machine under one set of conditions; the verdict is that of claim and machine together."""

    id: str
    statement: str
    source: str
    confidence: str
    kind: str
    published: float
    published_shown: str
    short: str
    band: tuple[float, float]
    conditions: str
    baseline: str | None
    claimed_batch: int | None
    batch: int | None
    threads: int | None
    baseline_threads: int | None
    measured: float | None
    low: float | None
    high: float | None
    coverage: float | None
    provisional: bool
    implementation: str | None
    baseline_implementation: str | None
    machine: str | None
    device: str | None
    verdict: str
    reason: str
    records: tuple[str, ...]
    note: str
    chart: bool
    decides: bool  # whether the verdict rests on it; others are shown beside it
    command: str  # measures its cells; empty where no command line can name them
    difference: str  # what makes the two sets of conditions differ, factor by factor
    lacking: str  # why the verdict is undecided or not-measured, without the command that is part of the reason
    program_shipped: str = ""  # the verdict on the published program as shipped; empty where it was not measured
    program_mended: str = ""  # the same with its mistakes mended
    program: str = ""  # both ratios of the published program
    tried: int | None = None  # of how many dense layers the baseline is the best, where it is the best dense one
    not_measured: tuple[str, ...] = ()  # layers that belong there and were neither measured nor ruled out
    value_shown: str = ""  # the measured value alone, in the unit of the claim
    measured_shown: str = ""  # the measured value with its interval; empty where the reason says all
    band_shown: str = ""  # between which values the figure counts as reached
    with_tf32: str = ""  # what is left of a fair ratio in strict fp32 once the dense side may use TF32

    def to_json(self) -> dict[str, Any]:
        """The row as the command line prints it."""
        return asdict(self) | {"records": list(self.records), "not_measured": list(self.not_measured)}


def row_of(claim: Claim, verdict: str, reason: str, *, conditions: str = "published", **found: Any) -> ClaimRow:
    """A row about ``claim``; ``found`` are the fields that were measured, the others say that nothing was."""
    under = claim.conditions.get("fair" if conditions == "fair" else "published")
    low, high = claim.limits
    unknown: dict[str, Any] = dict.fromkeys(
        (
            *("batch", "threads", "baseline_threads", "measured", "low", "high", "coverage"),
            *("implementation", "baseline_implementation", "machine", "device"),
        )
    )
    known: dict[str, Any] = {
        "provisional": False,
        "records": (),
        "decides": True,
        "difference": "",
        "lacking": "",
        **unknown,
        **found,
    }
    value = known["measured"]
    return ClaimRow(
        id=claim.id,
        statement=claim.statement,
        source=claim.source,
        confidence=claim.confidence,
        kind=claim.kind,
        published=claim.published,
        published_shown=claim.shown,
        short=claim.short or claim.id,
        band=claim.limits,
        value_shown="" if value is None else claim.written(value),
        band_shown=f"{claim.written(low)} to {claim.written(high)}",
        conditions=conditions,
        baseline=under.baseline if under else None,
        claimed_batch=claim.workload.batch if claim.workload else None,
        verdict=verdict,
        reason=reason,
        note=claim.note,
        chart=claim.chart,
        command=claim.command(),
        **known,
    )
