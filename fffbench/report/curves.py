"""How does the speed-up change with batch and with width?"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes

from fffbench.analysis.headline import PUBLISHED_SHAPE, shape_of
from fffbench.analysis.rows import Speedup
from fffbench.report import drawing
from fffbench.report.drawing import FAMILY, MARKERS, MUTED, STYLE, count_label, label, log_ticks, times_label
from fffbench.report.view import Figure
from fffbench.units import number, ratio

DASHES = {"fp32": "-", "tf32": (0, (5, 1.5)), "bf16": (0, (3, 1.5)), "fp16": (0, (1, 1.2))}
MAX_TICKS = 12  # places named on the axis; more would overlap
MAX_LINES = 4  # lines of a chart; the heat map holds the rest
HOW_TO_READ = (
    "the fastest implementation over the fastest dense layer, each at its own best thread count; cold caches, uniform "
    "routing, the bare kernel (on a GPU inside a graph where one was measured). Above the 1x line the conditional "
    "layer wins; the band is the 95 % interval."
)


def against_batch(rows: Sequence[Speedup], name: str, title: str) -> Figure | None:
    """Speed-up over the best dense layer against batch: a line per family and dtype, of its fastest implementation."""
    rows = _headline_rows(rows)
    shapes = {shape_of(row) for row in rows}
    if not shapes:
        return None
    shape = PUBLISHED_SHAPE if PUBLISHED_SHAPE in shapes else min(shapes)
    rows = [row for row in rows if shape_of(row) == shape]
    d, trees, levels, leaf = shape
    n = rows[0].n
    ceiling = n / (trees * (levels + leaf))
    bounds = [(1.0, ceiling), (2.0, ceiling)]
    lines = {(row.family, row.dtype): f"{row.family.upper()} {row.dtype}" for row in rows}
    svg = _chart(rows, lines, lambda row: (row.family, row.dtype), "batch", bounds, name, title)
    return Figure(name, "Speed-up against batch", f"Layer {d} to {n}; {HOW_TO_READ}", svg)


def against_width(rows: Sequence[Speedup], name: str, title: str) -> Figure | None:
    """The same against the number of neurons: a line per dtype and batch of the fastest FFF; None below two widths."""
    rows = [row for row in _headline_rows(rows) if row.family == "fff" and (row.trees, row.leaf_width) == (1, 0)]
    common = Counter(row.d for row in rows).most_common(1)
    rows = [row for row in rows if row.d == common[0][0]]
    places: dict[tuple[str, int], set[int]] = defaultdict(set)
    for row in rows:
        places[row.dtype, row.batch].add(row.n)
    wide = sorted((key for key, widths in places.items() if len(widths) > 1), key=lambda key: (-len(places[key]), key))
    lines = {(dtype, batch): f"{dtype}, batch {batch}" for dtype, batch in wide[:MAX_LINES]}
    rows = [row for row in rows if (row.dtype, row.batch) in lines]
    if not rows:
        return None
    bounds = sorted({(float(row.n), row.n / row.levels) for row in rows})
    svg = _chart(rows, lines, lambda row: (row.dtype, row.batch), "n", bounds, name, title)
    text = f"One tree, {rows[0].d} inputs; {HOW_TO_READ} The ceiling, neurons over levels, grows with the width."
    return Figure(name, "Speed-up against width", text, svg)


def _headline_rows(rows: Sequence[Speedup]) -> list[Speedup]:
    over = ("best-dense", "fastest")
    return [
        row for row in rows if row.speedup is not None and row.main and (row.baseline, row.baseline_threads) == over
    ]


def _chart(
    rows: Sequence[Speedup],
    lines: Mapping[tuple[str, Any], str],
    key: Callable[[Speedup], tuple[str, Any]],
    axis: str,
    bounds: Sequence[tuple[float, float]],
    name: str,
    title: str,
) -> Markup:
    """Lines with bands on logarithmic axes, 1x, 78x and the ceiling; ``bounds`` holds the ceiling along the axis."""
    said: list[str] = []
    with mpl.rc_context(STYLE):
        figure, (axes,) = drawing.new(6.4, 3.9)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        log_ticks(axes.xaxis, count_label)
        log_ticks(axes.yaxis, times_label)
        _levels(axes, bounds)
        ends: list[tuple[float, float, str, str]] = []
        for index, line in enumerate(sorted(lines, reverse=True)):
            best = _best([row for row in rows if key(row) == line], axis)
            colour = FAMILY[best[0].family]
            marker = MARKERS[(0 if best[0].family == "fff" else 1) if axis == "batch" else index % len(MARKERS)]
            _curve(axes, best, axis, colour, DASHES[best[0].dtype], marker)
            ends.append((float(getattr(best[-1], axis)), best[-1].speedup or 1, lines[line], colour))
            said.append(
                f"{lines[line]}: "
                + ", ".join(f"{axis} {getattr(row, axis)} {ratio(row.speedup or 0, row.low, row.high)}" for row in best)
                + "."
            )
        _end_labels(axes, ends)
        axes.set_xlabel("batch, tokens" if axis == "batch" else "neurons")
        axes.set_ylabel("times faster than best dense")
        places = sorted({getattr(row, axis) for row in rows})
        axes.set_xticks(places if len(places) <= MAX_TICKS else [places[0], places[len(places) // 2], places[-1]])
        axes.set_title(label(title))
        return drawing.to_svg(figure, name, said)


def _best(rows: Sequence[Speedup], axis: str) -> list[Speedup]:
    """The fastest implementation's row at each place along the axis."""
    best: dict[int, Speedup] = {}
    for row in rows:
        place = getattr(row, axis)
        if place not in best or (row.time or 0) < (best[place].time or 0):
            best[place] = row
    return [row for _, row in sorted(best.items())]


def _levels(axes: Axes, bounds: Sequence[tuple[float, float]]) -> None:
    """1x, 78x and the ceiling, a level line or (over widths) a rising one, each with its name."""
    flat = len({bound for _, bound in bounds}) == 1
    named = [(1.0, "1x"), (78.0, "78x, published for 4095 on CPUs")]
    if flat:
        named.append((bounds[0][1], f"{number(bounds[0][1])}x, ceiling"))
    for value, text in named:
        dashes = "-" if value == 1 else (0, (4, 2))
        axes.axhline(value, color=MUTED, linewidth=0.9, linestyle=dashes, zorder=0)
        place: Any = {"xycoords": ("axes fraction", "data"), "xytext": (3, 3), "textcoords": "offset points"}
        axes.annotate(text, (0, value), fontsize=8, color=MUTED, **place)
    if not flat:
        x, y = [place for place, _ in bounds], [bound for _, bound in bounds]
        axes.plot(x, y, color=MUTED, linewidth=0.9, linestyle=(0, (4, 2)), zorder=0)
        right: Any = {"xytext": (-3, 4), "textcoords": "offset points", "ha": "right"}
        axes.annotate("ceiling", (x[-1], y[-1]), fontsize=8, color=MUTED, **right)


def _curve(axes: Axes, rows: Sequence[Speedup], axis: str, colour: str, dash: Any, marker: str) -> None:
    places = [getattr(row, axis) for row in rows]
    low = [math.nan if row.low is None else row.low for row in rows]
    high = [math.nan if row.high is None else row.high for row in rows]
    axes.fill_between(places, low, high, color=colour, alpha=0.2, linewidth=0)
    gains: Any = [row.speedup for row in rows]
    axes.plot(places, gains, color=colour, marker=marker, linestyle=dash, markeredgewidth=0)


def _end_labels(axes: Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Names at the line ends, pushed apart where they would touch."""
    last = -math.inf
    for x, y, text, colour in sorted(ends, key=lambda end: end[1]):
        place = max(math.log10(y), last + 0.11)
        last = place
        axes.annotate(
            text,
            (x, 10**place),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            color=colour,
            annotation_clip=False,
        )
