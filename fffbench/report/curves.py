"""How does the speed-up change with batch and width?"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from fffbench.analysis.headline import PUBLISHED_SHAPE, best_by_batch, shape_of
from fffbench.analysis.rows import Speedup
from fffbench.report import drawing
from fffbench.report.drawing import FAMILY, MARKERS, MUTED, STYLE, count_label, label, log_ticks, times_label
from fffbench.report.view import Figure
from fffbench.units import number, ratio

DASHES = {"fp32": "-", "tf32": (0, (5, 1.5)), "bf16": (0, (3, 1.5)), "fp16": (0, (1, 1.2))}
MAX_TICKS = 12  # batches named on the axis; more would overlap


def against_batch(rows: Sequence[Speedup], name: str, title: str) -> Figure | None:
    """Speed-up over the best dense layer against batch: a line per family and dtype, of its fastest implementation."""
    rows = [
        row
        for row in rows
        if row.speedup is not None and (row.baseline, row.baseline_threads) == ("best-dense", "fastest") and row.main
    ]
    shapes = {shape_of(row) for row in rows}
    if not shapes:
        return None
    shape = PUBLISHED_SHAPE if PUBLISHED_SHAPE in shapes else min(shapes)
    curves: dict[tuple[str, str], list[Speedup]] = defaultdict(list)
    for row in rows:
        if shape_of(row) == shape:
            curves[row.family, row.dtype].append(row)
    d, trees, levels, leaf = shape
    n = next(row.n for row in rows if shape_of(row) == shape)
    ceiling = n / (trees * (levels + leaf))
    said: list[str] = []
    with mpl.rc_context(STYLE):
        figure, (axes,) = drawing.new(6.4, 3.9)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        ends: list[tuple[float, float, str, str]] = []
        for (family, dtype), curve in sorted(curves.items(), reverse=True):
            best = list(best_by_batch(curve).values())
            _curve(axes, best, FAMILY[family], DASHES[dtype], MARKERS[0 if family == "fff" else 1])
            ends.append((best[-1].batch, best[-1].speedup or 1, f"{family.upper()} {dtype}", FAMILY[family]))
            said += [
                f"{family} {dtype}: "
                + ", ".join(f"batch {row.batch} {ratio(row.speedup or 0, row.low, row.high)}" for row in best)
                + "."
            ]
        for value, text in ((1, "1x"), (78, "78x, published"), (ceiling, f"{number(ceiling)}x, ceiling")):
            axes.axhline(value, color=MUTED, linewidth=0.9, linestyle="-" if value == 1 else (0, (4, 2)), zorder=0)
            axes.annotate(
                text,
                (0, value),
                xycoords=("axes fraction", "data"),
                xytext=(3, 3),
                textcoords="offset points",
                fontsize=8,
                color=MUTED,
            )
        _end_labels(axes, ends)
        axes.set_xlabel("batch, tokens")
        axes.set_ylabel("times faster than best dense")
        batches = sorted({row.batch for curve in curves.values() for row in curve})
        axes.set_xticks(batches if len(batches) <= MAX_TICKS else [batches[0], batches[len(batches) // 2], batches[-1]])
        log_ticks(axes.xaxis, count_label)
        log_ticks(axes.yaxis, times_label)
        axes.set_title(label(title))
        svg = drawing.to_svg(figure, name, said)
    return Figure(
        name,
        "Speed-up against batch",
        f"Layer {d} to {n}; the fastest implementation of each family over the fastest dense layer, each at "
        "its own best thread count; cold caches, bare kernel, uniform routing. Above the 1x line the conditional layer "
        "wins; the band is the 95 % interval.",
        svg,
    )


def _curve(axes: Axes, rows: Sequence[Speedup], colour: str, dash: object, marker: str) -> None:
    frame = pd.DataFrame({"batch": [row.batch for row in rows], "speedup": [row.speedup for row in rows]})
    axes.fill_between(
        frame["batch"],
        [row.low or 0 for row in rows],
        [row.high or 0 for row in rows],
        color=colour,
        alpha=0.2,
        linewidth=0,
    )
    sns.lineplot(
        frame,
        x="batch",
        y="speedup",
        ax=axes,
        color=colour,
        marker=marker,
        linestyle=dash,
        markeredgewidth=0,
        errorbar=None,
        estimator=None,
        legend=False,
    )


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
