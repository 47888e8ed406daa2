"""Did it get slower or faster, and at which commit?

Levels and steps are those of ``change_points``, for all series of a machine and environment together. A commit that
stands alone off its level is said as such: it was mended, or the machine was disturbed; where it is the newest, the
next commit decides. A step of a kernel that coincides with one of a control (a dense layer of a library that our
commits do not change) says that the machine moved.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median

from fffbench.analysis.change_points import MIN_COMMITS, THRESHOLD, changes
from fffbench.results.asv import MEASURED, HistoryPoint
from fffbench.units import number

OUTLYING = 6  # median deviations from its level, for a commit alone to be named
FEWEST_BESIDE = 5  # other commits on a level, for one inside it to be named: fewer have no scatter to speak of

Level = tuple[int, int, float]  # the first commit, the one after the last, and the median


@dataclass(frozen=True)
class Step:
    """A change of level at a commit: ``ratio`` is after over before, so above 1 is slower (or larger)."""

    index: int
    commit: str
    before: float
    after: float
    ratio: float
    stands: bool  # worse, and not won back since
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
    levels: tuple[Level, ...]
    steps: tuple[Step, ...]
    newest: float | None  # the newest commit over the last level, where it stands alone
    alone: tuple[tuple[str, float], ...]  # earlier commits that stand alone off their level, and over it

    @property
    def values(self) -> list[float]:
        """What was measured at each commit."""
        return [point.value or 0.0 for point in self.points]

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


def history(points: Sequence[HistoryPoint]) -> list[Series]:
    """Every series with its steps."""
    grouped: dict[tuple[str, str], dict[tuple[object, ...], list[HistoryPoint]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for point in points:
        grouped[point.machine, point.environment][point.benchmark, point.params].append(point)
    found: list[Series] = []
    for _, group in sorted(grouped.items()):
        together = (_series(points) for _, points in sorted(group.items()))
        found += _stepped([series for series in together if series is not None])
    return found


def _series(group: Sequence[HistoryPoint]) -> Series | None:
    """The points of the newest version of the benchmark; None where nothing was measured."""
    ordered = sorted(group, key=lambda point: (point.date, point.commit))
    newest = ordered[-1].version  # points of others are of another benchmark's source
    measured = tuple(point for point in ordered if (point.version, point.state) == (newest, MEASURED))
    if not measured:
        return None
    first = measured[0]
    return Series(
        machine=first.machine,
        environment=first.environment,
        benchmark=first.benchmark,
        params=first.params,
        unit=first.unit,
        control=is_control(first),
        points=measured,
        levels=(),
        steps=(),
        newest=None,
        alone=(),
    )


def _stepped(together: Sequence[Series]) -> list[Series]:
    """The series of a machine and environment with their levels and steps."""
    count = sum(len(item.points) >= 2 * MIN_COMMITS for item in together)  # of those that can show a step
    levels = [_levels(item.values, max(count, 1)) for item in together]
    moved = {
        item.points[left].commit
        for item, found in zip(together, levels, strict=True)
        for left, _, _ in found[1:]
        if item.control
    }
    return [
        replace(
            item,
            levels=tuple(found),
            steps=tuple(_steps(found, item.points, () if item.control else moved)),
            newest=_newest(found, item.values),
            alone=tuple((item.points[place].commit, ratio) for place, ratio in _alone(found, item.values)),
        )
        for item, found in zip(together, levels, strict=True)
    ]


def _levels(values: Sequence[float], together: int) -> list[Level]:
    ends = [0, *changes(values, together), len(values)]
    return [(left, right, median(values[left:right])) for left, right in pairwise(ends)]


def _steps(levels: Sequence[Level], points: Sequence[HistoryPoint], moved: Container[str]) -> list[Step]:
    return [
        Step(
            index=left,
            commit=points[left].commit,
            before=before,
            after=after,
            ratio=after / before,
            stands=min(later for _, _, later in levels[place:]) >= before * (1 + THRESHOLD),
            control_moved=points[left].commit in moved,
        )
        for place, ((_, _, before), (left, _, after)) in enumerate(pairwise(levels), start=1)
    ]


def is_control(point: HistoryPoint) -> bool:
    """Whether the benchmark times what our commits do not change."""
    return ".Control." in point.benchmark or any(value.startswith("dense_") for _, value in point.params)


def _newest(levels: Sequence[Level], values: Sequence[float]) -> float | None:
    """The last value over the last level, where it lies off it by more than the level's own scatter explains."""
    left, _, level = levels[-1]
    others = values[left : len(values) - 1]
    if len(others) < MIN_COMMITS:
        return None
    return values[-1] / level if _off(values[-1], level, others) else None


def _alone(levels: Sequence[Level], values: Sequence[float]) -> list[tuple[int, float]]:
    """Commits inside a level that stand off it by themselves, and their values over it: slow once, then mended."""
    return [
        (place, values[place] / level)
        for left, right, level in levels
        for place in range(left + 1, right - 1)
        if right - left > FEWEST_BESIDE
        and _off(values[place], level, [*values[left:place], *values[place + 1 : right]])
    ]


def _off(value: float, level: float, others: Sequence[float]) -> bool:
    """Whether ``value`` lies off ``level`` by more than the scatter of the ``others`` on it explains."""
    scatter = median(abs(other - level) for other in others)
    return abs(value - level) > max(THRESHOLD * level, OUTLYING * scatter)
