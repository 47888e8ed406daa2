"""By which steps does a published benchmark become a fair one? Drawn: a panel per benchmark, a line per device."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes

from fffbench.analysis.fidelity import Climb, changes
from fffbench.claims.program import deciding_climb
from fffbench.report import drawing
from fffbench.report.cards import Cards, Mark, unmarked
from fffbench.report.drawing import (
    CMM,
    FFF,
    GRID,
    INK,
    LONGEST_LABEL,
    MARKERS,
    MUTED,
    STYLE,
    label,
    log_ticks,
    times_label,
)
from fffbench.report.first import gain_text
from fffbench.report.shown import Device, Place
from fffbench.report.view import Figure, LadderLine, Link, Said
from fffbench.units import number, ratio

BATCH = 16384  # of the publications
MOST = 6  # panels: the first of the ledger
Panel = list[tuple[Device, Climb]]


def panels(climbs: Sequence[Climb], devices: Sequence[Device]) -> list[Panel]:
    """The deciding way on each shown device, by claim in the ledger's order."""
    found = []
    for claim in dict.fromkeys(climb.claim for climb in climbs):
        panel = []
        for device in devices:
            own = [item for item in climbs if (item.claim, item.machine, item.device) == (claim, *device.place)]
            if own:
                panel.append((device, deciding_climb(own, BATCH)))
        found += [panel] if panel else []
    return found


def sentences(found: Sequence[Panel], cards: Cards) -> tuple[LadderLine, ...]:
    """One sentence per benchmark: what as shipped became on each device, and the mistake that mattered most."""
    told = []
    for panel in found:
        links: list[Link] = []
        cite = cards.citing(links)
        first = panel[0][1]
        names = " and ".join(device.short for device, _ in panel)
        shipped = " and ".join(gain_text(climb.steps[0], cite) for _, climb in panel)
        mended = " and ".join(gain_text(climb.mended, cite) for _, climb in panel)
        largest = changes(first, mistakes=True)[:1]
        why = f"; what changed it most on {panel[0][0].short}: {largest[0]}" if largest else ""
        said = f"{shipped} as shipped, {mended} mended ({names}){why}."
        told.append(LadderLine(f"{first.published:g}x: {first.title}", first.claim, (Said(said, tuple(links)),)))
    return tuple(told)


def chart(found: Sequence[Panel], mark: Mark = unmarked) -> Figure | None:
    """The panels, wide and for a phone; ``mark`` gives the cards of steps."""
    found = found[:MOST]
    if not found:
        return None
    said: list[Said] = []
    return Figure(
        "ladder-chart",
        "The published benchmarks, mended one mistake at a time",
        "From top to bottom: the published figure (diamond), the benchmark as shipped here, then one change a line. "
        "Amber: the published routines, mistakes and all; blue: our kernel, a better dense layer, cold caches. Lines "
        "of one panel are devices, on the thread count nearest to the publication.",
        _draw(found, mark, said, narrow=False),
        _draw(found, mark, [], narrow=True),
        tuple(said),
    )


def _draw(found: Sequence[Panel], mark: Mark, said: list[Said], *, narrow: bool) -> Markup:
    columns = 1 if narrow else 2
    rows = math.ceil(len(found) / columns)
    lengths = [max(len(climb.steps) for _, climb in panel) + 1 for panel in found]
    heights = [max(lengths[index * columns : (index + 1) * columns]) for index in range(rows)]
    places = dict.fromkeys(device.place for panel in found for device, _ in panel)
    markers = dict(zip(places, itertools.cycle(MARKERS), strict=False))
    with mpl.rc_context(STYLE):
        figure, drawn = drawing.new(
            4.7 if narrow else 10.4, sum(0.75 + 0.31 * height for height in heights), rows, columns
        )
        drawn[0].get_gridspec().set_height_ratios([0.75 + 0.31 * height for height in heights])  # type: ignore[union-attr]
        for axes in drawn[len(found) :]:
            axes.remove()
        for axes, panel in zip(drawn, found, strict=False):
            _panel(axes, panel, markers, mark, said)
        order = {device.short: markers[device.place] for panel in found for device, _ in panel}
        handles = [
            mpl.lines.Line2D([], [], color=MUTED, marker=marker, linestyle="none", markersize=5, label=short)
            for short, marker in order.items()
        ]
        where: Any = {"loc": "outside lower center", "frameon": False, "fontsize": 8, "labelcolor": INK}
        figure.legend(handles=handles, ncols=2 if narrow else len(handles), **where)
        return drawing.to_svg(figure, f"ladder-{'narrow' if narrow else 'wide'}", [one.text for one in said])


def _whole(text: str) -> str:
    """``text`` as far as its last clause that fits: a word cut in two reads as a mistake; the list has all of it."""
    while len(text) > LONGEST_LABEL and (" (" in text or ", " in text):
        text = text[: max(text.rfind(" ("), text.rfind(", "))]
    return text


def _panel(axes: Axes, panel: Panel, markers: Mapping[Place, str], mark: Mark, said: list[Said]) -> None:
    first = panel[0][1]
    axes.set_xscale("log")
    values = [first.published, *(step.speedup for _, climb in panel for step in climb.steps if step.speedup)]
    axes.set_xlim(min(values) / 1.7, max(values) * 1.7)
    axes.plot(first.published, 0, "D", markerfacecolor="none", markeredgecolor=INK, markersize=6, markeredgewidth=1.2)
    texts = [f"published: {first.published:g}x", "as shipped, here"]
    texts += [step.mended for step in first.steps[1:]]
    for device, climb in panel:
        marker = markers[device.place]
        known = [(step, place) for place, step in enumerate(climb.steps, start=1) if step.speedup]
        xs: Any = [step.speedup for step, _ in known]
        axes.plot(xs, [place for _, place in known], color=GRID, linewidth=1, zorder=0)
        written = [ratio(step.speedup or 0, step.low, step.high) for step, _ in known]
        marks = [mark(value, *step.records) for value, (step, _) in zip(written, known, strict=True)]
        for (step, place), to in zip(known, marks, strict=True):
            colour = CMM if step.mistake else FFF
            speedup: Any = step.speedup
            axes.plot(speedup, place, marker, color=colour, markersize=5.5, markeredgewidth=0, zorder=2, url=to or None)
        each = ", ".join(f"{step.mended} {value}" for (step, _), value in zip(known, written, strict=True))
        where = f"{number(climb.published)}x on {device.short}, batch {climb.batch}"
        said.append(Said(f"{where}: {each}.", tuple(map(Link, written, marks))))
    for place, text in enumerate(texts):
        beside: Any = {"xycoords": ("axes fraction", "data"), "va": "center", "fontsize": 8}
        axes.annotate(label(_whole(text)), (0, place - 0.42), color=INK, **beside)
    axes.axvline(1, color=MUTED, linewidth=0.8, zorder=0)
    axes.set_ylim(len(texts) - 0.5, -0.8)
    axes.set_yticks([])
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    log_ticks(axes.xaxis, times_label)
    axes.set_title(label(f"{first.published:g}x: {first.title}"), fontsize=9)
