"""Is a layer as accurate for the time that it takes? A chart, its sentence, and a line per layer for the CSV.

Times are those of the machine with the most; where none was measured there is a sentence and no chart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from markupsafe import Markup

from fffbench.analysis.accuracy import BATCH, FAMILY, Point, beaten, interval, machine_of, points, sentence
from fffbench.report import drawing
from fffbench.report.accuracy_cards import AccuracyCards
from fffbench.report.drawing import INK, MUTED, STYLE, log_ticks, seconds_label
from fffbench.report.view import Card, Figure, Link, Said
from fffbench.results.accuracy import read_layer_times, read_trained
from fffbench.units import seconds

CSV = "accuracy.csv"
UNKNOWN = "Not measured here: these are speeds. A model with such layers must be trained anew."
MARKER = {"dense": "o", "tree": "^", "leaf": "s", "moe": "D"}
NAME = {"dense": "dense layers", "tree": "FFF, trees", "leaf": "FFF, leaves", "moe": "mixtures of experts"}


@dataclass(frozen=True)
class Accuracy:
    """Trained layers, the fastest first, and the name of the machine that timed them."""

    points: tuple[Point, ...]
    machine: str = ""
    cards: AccuracyCards | None = None

    @property
    def said(self) -> Said:
        """The sentence of the first screen, with the cards of its figures."""
        links: list[Link] = []

        def cite(text: str, *points: Point) -> str:
            links.append(Link(text, self.address(text, *points)))
            return text

        text = sentence(self.points, cite)
        return Said(text, tuple(links)) if text else Said(UNKNOWN)

    @property
    def all_cards(self) -> tuple[Card, ...]:
        """The cards of all points, and of what was computed from them."""
        return self.cards.all if self.cards else ()

    def address(self, text: str, *points: Point) -> str:
        """The name of the card of a figure; empty without cards."""
        return self.cards.link(text, *points) if self.cards else ""


def accuracy(folder: Path | None, names: dict[str, str]) -> Accuracy:
    """What lies under ``folder``; ``names`` says what machines are."""
    if folder is None:
        return Accuracy(())
    times = machine_of(read_layer_times(folder)[0])
    name = "" if times is None else names.get(times.machine, times.machine)
    found = tuple(points(read_trained(folder)[0], times))
    return Accuracy(found, name, AccuracyCards(found, times, name, folder))


def figure(found: Accuracy) -> Figure | None:
    """Accuracy over measured time, with the front of those that nobody beats in both."""
    timed = [point for point in found.points if point.time is not None and point.form in MARKER]
    if not timed:
        return None
    count, of = beaten(found.points)
    rest = f"{count} of {of} FFFs are less accurate than a dense layer that takes as long." if of else ""
    return Figure(
        "accuracy-chart",
        "What is it worth? Accuracy over measured time of the trained layer",
        f"MNIST-1D, layers of 128 inputs and about 512 neurons: right answers of test samples, median and 95 % "
        f"interval over {len(timed[0].trained.test)} seeds, over the time for {BATCH} tokens in fp32 on "
        f"{found.machine}. Filled: the better recipe (hardening, balancing), hollow: the published one. The dotted "
        f"line joins layers that no other beats in both; up and to the left is better. {rest}",
        _draw(timed, found, narrow=False),
        _draw(timed, found, narrow=True),
        tuple(_sentence(point, found.address("", point)) for point in timed),
    )


def _sentence(point: Point, to: str = "") -> Said:
    accuracy = interval(point.accuracy)
    return Said(f"{point.title}: {accuracy} in {seconds(_time(point))}.", (Link(accuracy, to),))


def _draw(timed: Sequence[Point], found: Accuracy, *, narrow: bool) -> Markup:
    said = [_sentence(point).text for point in timed]
    with mpl.rc_context(STYLE):
        plot, (axes,) = drawing.new(4.2 if narrow else 7.4, 4.0)
        front = [point for point in timed if point.on_front]
        axes.step(*_places(front), where="post", color=MUTED, linewidth=1, linestyle=":", zorder=1)
        dense = [point for point in timed if point.form == "dense"]
        axes.plot(*_places(dense), color=drawing.FAMILY["dense"], linewidth=1, zorder=2)
        for form, marker in MARKER.items():
            own = [point for point in timed if point.form == form]
            colour = drawing.FAMILY[FAMILY[form]]
            for hollow in (True, False):
                some = [point for point in own if (point.trained.arm.recipe == "published") == hollow]
                for index, point in enumerate(some):
                    axes.errorbar(
                        *_places([point]),
                        yerr=_spans([point]),
                        fmt=marker,
                        color=colour,
                        markerfacecolor="none" if hollow else colour,
                        elinewidth=0.8,
                        label=None if index else NAME[form] + (", published recipe" if hollow else ""),
                        zorder=3,
                        url=f"#{to}" if (to := found.address("", point)) else None,
                    )
                    axes.annotate(
                        _short(point),
                        (_time(point), 100 * point.accuracy.value),
                        textcoords="offset points",
                        fontsize=7,
                        color=MUTED,
                        **_beside(form, hollow=hollow),
                    )
        axes.set_xscale("log")
        axes.margins(x=0.08)
        log_ticks(axes.xaxis, seconds_label)
        axes.set_xlabel(f"time for {BATCH} tokens")
        axes.set_ylabel("right answers, %")
        axes.legend(loc="lower right", frameon=False, fontsize=7.5, labelcolor=INK)
        return drawing.to_svg(plot, f"accuracy-{'narrow' if narrow else 'wide'}", said)


def _time(point: Point) -> float:
    assert point.time is not None
    return point.time.value


def _places(some: Sequence[Point]) -> tuple[list[float], list[float]]:
    return [_time(point) for point in some], [100 * point.accuracy.value for point in some]


def _spans(some: Sequence[Point]) -> list[list[float]]:
    estimates = [point.accuracy for point in some]
    return [[100 * (one.value - one.low) for one in estimates], [100 * (one.high - one.value) for one in estimates]]


def _beside(form: str, *, hollow: bool) -> Any:
    """Where a label stands: two recipes of a layer, and the mixtures to their left, lie near one another."""
    if form == "leaf" and not hollow:
        return {"xytext": (-2, 4), "ha": "right", "va": "bottom"}
    if form == "moe":
        return {"xytext": (-5, -3), "ha": "right", "va": "top"}
    return {"xytext": (5, -3), "va": "top"} if hollow else {"xytext": (5, 3), "va": "bottom"}


def _short(point: Point) -> str:
    arm = point.trained.arm
    shapes = {"dense": f"{arm.n}", "tree": f"{arm.trees}x{arm.levels}", "leaf": f"{1 << arm.levels}x{arm.width}"}
    return shapes.get(point.form, f"{arm.n // max(arm.width, 1)}x{arm.width} top {arm.top}")


def csv_rows(found: Accuracy) -> list[dict[str, Any]]:
    """The layers as the CSV has them."""
    return [
        {
            "layer": point.trained.id,
            "neurons": point.trained.arm.n,
            "used": point.trained.used,
            "accuracy": point.accuracy.value,
            "accuracy_low": point.accuracy.low,
            "accuracy_high": point.accuracy.high,
            "seeds": len(point.trained.test),
            "rate": point.trained.rate,
            "effective_leaves": point.trained.effective_leaves,
            "machine": found.machine if point.time else "",
            "seconds": point.time.value if point.time else None,
            "seconds_low": point.time.low if point.time else None,
            "seconds_high": point.time.high if point.time else None,
            "on_front": point.on_front,
        }
        for point in found.points
    ]


CSV_COLUMNS = (
    "layer", "neurons", "used", "accuracy", "accuracy_low", "accuracy_high", "seeds", "rate", "effective_leaves",
    "machine", "seconds", "seconds_low", "seconds_high", "on_front",
)  # fmt: skip
