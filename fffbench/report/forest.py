"""How far from the published figures is what was measured? The page's first chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes

from fffbench.analysis.claims import ClaimRow
from fffbench.report import drawing
from fffbench.report.drawing import FFF, INK, MUTED, STYLE, label, log_ticks, times_label
from fffbench.report.view import Figure
from fffbench.units import number, ratio

WIDE, NARROW = 9.4, 4.6  # inches; the narrow one is 331 px wide and fits a phone unscaled
MANY = 14  # lines from which on the chart is drawn closer: a claim's name once, its machines beneath it
Place = tuple[str, str]  # machine and device
Line = tuple[str, str | None, str | None]  # a claim's id, and the machine and device that answer it, or None


def forest(rows: Sequence[ClaimRow], ceiling: float, names: Mapping[Place, str]) -> Figure | None:
    """The hero: published figures against what was measured, one line per claim and machine, wide and for a phone."""
    ratios, lines, absent = _lines(rows)
    if not lines:
        return None
    left_out = f" Not measured, so not drawn: {'; '.join(absent)}." if absent else ""
    return Figure(
        "hero",
        "Published figures and what was measured",
        "Hollow diamond: the published figure. Grey dot: measured under the published conditions (one path for all "
        "tokens, hot caches). Blue dot: measured under fair ones (random paths, cold caches, best dense layer). Bars "
        f"are 95 % intervals, often smaller than their dot. Dashed line: the bound from counting operations.{left_out}",
        draw(ratios, lines, ceiling, names, name="hero-wide", narrow=False),
        draw(ratios, lines, ceiling, names, name="hero-narrow", narrow=True),
    )


def standalone(rows: Sequence[ClaimRow], ceiling: float, names: Mapping[Place, str], name: str) -> Markup:
    """The wide chart alone, for a file of its own; empty where the ledger has no ratio."""
    ratios, lines, _ = _lines(rows)
    return draw(ratios, lines, ceiling, names, name=name, narrow=False) if lines else Markup("")


def _lines(rows: Sequence[ClaimRow]) -> tuple[list[ClaimRow], list[Line], list[str]]:
    """The rows of the chart, its lines, and the claims that nobody has measured (lines only if nothing has been)."""
    ratios = [row for row in rows if row.kind == "ratio" and row.chart and row.decides]
    lines: list[Line] = []
    absent: list[Line] = []
    for claim in dict.fromkeys(row.id for row in ratios):
        of_claim = [row for row in ratios if row.id == claim and row.measured and row.machine]
        places: list[Line] = sorted({(claim, row.machine, row.device) for row in of_claim}, key=str)
        lines += places
        absent += [] if places else [(claim, None, None)]
    short = {row.id: row.short for row in ratios}
    return ratios, lines or absent, [short[claim] for claim, _, _ in absent] if lines else []


def draw(
    ratios: Sequence[ClaimRow],
    lines: Sequence[Line],
    ceiling: float,
    names: Mapping[Place, str],
    *,
    name: str,
    narrow: bool,
) -> Markup:
    """The chart with names beside the axis, or (narrow) above each line."""
    short = {row.id: row.short for row in ratios}
    close = len(lines) > MANY and len(names) > 1 and not narrow
    heights, named = _heights(lines, close=close)
    inches = 0.68 if narrow else 0.17 if close else 0.4
    said: list[str] = []
    with mpl.rc_context(STYLE):
        figure, (axes,) = drawing.new(NARROW if narrow else WIDE, 1.3 + inches * (heights[0] + 1))
        axes.set_xscale("log")
        ticks: dict[float, str] = {}
        for line, height in zip(lines, heights, strict=True):
            claim, *place = line
            of_line = [row for row in ratios if row.id == claim and place in ([row.machine, row.device], [None, None])]
            _forest_line(axes, height, of_line, said, close=close)
            written = _line_name(short[claim], (line[1], line[2]), names, narrow=narrow)
            if narrow:
                left: Any = {"xycoords": ("axes fraction", "data"), "va": "center", "fontsize": 9}
                axes.annotate(written, (0, height + 0.36), **left)
            ticks[height] = written if not close else written.split("\n")[-1]
        if close:
            ticks |= {height: label(short[claim]) for claim, height in named.items()}
        axes.axvline(1, color=MUTED, linewidth=1)
        axes.axvline(ceiling, color=INK, linewidth=1, linestyle=(0, (4, 2)))
        top = heights[0] + (1.65 if close else 0.65)
        beside: Any = {"textcoords": "offset points", "va": "bottom", "fontsize": 8.5}
        axes.annotate(f"ceiling {number(ceiling)}x", (ceiling, top), xytext=(-5, 0), ha="right", **beside)
        axes.annotate("1x: as fast as dense", (1, top), xytext=(5, 0), ha="left", color=MUTED, **beside)
        axes.set_ylim(-0.8 if close else -0.6, heights[0] + (2 if close else 0.9))
        axes.set_yticks(list(ticks), [""] * len(ticks) if narrow else list(ticks.values()))
        for tick, height in zip(axes.get_yticklabels(), ticks, strict=True):
            tick.set(fontweight="bold" if height in named.values() else "normal", fontsize=8.5 if close else None)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("times faster than the baseline (logarithmic)")
        log_ticks(axes.xaxis, times_label)
        low, high = axes.get_xlim()
        axes.set_xlim(min(low, 0.8), max(high, ceiling * 1.7))
        return drawing.to_svg(figure, name, said)


def _heights(lines: Sequence[Line], *, close: bool) -> tuple[list[float], dict[str, float]]:
    """Where each line lies, the first on top; if ``close``, also where each claim's name stands above its lines."""
    if not close:
        return [float(len(lines) - 1 - index) for index in range(len(lines))], {}
    claims = list(dict.fromkeys(claim for claim, _, _ in lines))
    heights, named, level = [], {}, len(lines) + 1.4 * len(claims)
    for index, (claim, _, _) in enumerate(lines):
        if index == 0 or lines[index - 1][0] != claim:
            named[claim] = level - 0.4
            level -= 1.4
        heights.append(level)
        level -= 1
    bottom = heights[-1]
    return [height - bottom for height in heights], {claim: height - bottom for claim, height in named.items()}


def _line_name(claim: str, place: tuple[str | None, str | None], names: Mapping[Place, str], *, narrow: bool) -> str:
    gap = ", " if narrow else "\n"
    machine, device = place
    if machine is None or device is None:
        return f"{label(claim)}{gap}not measured"
    return label(claim) + (f"{gap}{label(names[machine, device])}" if len(names) > 1 else "")


def _forest_line(axes: Axes, height: float, rows: Sequence[ClaimRow], said: list[str], *, close: bool) -> None:
    published = rows[0].published
    size = 5 if close else 8
    axes.plot(published, height, "D", markerfacecolor="none", markeredgecolor=INK, markersize=size, markeredgewidth=1.2)
    words = [f"{rows[0].id}: published {rows[0].published_shown}"]
    for row in rows:
        if row.measured is None:
            continue
        fair = row.conditions == "fair"
        colour, offset = (FFF, -0.14) if fair else (MUTED, 0.14)
        y = height + offset
        if row.low is not None and row.high is not None:
            axes.plot([row.low, row.high], [y, y], color=colour, linewidth=2.2, solid_capstyle="butt")
        axes.plot(row.measured, y, "o", color=colour, markersize=6 if fair else 5)
        if fair:
            where: Any = {"xytext": (0, -4), "ha": "center", "va": "top", "fontsize": 8.5}
            at: tuple[float, float] = (row.measured, y)
            axis: Any = "data"
            if close:  # in a column of their own: no room below, and to the right are other dots
                where = {"xytext": (4, 0), "ha": "left", "va": "center", "fontsize": 8}
                at, axis = (1, height), axes.get_yaxis_transform()
            axes.annotate(f"{number(row.measured)}x", at, xycoords=axis, textcoords="offset points", color=FFF, **where)
        words.append(
            f"{row.conditions} {ratio(row.measured, row.low, row.high)} on {row.machine} ({row.device}), "
            f"{row.threads} thread{'s' * (row.threads != 1)}"
        )
    said.append(", ".join(words) + ".")
