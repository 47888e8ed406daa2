"""How far from the machine's limits is each cell?"""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib as mpl
import pandas as pd
import seaborn as sns

from fffbench.analysis.roofline import Bound
from fffbench.report import drawing
from fffbench.report.drawing import FAMILY, GRID, INK, MARKERS, MUTED, STYLE, label, log_ticks, seconds_label
from fffbench.report.view import Figure
from fffbench.units import number, seconds

MAX_POINTS = 600  # points of a scatter: beyond this the page grows and the eye gains nothing

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
        for axis in (axes.xaxis, axes.yaxis):  # before seaborn, which would make every minor tick and its label
            log_ticks(axis, seconds_label)
        low, high = frame["bound"].min() / 2, max(frame["bound"].max(), frame["bound"].min()) * 2
        top = max(frame["time"].max(), high) * 3
        for share, text in ((1.0, "100 %"), (0.1, "10 %"), (0.01, "1 %")):
            axes.plot(
                [low, high], [low / share, high / share], color=MUTED if share == 1 else GRID, linewidth=1, zorder=0
            )
            x = min(high, top * share)
            axes.annotate(
                text,
                (x, x / share),
                xytext=(-6, -1),
                textcoords="offset points",
                fontsize=8,
                color=MUTED,
                ha="right",
                va="top" if x < high else "bottom",
            )
        order = [family for family in FAMILY if family in set(frame["family"])]
        sns.scatterplot(
            frame,
            x="bound",
            y="time",
            hue="family",
            style="family",
            hue_order=order,
            style_order=order,
            palette={family: FAMILY[family] for family in order},
            markers=dict(zip(FAMILY, MARKERS, strict=False)),
            s=26,
            linewidth=0,
            ax=axes,
        )
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
        axes.set_title(label(title))
        svg = drawing.to_svg(figure, name, said)
    return Figure(
        name,
        "Time against the roofline",
        "Each mark is one record (cold caches, bare kernel). The bound is the larger of necessary bytes over the "
        "memory bandwidth and necessary operations over the arithmetic peak, each at least what was reached on the "
        "machine. The lines mark 100, 10 and 1 % of it; dense and conditional cells have bounds of their own work.",
        svg,
    )
