"""Does the published program give the published figure here? A verdict of its own, beside that of the layer.

The layer's verdict says what the best kernels over the best dense layer give, whoever wrote them. This one is about the
program that was published: as it was shipped, and with its mistakes mended (``fidelity``). At the published batch where
that was measured, else at the largest; of several thread counts the one nearest to the figure counts, because the
publication gives none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fffbench.analysis.fidelity import Climb, Step
from fffbench.claims.base import Claim
from fffbench.claims.rule import NOT_MEASURED, OF_POSITION, position
from fffbench.devices import threads_text
from fffbench.units import ratio


@dataclass(frozen=True)
class Program:
    """The two verdicts on a published program on one machine, with both ratios in a sentence."""

    shipped: str
    mended: str
    text: str


def deciding_climb(ladders: Sequence[Climb], batch: int | None) -> Climb:
    """Of one claim's ladders on one machine the one that counts; ``batch`` is the published one."""
    batches = {climb.batch for climb in ladders}
    chosen = batch if batch in batches else max(batches)
    return min(
        (climb for climb in ladders if climb.batch == chosen),
        key=lambda climb: (abs(math.log((climb.steps[0].speedup or 1) / climb.published)), climb.threads),
    )


def program(claim: Claim, ladders: Sequence[Climb]) -> Program | None:
    """The verdicts on the program of ``claim``; None where its ladder was not measured on that machine."""
    if not ladders:
        return None
    climb = deciding_climb(ladders, claim.workload.batch if claim.workload else None)
    threads = threads_text(climb.device, climb.threads, " on ")
    shipped, mended = climb.steps[0], climb.mended
    text = f"At batch {climb.batch}{threads}: as shipped {_gain(shipped)}, with its mistakes mended {_gain(mended)}."
    return Program(_verdict(claim, shipped), _verdict(claim, mended), text)


def _verdict(claim: Claim, step: Step) -> str:
    if step.speedup is None:
        return NOT_MEASURED
    return OF_POSITION[position(claim, step.low, step.high, step.coverage)]


def _gain(step: Step) -> str:
    return f"not measured ({step.missing})" if step.speedup is None else ratio(step.speedup, step.low, step.high)
