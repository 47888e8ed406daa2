"""From which batch and which width on does FFF pay, and where are 78x and 341x first met?

Read off the fair rows of the headline's protocol, per machine, device and
dtype: along the batch for each layer, along the width for each batch. Between
two measured places the crossing is interpolated on logarithmic axes; beyond
the last one nothing is extrapolated.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from fffbench.analysis.headline import fair
from fffbench.analysis.rows import Speedup
from fffbench.problems import parse_problem

TARGETS = (1.0, 78.0, 341.0)
MIN_WIDTHS = 2  # one width is no curve

At = Callable[[Speedup], int]


@dataclass(frozen=True, slots=True)
class BreakEven:
    """Where one curve first reaches one target along its axis, ``batch`` or ``neurons``, or that it never does."""

    machine: str
    device: str
    dtype: str
    axis: str
    fixed: str  # what does not change along the axis: the layer, or the batch and the kind of tree
    target: float
    first: float | None  # interpolated; the smallest place measured where the curve starts above the target
    interpolated: bool
    sure_from: int | None  # the smallest place measured whose whole interval is above the target
    best: float
    best_at: int
    measured_to: int  # the largest place measured
    records: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The row as plain data."""
        return asdict(self) | {"records": list(self.records)}


def break_even(rows: Sequence[Speedup]) -> list[BreakEven]:
    """One entry per curve and target: curves over batches first, each kind in a fixed order."""
    batches: dict[tuple[Any, ...], list[Speedup]] = defaultdict(list)
    widths: dict[tuple[Any, ...], list[Speedup]] = defaultdict(list)
    for row in rows:
        if fair(row):
            place = (row.machine, row.device)
            batches[*place, row.d, row.n, row.trees, row.levels, row.leaf_width, row.shape, row.dtype].append(row)
            kind = parse_problem(row.shape).kind
            widths[*place, row.d, row.trees, row.leaf_width, row.batch, row.dtype, kind].append(row)
    found = []
    for _, curve in sorted(batches.items()):
        one = curve[0]
        fixed = parse_problem(one.shape).label
        found += [_meeting(_best(curve, _batch), target, "batch", fixed, _batch) for target in TARGETS]
    for _, curve in sorted(widths.items()):
        best = _best(curve, _width)
        one = curve[0]
        if len(best) >= MIN_WIDTHS:
            what = f"{one.trees} tree{'s' * (one.trees != 1)}" if one.trees else parse_problem(one.shape).kind
            fixed = f"d {one.d}, {what}, batch {one.batch}"
            found += [_meeting(best, target, "neurons", fixed, _width) for target in TARGETS]
    return found


def _batch(row: Speedup) -> int:
    return row.batch


def _width(row: Speedup) -> int:
    return row.n


def _best(rows: Sequence[Speedup], at: At) -> list[Speedup]:
    """The fastest FFF implementation's row at each place along the axis, smallest first."""
    best: dict[int, Speedup] = {}
    for row in rows:
        if at(row) not in best or (row.time or 0) < (best[at(row)].time or 0):
            best[at(row)] = row
    return [row for _, row in sorted(best.items())]


def _meeting(curve: Sequence[Speedup], target: float, axis: str, fixed: str, at: At) -> BreakEven:
    start, best = curve[0], max(curve, key=lambda row: row.speedup or 0)
    first: float | None = None
    interpolated = False
    if (start.speedup or 0) >= target:
        first = float(at(start))
    else:
        for one, two in pairwise(curve):
            if (one.speedup or 0) < target <= (two.speedup or 0):
                first, interpolated = _between(one, two, target, at), True
                break
    return BreakEven(
        machine=start.machine,
        device=start.device,
        dtype=start.dtype,
        axis=axis,
        fixed=fixed,
        target=target,
        first=first,
        interpolated=interpolated,
        sure_from=next((at(row) for row in curve if (row.low or 0) > target), None),
        best=best.speedup or 0,
        best_at=at(best),
        measured_to=at(curve[-1]),
        records=tuple(row.record for row in curve if row.record),
    )


def _between(one: Speedup, two: Speedup, target: float, at: At) -> float:
    assert one.speedup is not None
    assert two.speedup is not None
    share = math.log(target / one.speedup) / math.log(two.speedup / one.speedup)
    return math.exp(math.log(at(one)) + share * math.log(at(two) / at(one)))
