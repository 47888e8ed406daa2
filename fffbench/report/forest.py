"""How far from the published figures is what was measured? The page's first chart."""

from __future__ import annotations

from collections.abc import Sequence
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
Line = tuple[str, str | None]  # a claim's id and the machine that answers it, or None


def forest(rows: Sequence[ClaimRow], ceiling: float) -> Figure | None:
    """The hero: published figures against what was measured, one line per claim and machine, wide and for a phone."""
    ratios = [row for row in rows if row.kind == "ratio"]
    lines = _lines(ratios)
    if not lines:
        return None
    return Figure(
        "hero",
        "Published figures and what was measured",
        "Hollow diamond: the published figure. Grey dot: measured under the published conditions (one path for all "
        "tokens, hot caches). Blue dot: measured under fair ones (random paths, cold caches, best dense layer). Bars "
        "are 95 % intervals, often smaller than their dot. Dashed line: the bound from counting operations.",
        _draw(ratios, lines, ceiling, narrow=False),
        _draw(ratios, lines, ceiling, narrow=True),
    )


def _lines(ratios: Sequence[ClaimRow]) -> list[Line]:
    lines: list[Line] = []
    for claim in dict.fromkeys(row.id for row in ratios):
        with_numbers = sorted({row.machine for row in ratios if row.id == claim and row.measured and row.machine})
        lines += [(claim, machine) for machine in with_numbers] or [(claim, None)]
    return lines


def _draw(ratios: Sequence[ClaimRow], lines: Sequence[Line], ceiling: float, *, narrow: bool) -> Markup:
    """The chart with names beside the axis, or (narrow) above each line."""
    machines = sorted({row.machine for row in ratios if row.machine})
    short = {row.id: row.short for row in ratios}
    names = [_line_name(short[claim], machine, machines, narrow=narrow) for claim, machine in reversed(lines)]
    said: list[str] = []
    with mpl.rc_context(STYLE):
        figure, (axes,) = drawing.new(NARROW if narrow else WIDE, 1.3 + (0.62 if narrow else 0.4) * len(lines))
        axes.set_xscale("log")
        for height, (claim, machine) in enumerate(reversed(lines)):
            of_line = [row for row in ratios if row.id == claim and machine in (row.machine, None)]
            _forest_line(axes, height, of_line, said)
            if narrow:
                place: Any = {"xycoords": ("axes fraction", "data"), "va": "center", "fontsize": 9}
                axes.annotate(names[height], (0, height + 0.42), **place)
        axes.axvline(1, color=MUTED, linewidth=1)
        axes.axvline(ceiling, color=INK, linewidth=1, linestyle=(0, (4, 2)))
        top = len(lines) - 0.35
        beside: Any = {"textcoords": "offset points", "va": "bottom", "fontsize": 8.5}
        axes.annotate(f"ceiling {number(ceiling)}x", (ceiling, top), xytext=(-5, 0), ha="right", **beside)
        axes.annotate("1x: as fast as dense", (1, top), xytext=(5, 0), ha="left", color=MUTED, **beside)
        axes.set_ylim(-0.6, len(lines) - 0.1)
        axes.set_yticks(range(len(lines)), [""] * len(lines) if narrow else names)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("times faster than the baseline (logarithmic)")
        log_ticks(axes.xaxis, times_label)
        low, high = axes.get_xlim()
        axes.set_xlim(min(low, 0.8), max(high, ceiling * 1.7))
        return drawing.to_svg(figure, "hero-narrow" if narrow else "hero-wide", said)


def _line_name(claim: str, machine: str | None, machines: Sequence[str], *, narrow: bool) -> str:
    gap = ", " if narrow else "\n"
    if machine is None:
        return f"{label(claim)}{gap}not measured"
    return label(claim) + (f"{gap}{label(machine)}" if len(machines) > 1 else "")


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
                f"{number(row.measured)}x",
                (row.measured, y),
                xytext=(0, -4),
                textcoords="offset points",
                ha="center",
                va="top",
                fontsize=8.5,
                color=FFF,
            )
        words.append(
            f"{row.conditions} {ratio(row.measured, row.low, row.high)} on {row.machine}, {row.threads} threads"
        )
    said.append(", ".join(words) + ".")
