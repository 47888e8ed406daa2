"""At which width and batch does FFF win? A number in every cell, the colour says on which side of 1x."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import LinearSegmentedColormap

from fffbench.analysis.headline import fair
from fffbench.analysis.rows import Speedup
from fffbench.plan.workload import DTYPES
from fffbench.report import drawing
from fffbench.report.drawing import STYLE, label
from fffbench.report.view import Figure
from fffbench.units import number

MIN_WIDTHS = 2  # one width is a curve, not a map
MAX_SIDE = 16  # columns or rows beyond this leave no room for a number in a cell
# Okabe-Ito vermillion to blue through white; the cells carry their own background in light and dark alike
COLOURS = LinearSegmentedColormap.from_list("loss_gain", ["#d55e00", "#f7f7f7", "#0072b2"])


def width_by_batch(rows: Sequence[Speedup], name: str, title: str) -> Figure | None:
    """The fastest FFF over the best dense layer by width and batch, one panel per dtype; None below two widths."""
    rows = [row for row in rows if fair(row)]
    widths = sorted({row.n for row in rows})[-MAX_SIDE:]
    batches = sorted({row.batch for row in rows})[-MAX_SIDE:]
    dtypes = [dtype for dtype in DTYPES if any(row.dtype == dtype for row in rows)]
    if len(widths) < MIN_WIDTHS or len(batches) < MIN_WIDTHS:
        return None
    limit = max(abs(np.log10(row.speedup or 1)) for row in rows) or 1.0
    said: list[str] = []
    with mpl.rc_context(STYLE | {"axes.grid": False}):
        size = (1.2 + 0.62 * len(batches), 0.9 + (0.55 + 0.36 * len(widths)) * len(dtypes))
        figure, panels = drawing.new(*size, rows=len(dtypes))
        for axes, dtype in zip(panels, dtypes, strict=True):
            best: dict[tuple[int, int], float] = {}
            for row in rows:
                if row.dtype == dtype:
                    best[row.n, row.batch] = max(best.get((row.n, row.batch), 0.0), row.speedup or 0.0)
            table = pd.DataFrame([[best.get((n, batch), np.nan) for batch in batches] for n in widths], widths, batches)
            sns.heatmap(
                np.log10(table),
                ax=axes,
                cmap=COLOURS,
                vmin=-limit,
                vmax=limit,
                annot=table.map(lambda value: "" if np.isnan(value) else f"{number(value)}x"),
                fmt="",
                annot_kws={"fontsize": 8, "in_layout": False, "clip_on": False},  # inside anyway
                cbar=False,
                linewidths=1,
                linecolor="none",
            )
            axes.set(xlabel="batch, tokens", ylabel="neurons")
            axes.tick_params(length=0, rotation=0)
            axes.set_title(f"{label(title)}, {dtype}")
            said += [
                f"{dtype}, {n} neurons, batch {batch}: {number(gain)}x." for (n, batch), gain in sorted(best.items())
            ]
        svg = drawing.to_svg(figure, name, said)
    return Figure(
        name,
        "Speed-up by width and batch",
        "Times faster than the best dense layer of at least that width, each side at its fastest thread count; cold "
        "caches, bare kernel, uniform routing. Blue: FFF wins; orange: dense wins; empty: not measured.",
        svg,
    )
