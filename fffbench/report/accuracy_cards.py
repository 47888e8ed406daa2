"""Where does an accuracy over time come from? A card per trained layer: its seeds, its times, both raw files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from fffbench.analysis.accuracy import BATCH, Point, interval
from fffbench.report.anchors import name_of
from fffbench.report.raw import raw_files
from fffbench.report.samples import medians_text, strip
from fffbench.report.view import Card, Link, SideView
from fffbench.results.accuracy import ACCURACY, LAYER_TIMES, LayerTimes, Made
from fffbench.units import number, seconds

TRAIN, TIME = "nox -s accuracy", "nox -s accuracy -- --time"  # nothing smaller: seeds and rivals belong together
UNDATED = "date and commit: those of the file"  # of files from before they stored their own
BETWEEN = "At the time of this FFF, interpolated over the logarithm of time between the dense layers that were trained:"


class AccuracyCards:
    """The cards of trained layers, all of them, and of what is computed from several."""

    def __init__(self, points: Sequence[Point], times: LayerTimes | None, machine: str, folder: Path) -> None:
        """``machine`` is what a reader calls that of ``times``; ``folder`` holds the raw files."""
        self._times, self._machine, self._folder = times, machine, folder
        self._cards = {card.id: card for card in map(self._card, points)}
        self._derived: dict[str, Card] = {}

    def link(self, value: str, *points: Point) -> str:
        """The name of the card of a point, or of ``value``, which was computed from several."""
        if len(points) == 1:
            return self._name(points[0])
        parts = tuple(Link(f"{point.title}: {_value(point)}", self._name(point)) for point in points)
        key = name_of("d", "accuracy at equal time", *(part.to for part in parts))
        self._derived[key] = Card(key, value, "A dense layer that takes as long", how=BETWEEN, parts=parts)
        return key

    @property
    def all(self) -> tuple[Card, ...]:
        """Every card."""
        return (*self._cards.values(), *self._derived.values())

    def _name(self, point: Point) -> str:
        return name_of(
            "a", point.trained.data, point.trained.id, self._times.machine if self._times and point.time else ""
        )

    def _card(self, point: Point) -> Card:
        sides, command = [self._seeds(point)], TRAIN
        if point.time is not None:
            sides.append(self._time(point))
            command = f"{TRAIN} && {TIME}"
        return Card(
            self._name(point),
            _value(point),
            point.title,
            f"{point.trained.data}, {point.trained.d} inputs; {point.trained.used} neurons used per sample",
            tuple(sides),
            command,
        )

    def _seeds(self, point: Point) -> SideView:
        trained = point.trained
        each = " ".join(number(100 * one) for one in trained.test)
        return SideView(
            what="right answers",
            threads="of test samples",
            time=interval(point.accuracy),
            processes=f"{len(trained.test)} seeds: {each} %",
            strip=Markup(""),
            run="",
            date=_date(trained.made),
            sources=_sources(trained.made, trained.sources, trained.torch),
            files=raw_files(self._files(f"{ACCURACY}/*/{trained.id}.json"), self._folder),
            link="",
            machine="",
        )

    def _time(self, point: Point) -> SideView:
        assert self._times is not None
        assert point.time is not None
        own = [one for one in self._times.times if (one.id, one.batch) == (point.trained.id, BATCH)]
        fastest = min(own, key=lambda one: sorted(one.processes)[len(one.processes) // 2])
        samples = [[one] for one in fastest.processes]
        return SideView(
            what=f"{BATCH} tokens",
            threads=f"fp32, {fastest.threads} thread{'s' * (fastest.threads != 1)}, {self._machine}",
            time=seconds(point.time.value),
            processes=f"{len(samples)} processes: {medians_text(samples)}",
            strip=strip(samples),
            run="",
            date=_date(self._times.made),
            sources=_sources(self._times.made, "", self._times.torch),
            files=raw_files(self._files(f"{LAYER_TIMES}/{self._times.machine}/*.json"), self._folder),
            link="",
            machine=f"all.html#machine-{self._times.machine}" if self._machine != self._times.machine else "",
        )

    def _files(self, pattern: str) -> list[str]:
        return sorted(path.relative_to(self._folder).as_posix() for path in self._folder.glob(pattern))


def _value(point: Point) -> str:
    return interval(point.accuracy) + (f" in {seconds(point.time.value)}" if point.time else "")


def _date(made: Made | None) -> str:
    return made.date[:10] if made else ""


def _sources(made: Made | None, digest: str, torch: str) -> str:
    known = (
        made.sources if made else UNDATED,
        f"sources {digest}" if digest else "",
        f"torch {torch}" if torch else "",
    )
    return ", ".join(filter(None, known))
