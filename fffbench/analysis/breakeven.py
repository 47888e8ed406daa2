"""From which batch on does FFF pay, and where are 78x and 341x first met?

Read off the fair rows of the headline's protocol, per machine, device, dtype
and shape. Between two measured batches the crossing is interpolated on
logarithmic axes; beyond the last one nothing is extrapolated.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from fffbench.analysis.headline import best_by_batch, fair
from fffbench.analysis.rows import Speedup

TARGETS = (1.0, 78.0, 341.0)


@dataclass(frozen=True)
class BreakEven:
    """Where one curve first meets one target: between which batches, or never in what was measured."""

    machine: str
    device: str
    dtype: str
    d: int
    n: int
    trees: int
    levels: int
    target: float
    batch: float | None  # interpolated; the smallest measured batch where the curve starts above the target
    interpolated: bool
    sure_from: int | None  # the smallest measured batch whose whole interval is above the target
    best: float
    best_batch: int
    records: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The row as plain data."""
        return asdict(self) | {"records": list(self.records)}


def break_even(rows: Sequence[Speedup]) -> list[BreakEven]:
    """One entry per curve and target, curves in a fixed order."""
    curves: dict[tuple[str, str, int, int, int, int, str], list[Speedup]] = defaultdict(list)
    for row in rows:
        if fair(row):
            curves[row.machine, row.device, row.d, row.n, row.trees, row.levels, row.dtype].append(row)
    return [
        _meeting(list(best_by_batch(curve).values()), target)
        for _, curve in sorted(curves.items())
        for target in TARGETS
    ]


def _meeting(curve: Sequence[Speedup], target: float) -> BreakEven:
    first, best = curve[0], max(curve, key=lambda row: row.speedup or 0)
    batch: float | None = None
    interpolated = False
    if (first.speedup or 0) >= target:
        batch = float(first.batch)
    else:
        for one, two in pairwise(curve):
            if (one.speedup or 0) < target <= (two.speedup or 0):
                batch, interpolated = _between(one, two, target), True
                break
    sure = next((row.batch for row in curve if (row.low or 0) > target), None)
    return BreakEven(
        first.machine,
        first.device,
        first.dtype,
        first.d,
        first.n,
        first.trees,
        first.levels,
        target,
        batch,
        interpolated,
        sure,
        best.speedup or 0,
        best.batch,
        tuple(row.record for row in curve if row.record),
    )


def _between(one: Speedup, two: Speedup, target: float) -> float:
    assert one.speedup is not None
    assert two.speedup is not None
    share = math.log(target / one.speedup) / math.log(two.speedup / one.speedup)
    return math.exp(math.log(one.batch) + share * math.log(two.batch / one.batch))
