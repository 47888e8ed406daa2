"""Is one revision slower than another, and when may that be said?

The unit is a block: fresh processes of both sides that take turns in the order
A B B A. A block gives one number for each case, the log-ratio of head over
base. Everything here is a pure function of those numbers and of a plan that
was declared before the first of them was looked at.

Sources: Jennison and Turnbull, Group Sequential Methods (2000), for looks;
Holm, Scand. J. Statist. 6 (1979), for the suite.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student

Array = npt.NDArray[np.float64]

REGRESSION, NONE, INCONCLUSIVE = "regression", "none", "inconclusive"
OPEN_CODE, NONE_CODE, REGRESSION_CODE = 0, 1, 2
NAMES = (INCONCLUSIVE, NONE, REGRESSION)  # by code: a case that stays open is inconclusive
SMALLEST_ERROR = 1e-9  # of a mean log-ratio: identical blocks must not divide by zero


@dataclass(frozen=True)
class Plan:
    """When to look, and how sure to be. Declared beforehand; every file of results carries it.

    ``looks``: numbers of blocks after which the data are looked at; the last is the upper limit. ``margin``: a
    slow-down up to this is of no practical concern. ``tolerance``: ``none`` excludes a slow-down of this size.
    ``false_alarm``: the chance that any case of the suite is called slower when none is by more than the margin.
    ``miss``: the chance that a case slower by the tolerance is called ``none``. ``control_error``: the chance, for
    each control, that it is said to have moved when it has not.

    Each chance is spent in equal parts over the looks. The union bound makes that valid whatever the correlation
    between looks, so no boundary has to be taken from a table.
    """

    looks: tuple[int, ...] = (10, 15, 20, 30, 40)
    margin: float = 0.03
    tolerance: float = 0.05
    false_alarm: float = 0.01
    miss: float = 0.05
    control_error: float = 0.001

    def __post_init__(self) -> None:
        """Refuse a plan that cannot be carried out."""
        if not self.looks or self.looks[0] < 2 or list(self.looks) != sorted(set(self.looks)):
            raise ValueError("looks must be increasing numbers of blocks, from 2 up")
        if not 0 <= self.margin < self.tolerance:
            raise ValueError("the tolerance must be above the margin, and the margin not negative")

    @property
    def limit(self) -> int:
        """Most blocks."""
        return self.looks[-1]


@dataclass(frozen=True)
class Bounds:
    """Head over base: the geometric mean over blocks, and one-sided bounds at the level of one look."""

    ratio: float
    low: float
    high: float
    blocks: int


@dataclass(frozen=True)
class Control:
    """One control: whether it did what it must, and in words what it did."""

    name: str
    passed: bool
    said: str


def block_log_ratio(base: Sequence[float], head: Sequence[float]) -> float:
    """The log-ratio of one block from its turns, seconds per call, two a round on each side.

    Within a round the order is A B B A, so a linear drift cancels; the median over rounds lets no single
    disturbed round count.
    """
    pairs = zip(base[::2], base[1::2], head[::2], head[1::2], strict=True)
    rounds = [(math.log(b1) + math.log(b2) - math.log(a1) - math.log(a2)) / 2 for a1, a2, b1, b2 in pairs]
    return float(np.median(rounds))


def p_slower(blocks: Array, shift: float) -> Array:
    """One-sided p-values against "the mean log-ratio is at most ``shift``"; ``blocks`` is ``(..., blocks)``."""
    mean, error, freedom = _moments(blocks)
    return np.asarray(student.sf((mean - shift) / error, freedom))


def p_faster(blocks: Array, shift: float) -> Array:
    """One-sided p-values against "the mean log-ratio is at least ``shift``"."""
    return p_slower(-blocks, -shift)


def _moments(blocks: Array) -> tuple[Array, Array, int]:
    count = blocks.shape[-1]
    error = blocks.std(axis=-1, ddof=1) / math.sqrt(count)
    return blocks.mean(axis=-1), np.maximum(error, SMALLEST_ERROR), count - 1


def holm(p: Array, level: float) -> npt.NDArray[np.bool_]:
    """Which hypotheses of each family ``(..., cases)`` Holm's step-down rejects at ``level``."""
    order = np.argsort(p, axis=-1)
    ranked = np.take_along_axis(p, order, axis=-1)
    cases = p.shape[-1]
    passed = np.logical_and.accumulate(ranked <= level / np.arange(cases, 0, -1), axis=-1)
    rejected = np.zeros(p.shape, bool)
    np.put_along_axis(rejected, order, passed, axis=-1)
    return rejected


def replay(blocks: Array, plan: Plan) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int64]]:
    """The answer of each case by code, and the look at which it fell (0: still open).

    ``blocks`` is ``(..., cases, blocks)`` log-ratios; leading axes are independent runs. A case decided at a look
    is not read beyond it, so what lies there may be NaN. At every look Holm runs over all cases that are not yet
    called slower: those called ``none`` stay in the family with p = 1. The first true hypothesis to be rejected
    falls in a family that still holds all true ones, so the looks' levels add up to the plan's at most.
    """
    codes = np.full(blocks.shape[:-1], OPEN_CODE, np.int8)
    decided = np.zeros(blocks.shape[:-1], np.int64)
    for look in plan.looks:
        if look > blocks.shape[-1] or not (codes == OPEN_CODE).any():
            break
        seen = np.where((codes == OPEN_CODE)[..., None], blocks[..., :look], 0.0)
        p = np.where(codes == OPEN_CODE, p_slower(seen, math.log1p(plan.margin)), 1.0)
        slower = _holm_without(p, codes == REGRESSION_CODE, plan.false_alarm / len(plan.looks))
        excluded = p_faster(seen, math.log1p(plan.tolerance)) <= plan.miss / len(plan.looks)
        fell = (codes == OPEN_CODE) & (slower | excluded)
        codes = np.where(fell, np.where(slower, REGRESSION_CODE, NONE_CODE), codes).astype(np.int8)
        decided = np.where(fell, look, decided)
    return codes, decided


def _holm_without(p: Array, gone: npt.NDArray[np.bool_], level: float) -> npt.NDArray[np.bool_]:
    """Holm over the cases that are not ``gone``: those rank first, whatever level that takes."""
    if not gone.any():
        return holm(p, level)
    return holm(np.where(gone, -1.0, p), level) & ~gone


def bounds(blocks: Sequence[float], plan: Plan) -> Bounds:
    """Ratio and bounds of one case from its blocks: ``low`` at a look's false-alarm level, ``high`` at its miss level.

    ``low`` is of this case alone, before Holm.
    """
    values = np.asarray(blocks, float)
    mean, error, freedom = _moments(values)
    low = mean - error * student.isf(plan.false_alarm / len(plan.looks), freedom)
    high = mean + error * student.isf(plan.miss / len(plan.looks), freedom)
    return Bounds(math.exp(float(mean)), math.exp(float(low)), math.exp(float(high)), len(values))


def drift_control(blocks: Sequence[float], plan: Plan) -> Control:
    """A dense layer of the same code on both sides must not move beyond the margin, either way."""
    return _must_not_move("drift", "the same dense layer on both sides", blocks, plan)


def twin_control(blocks: Sequence[float], plan: Plan) -> Control:
    """Two builds of the base must not differ beyond the margin, either way."""
    return _must_not_move("control pair", "two builds of the base", blocks, plan)


def _must_not_move(name: str, what: str, blocks: Sequence[float], plan: Plan) -> Control:
    if len(blocks) < plan.looks[0]:
        return Control(name, passed=False, said=f"{what}: {len(blocks)} of {plan.looks[0]} blocks")
    values = np.asarray(blocks, float)
    shift = math.log1p(plan.margin)
    p = 2 * min(float(p_slower(values, shift)), float(p_faster(values, -shift)))
    found = bounds(blocks, plan)
    moved = p <= plan.control_error / len(plan.looks)
    return Control(name, not moved, f"{what}: {_change(found)}, {'moved' if moved else 'did not move'}")


def planted_control(blocks: Sequence[float], percent: float, plan: Plan) -> Control:
    """A planted slow-down must be found by the plan's own rule for one case."""
    what = f"base with {percent:g} % of work added"
    if len(blocks) < plan.looks[0]:
        return Control("planted slow-down", passed=False, said=f"{what}: {len(blocks)} of {plan.looks[0]} blocks")
    codes, _ = replay(np.asarray(blocks, float)[None, :], plan)
    found = bool(codes[0] == REGRESSION_CODE)
    said = f"{what}: {_change(bounds(blocks, plan))}, {'found' if found else 'not found'}"
    return Control("planted slow-down", found, said)


def _change(found: Bounds) -> str:
    return f"{100 * (found.ratio - 1):+.1f} % [{100 * (found.low - 1):+.1f}, {100 * (found.high - 1):+.1f}]"


def overall(cases: Sequence[str], controls: Sequence[Control]) -> tuple[str, str]:
    """The run's answer and its reason, from the answers of its cases and its controls."""
    failed = [control for control in controls if not control.passed]
    if failed:
        return INCONCLUSIVE, "a control failed: " + "; ".join(f"{item.name} ({item.said})" for item in failed)
    slower = cases.count(REGRESSION)
    if slower:
        return REGRESSION, f"{slower} of {len(cases)} cases are slower beyond the margin"
    undecided = cases.count(INCONCLUSIVE)
    if undecided or not cases:
        return INCONCLUSIVE, f"{undecided} of {len(cases)} cases are undecided" if cases else "no case was compared"
    return NONE, f"a slow-down beyond the tolerance is excluded in all {len(cases)} cases"


def plan_json(plan: Plan) -> dict[str, Any]:
    """``plan`` for a file of results."""
    return {**vars(plan), "looks": list(plan.looks)}
