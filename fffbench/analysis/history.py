"""Did it get slower or faster, and at which commit?

Change points by asv's own step detection. A level that only one commit shows
is an outlier, not a step: it takes ``MIN_COMMITS`` in a row. Where the newest
commit stands alone off the last level, that is said as such, because the next
commit decides. A step of a kernel that coincides with one of a control (a
dense layer of a library that our commits do not change) says that the machine
moved.
"""

from __future__ import annotations

import importlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from fffbench.results.asv import MEASURED, HistoryPoint
from fffbench.units import number

MIN_COMMITS = 2  # on a level, for it to be one
OUTLYING = 6  # median deviations from its level, for the newest commit to be named
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
    levels = _levels(module.detect_steps(values, [_weight(point) for point in measured]), values) if module else []
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
    for segment in segments:
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
    scatter = median(abs(value - level) for value in others)
    off = abs(values[-1] - level) > max(THRESHOLD * level, OUTLYING * scatter)
    return values[-1] / level if off else None


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
