"""How far from the published figures is what was measured? The page's first chart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes

from fffbench.analysis.claims import ClaimRow
from fffbench.report import drawing
from fffbench.report.drawing import FFF, INK, MUTED, STYLE, label, log_ticks, times_label
from fffbench.report.view import Figure
from fffbench.units import number, ratio


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
            _forest_line(
                axes, height, [row for row in ratios if row.id == claim and machine in (row.machine, None)], said
            )
        axes.axvline(1, color=MUTED, linewidth=1)
        axes.axvline(ceiling, color=INK, linewidth=1, linestyle=(0, (4, 2)))
        top = len(lines) - 0.35
        beside: Any = {"textcoords": "offset points", "va": "bottom", "fontsize": 8.5}
        axes.annotate(f"ceiling {number(ceiling)}x", (ceiling, top), xytext=(-5, 0), ha="right", **beside)
        axes.annotate("1x: as fast as dense", (1, top), xytext=(5, 0), ha="left", color=MUTED, **beside)
        axes.set_ylim(-0.6, len(lines) - 0.1)
        names = [_line_name(short[claim], machine, machines) for claim, machine in reversed(lines)]
        axes.set_yticks(range(len(lines)), names)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("times faster than the baseline (logarithmic)")
        log_ticks(axes.xaxis, times_label)
        low, high = axes.get_xlim()
        axes.set_xlim(min(low, 0.8), max(high, ceiling * 1.7))
        svg = drawing.to_svg(figure, "hero", said)
    return Figure(
        "hero",
        "Published figures and what was measured",
        "Hollow diamond: the published figure. Grey dot: measured under the published conditions (one path for all "
        "tokens, hot caches). Blue dot: measured under fair ones (random paths, cold caches, best dense layer). Bars "
        "are 95 % intervals, often smaller than their dot. Dashed line: the bound from counting operations.",
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
