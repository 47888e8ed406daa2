"""How does the speed-up change with batch, with width and over the family? One chart per type, a line per device.

The number of charts does not grow with the number of machines. Colour says the family (all lines are FFF), marker and
dash say the device, whose name stands at the end of its line.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes

from fffbench.analysis.headline import (
    PUBLISHED_BATCH,
    PUBLISHED_GAIN,
    PUBLISHED_SHAPE,
    TYPES,
    fair,
    shape_of,
    type_name,
)
from fffbench.analysis.rows import Speedup
from fffbench.devices import HOST
from fffbench.report import drawing
from fffbench.report.cards import Mark, unmarked
from fffbench.report.drawing import FFF, INK, MARKERS, MUTED, STYLE, count_label, label, log_ticks, times_label
from fffbench.report.shown import Device, Place
from fffbench.report.view import Figure, Link, Said
from fffbench.units import number, ratio

MAX_TICKS = 5  # places named on an axis: more of five digits would touch in a panel of half the page, or on a phone
LABEL = 8.5  # points
HOW_TO_READ = (
    "In all of these charts: the fastest FFF kernel over the fastest dense layer, each at its own best thread count; "
    "cold caches, random tokens, on a GPU inside a graph. Above 1x FFF is faster; bands are 95 % intervals. CPUs are "
    "dashed."
)
At = Callable[[Speedup], int]
Lines = dict[Place, list[Speedup]]


@dataclass(frozen=True)
class Axis:
    """What lies along a chart: its name, its unit, and where a row lies."""

    name: str
    title: str
    unit: str
    at: At
    ceiling: Callable[[Speedup], float]
    text: str


def _ceiling(row: Speedup) -> float:
    return row.n / (row.trees * (row.levels + row.leaf_width))


BATCH = Axis("batch", "Speed-up over batch", "batch, tokens", lambda row: row.batch, _ceiling, "The published layer.")
WIDTH = Axis(
    "width", "Speed-up over width", "neurons", lambda row: row.n, _ceiling,
    "One tree, 768 inputs; the ceiling, neurons over levels, grows with the width.",
)  # fmt: skip
FAMILY = Axis(
    "family", "Speed-up over the family", "neurons used per token", lambda row: row.trees * row.levels, _ceiling,
    "UltraFastBERT's family: many shallow trees (right) to one deep tree (left), each of about 4095 neurons.",
)  # fmt: skip


def charts(rows: Sequence[Speedup], devices: Sequence[Device], mark: Mark = unmarked) -> tuple[Figure, ...]:
    """The figures over batch, width and the family, those that have a line; ``mark`` gives the cards of places."""
    shown = {device.place: device for device in devices}
    rows = [row for row in rows if fair(row) and (row.machine, row.device) in shown]
    shapes = Counter(map(shape_of, rows))
    shape = PUBLISHED_SHAPE if PUBLISHED_SHAPE in shapes or not shapes else max(sorted(shapes), key=shapes.__getitem__)
    trees = [row for row in rows if (row.d, row.leaf_width) == (shape[0], 0)]
    of_axis = (
        (BATCH, [row for row in rows if shape_of(row) == shape]),
        (WIDTH, _at_one_batch([row for row in trees if row.trees == 1])),
        (FAMILY, _of_family(trees)),
    )
    found: list[Figure] = []
    for axis, here in of_axis:
        panels = {dtype: lines for dtype in TYPES if (lines := _lines(here, axis.at, dtype))}
        if panels:
            text = axis.text if found else f"{axis.text} {HOW_TO_READ}"  # said once: the charts are read alike
            said: list[Said] = []
            wide, narrow = (_draw(panels, axis, shown, mark, said, narrow=narrow) for narrow in (False, True))
            found.append(Figure(axis.name, axis.title, text, wide, narrow, tuple(said)))
    return tuple(found)


def _at_one_batch(rows: Sequence[Speedup]) -> list[Speedup]:
    """Of each device and type the batch at which most widths were measured, the published one among equals."""
    widths: dict[tuple[Place, str], dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
    for row in rows:
        widths[(row.machine, row.device), row.dtype][row.batch].add(row.n)

    def best(by: Mapping[int, set[int]]) -> int:
        return max(sorted(by), key=lambda batch: (len(by[batch]), batch == PUBLISHED_BATCH))

    chosen = {key: best(by) for key, by in widths.items()}
    return [row for row in rows if chosen[(row.machine, row.device), row.dtype] == row.batch]


def _of_family(rows: Sequence[Speedup]) -> list[Speedup]:
    """Forests of about as many neurons as the published tree, at the published batch; nothing without a forest."""
    near = [row for row in rows if row.batch == PUBLISHED_BATCH and math.isclose(row.n, 4095, rel_tol=0.26)]
    return near if any(row.trees > 1 for row in near) else []


def _lines(rows: Sequence[Speedup], at: At, dtype: str) -> Lines:
    """The fastest implementation's row at each place of each device that has two places or more."""
    best: dict[Place, dict[int, Speedup]] = defaultdict(dict)
    for row in rows:
        if row.dtype == dtype:
            line = best[row.machine, row.device]
            if at(row) not in line or (row.time or 0) < (line[at(row)].time or 0):
                line[at(row)] = row
    return {place: [line[x] for x in sorted(line)] for place, line in best.items() if len(line) > 1}


def _draw(
    panels: Mapping[str, Lines],
    axis: Axis,
    shown: Mapping[Place, Device],
    mark: Mark,
    said: list[Said],
    *,
    narrow: bool,
) -> Markup:
    said.clear()
    columns = 1 if narrow else min(2, len(panels))
    count = math.ceil(len(panels) / columns)
    with mpl.rc_context(STYLE):
        figure, drawn = drawing.new(4.7 if narrow else 5.2 * columns, 3.5 * count, count, columns)
        for axes in drawn[len(panels) :]:
            axes.remove()
        for axes, (dtype, lines) in zip(drawn, panels.items(), strict=False):
            _panel(axes, lines, axis, shown, mark, said, type_name(dtype))
        name = f"{axis.name}-{'narrow' if narrow else 'wide'}"
        return drawing.to_svg(figure, name, [one.text for one in said])


def _panel(
    axes: Axes, lines: Lines, axis: Axis, shown: Mapping[Place, Device], mark: Mark, said: list[Said], dtype: str
) -> None:
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    log_ticks(axes.xaxis, count_label)
    log_ticks(axes.yaxis, times_label)
    every = [row for rows in lines.values() for row in rows]
    _levels(axes, sorted({(float(axis.at(row)), axis.ceiling(row)) for row in every}))
    ends = []
    order = list(shown)
    for place, rows in lines.items():
        marker = MARKERS[order.index(place) % len(MARKERS)]
        xs: Any = [axis.at(row) for row in rows]
        ys: Any = [row.speedup for row in rows]
        low: Any = [math.nan if row.low is None else row.low for row in rows]
        high: Any = [math.nan if row.high is None else row.high for row in rows]
        axes.fill_between(xs, low, high, color=FFF, alpha=0.15, linewidth=0)
        dash: Any = "-" if place[1] != HOST else (0, (4, 1.5))
        axes.plot(xs, ys, color=FFF, linestyle=dash, linewidth=1.3)
        values = [ratio(row.speedup or 0, row.low, row.high) for row in rows]
        marks = [mark(value, row.record, row.baseline_record) for value, row in zip(values, rows, strict=True)]
        for x, y, to in zip(xs, ys, marks, strict=True):
            axes.plot(x, y, marker, color=FFF, markeredgewidth=0, markersize=4.5, url=to or None)
        ends.append((xs[-1], ys[-1], shown[place].short))
        each = ", ".join(f"{x} {value}" for x, value in zip(xs, values, strict=True))
        links = tuple(map(Link, values, marks))
        said.append(Said(f"{dtype}, {shown[place].short}, {axis.name}: {each}.", links))
    places = sorted({axis.at(row) for row in every})
    axes.set_xticks(_few(places))
    axes.set_xlabel(axis.unit)
    axes.set_ylabel("times faster than dense")
    axes.set_title(label(dtype))
    _end_labels(axes, ends, max(places))


def _few(places: Sequence[int]) -> list[int]:
    """At most ``MAX_TICKS`` of ``places``, the first and the last among them, evenly apart on a logarithmic axis."""
    if len(places) <= 1:
        return list(places)
    step = (math.log(places[-1]) - math.log(places[0])) / (MAX_TICKS - 1)
    chosen = [places[0]]
    for place in places[1:-1]:
        if math.log(place / chosen[-1]) >= step * 0.95 and math.log(places[-1] / place) >= step * 0.95:
            chosen.append(place)
    return [*chosen, places[-1]]


def _levels(axes: Axes, bounds: Sequence[tuple[float, float]]) -> None:
    """1x, 78x and the ceiling: a level line, or over widths a rising one; each with its name."""
    flat = len({bound for _, bound in bounds}) == 1
    named = [(1.0, "1x"), (float(PUBLISHED_GAIN), f"{PUBLISHED_GAIN}x")]
    named += [(bounds[0][1], f"{number(bounds[0][1])}x")] if flat else []
    for value, text in named:
        axes.axhline(value, color=MUTED, linewidth=0.9, linestyle="-" if value == 1 else (0, (4, 2)), zorder=0)
        beside: Any = {"xycoords": ("axes fraction", "data"), "xytext": (3, 2), "textcoords": "offset points"}
        axes.annotate(text, (0.4, value), fontsize=8, color=MUTED, **beside)
    if not flat:
        xs, ys = zip(*bounds, strict=True)
        axes.plot(xs, ys, color=MUTED, linewidth=0.9, linestyle=(0, (4, 2)), zorder=0)
        left: Any = {"xytext": (-3, 4), "textcoords": "offset points", "ha": "right"}
        axes.annotate("ceiling", (xs[-1], ys[-1]), fontsize=8, color=MUTED, **left)


def _end_labels(axes: Axes, ends: Sequence[tuple[float, float, str]], right: float) -> None:
    """Names in a column to the right of the last place, pushed apart where they would touch, joined to their lines."""
    bottom, top = (math.log10(value) for value in axes.get_ylim())
    apart = (top - bottom) * 0.062
    ordered = sorted(ends, key=lambda end: end[1])
    for (x, y, text), place in zip(ordered, _spread([math.log10(y) for _, y, _ in ordered], apart), strict=True):
        joined: Any = {"arrowstyle": "-", "color": MUTED, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 4}
        axes.annotate(
            label(text), (x, y), xytext=(right * 1.6, 10**place), va="center", fontsize=LABEL, color=INK,
            annotation_clip=False, arrowprops=joined,
        )  # fmt: skip


def _spread(levels: Sequence[float], apart: float) -> list[float]:
    """Rising ``levels`` moved as little as keeps neighbours ``apart``: groups that touch spread about their mean."""
    groups: list[list[float]] = []
    for level in levels:
        groups.append([level])
        while (
            len(groups) > 1
            and _middle(groups[-1]) - _middle(groups[-2]) < apart * (len(groups[-1]) + len(groups[-2])) / 2
        ):
            groups[-2:] = [groups[-2] + groups[-1]]
    return [_middle(group) + apart * (index - (len(group) - 1) / 2) for group in groups for index in range(len(group))]


def _middle(group: Sequence[float]) -> float:
    return sum(group) / len(group)
