"""Did it get slower or faster, and at which commit?

Change points by asv's own step detection. A level that only one commit shows
is an outlier, not a step: it takes ``MIN_COMMITS`` in a row. A commit that
stands alone off its level is said as such: it was mended, or the machine was
disturbed; where it is the newest, the next commit decides. A step of a kernel that coincides with one of a control (a
dense layer of a library that our commits do not change) says that the machine
moved.
"""

from __future__ import annotations

import importlib
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from fffbench.results.asv import MEASURED, HistoryPoint
from fffbench.units import number

MIN_COMMITS = 2  # on a level, for it to be one
OUTLYING = 6  # median deviations from its level, for a commit alone to be named
FEWEST_BESIDE = 3  # other commits on a level, for one inside it to be named: fewer have no scatter to speak of
THRESHOLD = 0.05  # a step changes the level by at least this share, as asv's own default has it
NO_ASV = (
    "Steps were not computed: asv, whose step detection is used, is not installed where this page was made "
    "(pip install asv)."
)

# What asv's detect_steps gives: left (inclusive), right (exclusive), value, least value, mean deviation.
Segment = tuple[int, int, float, float, float]
Detect = Callable[..., list[Segment]]


@dataclass(frozen=True)
class Step:
    """A change of level at a commit: ``ratio`` is after over before, so above 1 is slower (or larger)."""

    index: int
    commit: str
    before: float
    after: float
    ratio: float
    stands: bool  # asv's detect_regressions: worse, and not won back since
    control_moved: bool


@dataclass(frozen=True)
class Series:
    """One benchmark with one combination of parameters over the commits of one machine and environment."""

    machine: str
    environment: str
    benchmark: str
    params: tuple[tuple[str, str], ...]
    unit: str
    control: bool
    points: tuple[HistoryPoint, ...]  # measured ones, in commit order
    levels: tuple[Segment, ...]
    steps: tuple[Step, ...]
    newest: float | None  # the newest commit over the last level, where it stands alone
    alone: tuple[tuple[str, float], ...]  # earlier commits that stand alone off their level, and over it
    older_versions: int  # points left out because the benchmark's source was another

    @property
    def name(self) -> str:
        """``kernels.Optimised.time_pass, fff_cpu, 128``."""
        return ", ".join([self.benchmark, *(value for _, value in self.params)])

    @property
    def sentence(self) -> str:
        """What happened, in words."""
        said = []
        for step in self.steps:
            moved = " (a control moved there too: the machine did)" if step.control_moved else ""
            said.append(f"{self.changed(step.ratio)} from {step.commit[:8]} on{moved}")
        said += [f"{self.changed(ratio)} at {commit[:8]} alone" for commit, ratio in self.alone]
        if self.newest is not None:
            commit = self.points[-1].commit[:8]
            said.append(f"{self.changed(self.newest)} at the newest commit, {commit}, alone so far")
        return "; ".join(said) or "no step"

    def changed(self, ratio: float) -> str:
        """``1.82x slower``, or ``larger`` where it is memory."""
        up, down = ("slower", "faster") if self.unit == "seconds" else ("larger", "smaller")
        return f"{number(ratio)}x {up}" if ratio > 1 else f"{number(1 / ratio)}x {down}"


def history(points: Sequence[HistoryPoint]) -> tuple[list[Series], str]:
    """Every series with its steps, and (where it is so) why there are no steps."""
    module = _step_detection()
    grouped: dict[tuple[Any, ...], list[HistoryPoint]] = defaultdict(list)
    for point in points:
        grouped[point.machine, point.environment, point.benchmark, point.params].append(point)
    found = [series for _, group in sorted(grouped.items()) if (series := _series(group, module))]
    return _with_controls(found), NO_ASV if module is None and found else ""


def _step_detection() -> Any | None:
    try:
        return importlib.import_module("asv.step_detect")
    except ImportError:
        return None


def _series(group: Sequence[HistoryPoint], module: Any | None) -> Series | None:
    """The points of the newest version of the benchmark; None where nothing was measured."""
    ordered = sorted(group, key=lambda point: (point.date, point.commit))
    version = ordered[-1].version
    same = [point for point in ordered if point.version == version]
    measured = [point for point in same if point.state == MEASURED]
    if not measured:
        return None
    first = measured[0]
    values = [point.value or 0.0 for point in measured]
    segments = module.detect_steps(values, [_weight(point) for point in measured]) if module else []
    levels = _levels(segments, values)
    return Series(
        machine=first.machine,
        environment=first.environment,
        benchmark=first.benchmark,
        params=first.params,
        unit=first.unit,
        control=is_control(first),
        points=tuple(measured),
        levels=tuple(levels),
        steps=tuple(_steps(levels, measured, module)) if module else (),
        newest=_newest(levels, values),
        alone=tuple((measured[place].commit, ratio) for place, ratio in _alone(levels, values)),
        older_versions=len(ordered) - len(same),
    )


def is_control(point: HistoryPoint) -> bool:
    """Whether the benchmark times what our commits do not change."""
    return ".Control." in point.benchmark or any(value.startswith("dense_") for _, value in point.params)


def _weight(point: HistoryPoint) -> float | None:
    """The weight asv gives it: the inverse of the interval's half width; None where there is no interval."""
    if point.low is None or point.high is None or point.high <= point.low:
        return None
    return 2 / (point.high - point.low)


def _levels(segments: Sequence[Segment], values: Sequence[float]) -> list[Segment]:
    """``segments`` without those too short to be a level, neighbours at the same level made one.

    Commits that do not yet make a level of their own go with the one nearest to them, if any is near: with few
    commits asv gives each its own segment.
    """
    merged: list[Segment] = []
    for segment in _gathered(segments, values):
        if merged and _near(merged[-1], segment):
            merged[-1] = _joined(merged[-1], segment, values)
        else:
            merged.append(segment)
    kept: list[Segment] = []
    for segment in merged:
        if segment[1] - segment[0] < MIN_COMMITS:
            continue
        if kept and _near(kept[-1], segment):
            kept[-1] = _joined(kept[-1], segment, values)
        else:
            kept.append(segment)
    return kept


def _gathered(segments: Sequence[Segment], values: Sequence[float]) -> list[Segment]:
    """Neighbours of one commit each made one level, nearest first, where what lies beside them is twice as far off.

    With two noisy commits before a step asv gives each its own segment, and neither would be a level.
    """
    found = list(segments)
    while pairs := [pair for place in range(len(found) - 1) if (pair := _pair(found, place, values))]:
        _, place, level = min(pairs)
        found[place : place + 2] = [level]
    return found


def _pair(segments: Sequence[Segment], place: int, values: Sequence[float]) -> tuple[float, int, Segment] | None:
    """How far apart the commits at ``place`` and after it are, and their level; None where they do not make one."""
    one, two = segments[place : place + 2]
    beside = [*segments[max(0, place - 1) : place], *segments[place + 2 : place + 3]]
    level, apart = _joined(one, two, values), _apart(one, two)
    alone = max(_length(one), _length(two)) < MIN_COMMITS
    if alone and beside and all(_apart(level, other) > 2 * apart for other in beside):
        return apart, place, level
    return None


def _length(segment: Segment) -> int:
    return segment[1] - segment[0]


def _apart(one: Segment, two: Segment) -> float:
    return abs(math.log(one[2] / two[2])) if min(one[2], two[2]) > 0 else math.inf


def _near(one: Segment, two: Segment) -> bool:
    """Whether two levels differ by less than the threshold, or than their own scatter."""
    return abs(one[2] - two[2]) <= max(THRESHOLD * min(one[2], two[2]), one[4], two[4])


def _joined(one: Segment, two: Segment, values: Sequence[float]) -> Segment:
    """One level over both, weighted by their lengths; what lies between them is an outlier and does not count."""
    first, second = one[1] - one[0], two[1] - two[0]
    share = first / (first + second)
    value = one[2] * share + two[2] * (1 - share)
    inside = [*values[one[0] : one[1]], *values[two[0] : two[1]]]
    return (one[0], two[1], value, min(inside), sum(abs(item - value) for item in inside) / len(inside))


def _steps(levels: Sequence[Segment], points: Sequence[HistoryPoint], module: Any) -> list[Step]:
    _, _, regressions = module.detect_regressions(list(levels), THRESHOLD)
    standing = {after for _, after, _, _ in regressions or []}
    return [
        Step(
            index=after[0],
            commit=points[after[0]].commit,
            before=before[2],
            after=after[2],
            ratio=after[2] / before[2],
            stands=after[0] in standing,
            control_moved=False,
        )
        for before, after in pairwise(levels)
    ]


def _newest(levels: Sequence[Segment], values: Sequence[float]) -> float | None:
    """The last value over the last level, where it lies off it by more than the level's own scatter explains."""
    if not levels:
        return None
    left, _, level, _, _ = levels[-1]
    others = values[left : len(values) - 1]
    if len(others) < MIN_COMMITS:
        return None
    return values[-1] / level if _off(values[-1], level, others) else None


def _alone(levels: Sequence[Segment], values: Sequence[float]) -> list[tuple[int, float]]:
    """Commits inside a level that stand off it by themselves, and their values over it: slow once, then mended."""
    return [
        (place, values[place] / level)
        for left, right, level, _, _ in levels
        for place in range(left + 1, right - 1)
        if right - left > FEWEST_BESIDE
        and _off(values[place], level, [*values[left:place], *values[place + 1 : right]])
    ]


def _off(value: float, level: float, others: Sequence[float]) -> bool:
    """Whether ``value`` lies off ``level`` by more than the scatter of the ``others`` on it explains."""
    scatter = median(abs(other - level) for other in others)
    return abs(value - level) > max(THRESHOLD * level, OUTLYING * scatter)


def _with_controls(series: Sequence[Series]) -> list[Series]:
    """Steps marked where a control of the same machine and environment steps at the same commit."""
    moved: dict[tuple[str, str], set[str]] = defaultdict(set)
    for item in series:
        if item.control:
            moved[item.machine, item.environment].update(step.commit for step in item.steps)
    found = []
    for item in series:
        commits = set() if item.control else moved[item.machine, item.environment]
        steps = tuple(
            Step(**{**vars(step), "control_moved": True}) if step.commit in commits else step for step in item.steps
        )
        found.append(Series(**{**vars(item), "steps": steps}))
    return found
