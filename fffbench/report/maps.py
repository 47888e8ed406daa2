"""At which width and batch does FFF win? A number in every cell, the colour says on which side of 1x."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
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
DARK, LIGHT = "#262626", "#ffffff"  # numbers in the cells, whatever the page's scheme
DARK_BELOW = 0.5  # of the way from the middle to an end: there the cells are light


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
            gains = np.array([[best.get((n, batch), np.nan) for batch in batches] for n in widths])
            axes.pcolormesh(np.log10(gains), cmap=COLOURS, vmin=-limit, vmax=limit, linewidth=1, edgecolor="none")
            axes.set(xlim=(0, len(batches)), ylim=(len(widths), 0))
            for (row_index, column), gain in np.ndenumerate(gains):
                if not np.isnan(gain):
                    light = abs(np.log10(gain)) < DARK_BELOW * limit
                    _write(axes, column + 0.5, row_index + 0.5, gain, DARK if light else LIGHT)
            axes.set_xticks(np.arange(len(batches)) + 0.5, map(str, batches))
            axes.set_yticks(np.arange(len(widths)) + 0.5, map(str, widths))
            axes.set(xlabel="batch, tokens", ylabel="neurons")
            axes.tick_params(length=0)
            axes.spines[:].set_visible(False)
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


def _write(axes: Axes, x: float, y: float, gain: float, colour: str) -> None:
    """A speed-up in the middle of its cell."""
    text = axes.text(x, y, f"{number(gain)}x", fontsize=8, color=colour, ha="center", va="center")
    text.set_in_layout(False)  # inside anyway
