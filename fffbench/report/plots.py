"""Which charts does the page have, and what does each show?"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullLocator

from fffbench.analysis.claims import ClaimRow
from fffbench.analysis.headline import PUBLISHED_SHAPE, best_by_batch, shape_of
from fffbench.analysis.roofline import Bound
from fffbench.analysis.speedup import Speedup
from fffbench.report import drawing
from fffbench.report.drawing import FAMILY, FFF, GRID, INK, MARKERS, MUTED, STYLE, label
from fffbench.report.view import Figure
from fffbench.units import number, ratio, seconds

DASHES = {"fp32": "-", "tf32": (0, (5, 1.5)), "bf16": (0, (3, 1.5)), "fp16": (0, (1, 1.2))}
MAX_POINTS = 600  # points of a scatter: beyond this the page grows and the eye gains nothing


def _times(value: float, _: int | None = None) -> str:
    return f"{number(value)}x" if value < 1 else f"{value:g}x"


def _count(value: float, _: int | None = None) -> str:
    return f"{value:g}" if value < 1e5 else f"{value:.0e}"  # noqa: PLR2004


def _seconds(value: float, _: int | None = None) -> str:
    amount, unit = seconds(value * (1 + 1e-9)).split(" ")  # a power of ten must not fall below its own unit
    return f"{float(amount):g} {unit}"


def _log_ticks(axis: mpl.axis.Axis, formatter: FuncFormatter) -> None:
    axis.set_major_formatter(formatter)
    axis.set_minor_locator(NullLocator())


def forest(rows: Sequence[ClaimRow], ceiling: float) -> Figure | None:
    """The hero: published figures against what was measured, one line per claim and machine."""
    ratios = [row for row in rows if row.kind == "ratio"]
    claims = list(dict.fromkeys(row.id for row in ratios))
    if not claims:
        return None
    machines = sorted({row.machine for row in ratios if row.machine})
    short = {row.id: row.short for row in ratios}
    lines: list[tuple[str, str | None]] = []
    for claim in claims:
        with_numbers = sorted({row.machine for row in ratios if row.id == claim and row.measured and row.machine})
        lines += [(claim, machine) for machine in with_numbers] or [(claim, None)]
    said: list[str] = []
    with mpl.rc_context(STYLE):
        figure, (axes,) = drawing.new(9.4, 1.3 + 0.4 * len(lines))
        axes.set_xscale("log")
        for height, (claim, machine) in enumerate(reversed(lines)):
            _forest_line(axes, height, [row for row in ratios if row.id == claim and machine in (row.machine, None)], said)
        axes.axvline(1, color=MUTED, linewidth=1)
        axes.axvline(ceiling, color=INK, linewidth=1, linestyle=(0, (4, 2)))
        top = len(lines) - 0.35
        beside = {"textcoords": "offset points", "va": "bottom", "fontsize": 8.5}
        axes.annotate(f"ceiling {number(ceiling)}x", (ceiling, top), xytext=(-5, 0), ha="right", **beside)
        axes.annotate("1x: as fast as dense", (1, top), xytext=(5, 0), ha="left", color=MUTED, **beside)
        axes.set_ylim(-0.6, len(lines) - 0.1)
        names = [_line_name(short[claim], machine, machines) for claim, machine in reversed(lines)]
        axes.set_yticks(range(len(lines)), names)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("times faster than the baseline (logarithmic)")
        _log_ticks(axes.xaxis, FuncFormatter(_times))
        low, high = axes.get_xlim()
        axes.set_xlim(min(low, 0.8), max(high, ceiling * 1.7))
        svg = drawing.to_svg(figure, "hero", said)
    return Figure(
        "hero",
        "Published figures and what was measured",
        "Hollow diamond: the published figure. Grey dot: measured under the published conditions (one path for all "
        "tokens, hot caches). Blue dot: measured under fair ones (random paths, cold caches, best dense layer). Bars are "
        "95 % intervals, often smaller than their dot. Dashed line: the bound from counting operations.",
        svg,
    )


def _line_name(claim: str, machine: str | None, machines: Sequence[str]) -> str:
    if machine is None:
        return f"{label(claim)}\nnot measured"
    return f"{label(claim)}\n{label(machine)}" if len(machines) > 1 else label(claim)


def _forest_line(axes: Axes, height: int, rows: Sequence[ClaimRow], said: list[str]) -> None:
    published = rows[0].published
    axes.plot(published, height, "D", markerfacecolor="none", markeredgecolor=INK, markersize=8, markeredgewidth=1.3)
    words = [f"{rows[0].id}: published {rows[0].published_shown}"]
    for row in rows:
        if row.measured is None or row.low is None or row.high is None:
            continue
        fair = row.conditions == "fair"
        colour, offset = (FFF, -0.14) if fair else (MUTED, 0.14)
        y = height + offset
        axes.plot([row.low, row.high], [y, y], color=colour, linewidth=2.2, solid_capstyle="butt")
        axes.plot(row.measured, y, "o", color=colour, markersize=6 if fair else 5)
        if fair:
            axes.annotate(
                f"{number(row.measured)}x", (row.measured, y), xytext=(0, -4), textcoords="offset points", ha="center",
                va="top", fontsize=8.5, color=FFF,
            )  # fmt: skip
        words.append(f"{row.conditions} {ratio(row.measured, row.low, row.high)} on {row.machine}, {row.threads} threads")
    said.append(", ".join(words) + ".")


def against_batch(rows: Sequence[Speedup], name: str, title: str) -> Figure | None:
    """Speed-up over the best dense layer against batch: one line per family and dtype, of its fastest implementation."""
    rows = [
        row
        for row in rows
        if row.speedup is not None and (row.baseline, row.baseline_threads) == ("best-dense", "fastest")
        and (row.cache, row.call, row.routing) == ("cold", "kernel", "uniform")
    ]  # fmt: skip
    shapes = {shape_of(row) for row in rows}
    if not shapes:
        return None
    shape = PUBLISHED_SHAPE if PUBLISHED_SHAPE in shapes else min(shapes)
    curves: dict[tuple[str, str], list[Speedup]] = defaultdict(list)
    for row in rows:
        if shape_of(row) == shape:
            curves[row.family, row.dtype].append(row)
    d, trees, levels, leaf = shape
    ceiling = rows[0].n / (trees * (levels + leaf))
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
            said += [f"{family} {dtype}: " + ", ".join(f"batch {row.batch} {ratio(row.speedup or 0, row.low, row.high)}" for row in best) + "."]  # noqa: E501 # fmt: skip
        for value, text in ((1, "1x"), (78, "78x, published"), (ceiling, f"{number(ceiling)}x, ceiling")):
            axes.axhline(value, color=MUTED, linewidth=0.9, linestyle="-" if value == 1 else (0, (4, 2)), zorder=0)
            axes.annotate(
                text, (0, value), xycoords=("axes fraction", "data"), xytext=(3, 3), textcoords="offset points",
                fontsize=8, color=MUTED,
            )  # fmt: skip
        _end_labels(axes, ends)
        axes.set_xlabel("batch, tokens")
        axes.set_ylabel("times faster than best dense")
        axes.set_xticks(sorted({row.batch for curve in curves.values() for row in curve}))
        _log_ticks(axes.xaxis, FuncFormatter(_count))
        _log_ticks(axes.yaxis, FuncFormatter(_times))
        axes.set_title(label(title))
        svg = drawing.to_svg(figure, name, said)
    return Figure(
        name,
        "Speed-up against batch",
        f"Layer {d} to {rows[0].n}; the fastest implementation of each family over the fastest dense layer, each at its own "
        "best thread count; cold caches, bare kernel, uniform routing. Above the 1x line the conditional layer wins; the "
        "band is the 95 % interval.",
        svg,
    )


def _curve(axes: Axes, rows: Sequence[Speedup], colour: str, dash: object, marker: str) -> None:
    frame = pd.DataFrame({"batch": [row.batch for row in rows], "speedup": [row.speedup for row in rows]})
    axes.fill_between(
        frame["batch"], [row.low or 0 for row in rows], [row.high or 0 for row in rows], color=colour, alpha=0.2, linewidth=0
    )
    sns.lineplot(
        frame, x="batch", y="speedup", ax=axes, color=colour, marker=marker, linestyle=dash, markeredgewidth=0,
        errorbar=None, estimator=None, legend=False,
    )  # fmt: skip


def _end_labels(axes: Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Names at the line ends, pushed apart where they would touch."""
    last = -math.inf
    for x, y, text, colour in sorted(ends, key=lambda end: end[1]):
        place = max(math.log10(y), last + 0.11)
        last = place
        axes.annotate(
            text, (x, 10**place), xytext=(7, 0), textcoords="offset points", va="center", fontsize=8.5, color=colour,
            annotation_clip=False,
        )  # fmt: skip


Point = tuple[str, str, float, Bound]  # family, implementation, time, bound


def against_roofline(points: Sequence[Point], name: str, title: str) -> Figure | None:
    """Measured time against the least time the machine allows; the distance to the diagonal is what is left."""
    if not points:
        return None
    points = sorted(points, key=lambda point: (point[0], point[2]))[:: max(1, math.ceil(len(points) / MAX_POINTS))]
    frame = pd.DataFrame(
        {"family": [p[0] for p in points], "bound": [p[3].seconds for p in points], "time": [p[2] for p in points]}
    )
    said = []
    with mpl.rc_context(STYLE):
        figure, (axes,) = drawing.new(6.4, 3.9)
        axes.set_xscale("log")
        axes.set_yscale("log")
        low, high = frame["bound"].min() / 2, max(frame["bound"].max(), frame["bound"].min()) * 2
        top = max(frame["time"].max(), high) * 3
        for share, text in ((1.0, "the bound"), (0.1, "10 % of it"), (0.01, "1 %")):
            axes.plot([low, high], [low / share, high / share], color=MUTED if share == 1 else GRID, linewidth=1, zorder=0)
            x = min(high, top * share)
            axes.annotate(
                text, (x, x / share), xytext=(-6, -1), textcoords="offset points", fontsize=8, color=MUTED, ha="right",
                va="top" if x < high else "bottom",
            )  # fmt: skip
        order = [family for family in FAMILY if family in set(frame["family"])]
        sns.scatterplot(
            frame, x="bound", y="time", hue="family", style="family", hue_order=order, style_order=order,
            palette={family: FAMILY[family] for family in order}, markers=dict(zip(FAMILY, MARKERS, strict=False)), s=26,
            linewidth=0, ax=axes,
        )  # fmt: skip
        for family in order:
            best = max((p for p in points if p[0] == family), key=lambda p: p[3].seconds / p[2])
            said.append(
                f"{family}: nearest to its bound is {best[1]} at {seconds(best[2])}, "
                f"{number(100 * best[3].seconds / best[2])} % of the bound."
            )
        axes.set_xlim(low, high)
        axes.set_ylim(min(low, frame["time"].min() / 2), top)
        axes.legend(frameon=False, title=None, loc="lower right", labelcolor=INK)
        axes.set_xlabel("least time the machine allows")
        axes.set_ylabel("time measured")
        for axis in (axes.xaxis, axes.yaxis):
            _log_ticks(axis, FuncFormatter(_seconds))
        axes.set_title(label(title))
        svg = drawing.to_svg(figure, name, said)
    return Figure(
        name,
        "Time against the roofline",
        "Each mark is one cell (cold caches, bare kernel). The bound is the larger of necessary bytes over the measured "
        "memory bandwidth and necessary operations over the measured arithmetic peak; a mark on the upper lines takes "
        "10 or 100 times as long. Dense and conditional cells have bounds of their own work.",
        svg,
    )
