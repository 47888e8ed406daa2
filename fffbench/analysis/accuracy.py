"""How accurate is a layer for the time that it takes? Trained layers with measured times, and who is beaten by none.

An accuracy is the median over seeds, with the sign test's interval. Two layers are compared seed by seed: a seed is the
same data set for all of them. A time is that of 1024 tokens on one machine, at the number of threads that is fastest
for the layer; a dense layer of equal time is interpolated between those that were trained, over the logarithm of time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log
from statistics import median

import numpy as np

from fffbench.analysis.stats import Estimate, time_of_medians
from fffbench.results.accuracy import LayerTimes, Trained

BATCH = 1024
CONDITIONAL = ("tree", "leaf")
FAMILY = {"tree": "fff", "leaf": "fff", "moe": "cmm", "dense": "dense", "none": "dense"}


@dataclass(frozen=True)
class Point:
    """A trained layer: its accuracy, and on one machine its seconds for ``BATCH`` tokens (None: not measured)."""

    trained: Trained
    accuracy: Estimate
    time: Estimate | None
    on_front: bool = False

    @property
    def form(self) -> str:
        """``none``, ``dense``, ``tree``, ``leaf`` or ``moe``."""
        return self.trained.arm.form

    @property
    def title(self) -> str:
        """What it is, for a reader."""
        arm, recipe = self.trained.arm, f", {self.trained.arm.recipe} recipe" if self.trained.arm.recipe else ""
        plural = "s" if arm.trees > 1 else ""
        return {
            "none": "no layer",
            "dense": f"dense, {arm.n} neurons",
            "tree": f"{arm.trees} tree{plural} of {arm.levels} levels{recipe}",
            "leaf": f"{1 << arm.levels} leaves of {arm.width} neurons{recipe}",
            "moe": f"{arm.n // max(arm.width, 1)} experts of {arm.width} neurons, top {arm.top}",
        }[arm.form]


def points(trained: Sequence[Trained], times: LayerTimes | None, batch: int = BATCH) -> list[Point]:
    """Every trained layer, the fastest first; those without a time last, the least accurate first."""
    found = [Point(one, time_of_medians(one.test), _fastest(one.id, times, batch)) for one in trained]
    found.sort(key=lambda p: (p.time.value if p.time else float("inf"), p.accuracy.value))
    best, done = -1.0, []
    for point in found:  # the fastest first: on the front is who is more accurate than all who are faster
        ahead = point.time is not None and point.accuracy.value > best
        best = max(best, point.accuracy.value) if point.time else best
        done.append(Point(point.trained, point.accuracy, point.time, ahead))
    return done


def _fastest(name: str, times: LayerTimes | None, batch: int) -> Estimate | None:
    own = [one.processes for one in times.times if (one.id, one.batch) == (name, batch)] if times else []
    return min((time_of_medians(one) for one in own), key=lambda estimate: estimate.value, default=None)


def difference(one: Trained, other: Trained) -> Estimate:
    """Accuracy of ``one`` less that of ``other``, seed by seed."""
    return time_of_medians([a - b for a, b in zip(one.test, other.test, strict=False)])


def of_as_many(point: Point, found: Sequence[Point]) -> Point | None:
    """The narrowest dense layer of at least as many neurons as a token uses."""
    wide = [p for p in found if p.form == "dense" and p.trained.arm.n >= point.trained.used]
    return min(wide, key=lambda p: p.trained.arm.n, default=None)


def of_equal_time(point: Point, found: Sequence[Point]) -> float | None:
    """Accuracy of a dense layer that takes as long, None where all dense layers are slower or nothing was measured."""
    if point.time is None:
        return None
    dense = [(p.time.value, p.accuracy.value) for p in found if p.form == "dense" and p.time is not None]
    if not dense or point.time.value < min(t for t, _ in dense):
        return None
    seconds, accuracies = zip(*sorted(dense), strict=True)
    return float(np.interp(log(point.time.value), [log(t) for t in seconds], np.maximum.accumulate(accuracies)))


def best(found: Sequence[Point], *forms: str) -> Point | None:
    """The most accurate layer of some forms."""
    return max((p for p in found if p.form in forms), key=lambda p: p.accuracy.value, default=None)


def plain_figure(text: str, *_: Point) -> str:
    """A figure that links nowhere."""
    return text


def sentence(found: Sequence[Point], cite: Callable[..., str] = plain_figure) -> str:
    """What the most accurate FFF reaches, beside dense layers: of as many neurons as it uses, of equal time, of all.

    ``cite`` writes a figure that rests on the points after it.
    """
    fff, dense = best(found, *CONDITIONAL), best(found, "dense")
    if fff is None or dense is None:
        return ""
    same = of_as_many(fff, found)
    seeds = len(fff.trained.test)
    said = (
        f"On MNIST-1D (median of {seeds} seeds) the most accurate FFF, {fff.title}, gets "
        f"{cite(interval(fff.accuracy), fff)} right"
    )
    if same is not None:
        width, used = same.trained.arm.n, fff.trained.used
        what = f"the {used} neurons that a token uses" if width == used else f"{width} neurons (a token uses {used})"
        said += f", a dense layer of {what} {cite(interval(same.accuracy), same)}"
    if (equal := of_equal_time(fff, found)) is not None:
        rivals = [p for p in found if p.form == "dense" and p.time is not None]
        said += f", a dense layer of equal time {cite(f'{100 * equal:.1f} %', fff, *rivals)}"
    return f"{said}, and one of all {dense.trained.arm.n} {cite(interval(dense.accuracy), dense)}."


def beaten(found: Sequence[Point]) -> tuple[int, int]:
    """How many FFFs have a dense layer that is more accurate in no more time, and how many FFFs have a time."""
    timed = [p for p in found if p.form in CONDITIONAL and p.time is not None]
    rivals = [of_equal_time(p, found) for p in timed]
    return sum(r is not None and r > p.accuracy.value for p, r in zip(timed, rivals, strict=True)), len(timed)


def interval(estimate: Estimate) -> str:
    """``62.1 % [60.9, 63.0]``."""
    return f"{100 * estimate.value:.1f} % [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"


def machine_of(times: Sequence[LayerTimes]) -> LayerTimes | None:
    """The machine with the most times, of equals the first by name."""
    return max(times, key=lambda one: len(one.times), default=None)


def spread(found: Sequence[Point]) -> float | None:
    """Median share of equally used leaves over all leaves of the trees that were trained."""
    shares = []
    for point in found:
        arm, leaves = point.trained.arm, point.trained.effective_leaves
        if leaves is not None:
            shares.append(leaves / (1 << (arm.levels - 1 if arm.form == "tree" else arm.levels)))
    return median(shares) if shares else None
