"""A figure that follows from the layer's shape: arithmetic, which no machine can confirm or refute."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

from fffbench.analysis.baselines import BERT_WIDTH
from fffbench.claims.base import Claim, Evidence
from fffbench.claims.rows import ClaimRow, row_of
from fffbench.claims.rule import ARITHMETIC_ERROR, ARITHMETIC_HOLDS
from fffbench.plan.workload import Shape
from fffbench.units import number, percent

FORMULAS: dict[str, Callable[[Shape], float]] = {
    "active": lambda shape: float(shape.active),
    "active_share": lambda shape: shape.active / shape.n,
    "ceiling": lambda shape: shape.ceiling,
    "saving_if_ceiling": lambda shape: 1 - 1 / shape.ceiling,
    "width_over_bert": lambda shape: shape.n / BERT_WIDTH,
}
SHARES = ("active_share", "saving_if_ceiling")


class Count(Claim):
    """What counting the layer's neurons gives, against the published figure."""

    needed: ClassVar[tuple[str, ...]] = ("formula", "workload")
    measurable: ClassVar[bool] = False

    formula: Literal["active", "active_share", "ceiling", "saving_if_ceiling", "width_over_bert"] | None = None

    def judge(self, evidence: Evidence) -> list[ClaimRow]:
        """One row, whatever was measured."""
        del evidence
        assert self.workload is not None
        assert self.formula is not None
        value = FORMULAS[self.formula](self.workload.shape)
        shown = percent(value) if self.formula in SHARES else f"{value:.6g}"
        off = max(value / self.published, self.published / value)
        if off <= self.band:
            verdict = ARITHMETIC_HOLDS
            reason = f"Counting the layer's neurons gives {shown}. A count, not a measured speed."
        else:
            verdict = ARITHMETIC_ERROR
            reason = f"Counting the layer's neurons gives {shown}; the published {self.shown} is off by {number(off)}x."
        shown = number(value)
        return [row_of(self, verdict, reason, measured=value, low=value, high=value, measured_shown=shown)]


KIND = Count
