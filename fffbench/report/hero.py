"""How far is a published figure from what its own code gives, mended, and from the best kernel? The page's first chart.

A row is a claim on a device: from the published figure over the published code as shipped and mended to our best
kernel over the best dense layer. Of the claims about one layer, the best kernel is the same on a device and its number
stands once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes

from fffbench.analysis.fidelity import Climb, Step
from fffbench.analysis.headline import Answer
from fffbench.claims.program import deciding_climb
from fffbench.claims.rows import ClaimRow
from fffbench.report import drawing
from fffbench.report.cards import Mark, unmarked
from fffbench.report.drawing import CMM, FFF, INK, MUTED, STYLE, label, log_ticks, times_label
from fffbench.report.shown import Device, Place
from fffbench.report.view import Figure, Link, Said
from fffbench.units import number, ratio

WIDE, NARROW = 9.6, 4.7  # inches; the narrow one fits a phone unscaled
ROW, HEAD = 0.27, 0.36  # inches of a device's row and of a claim's name above its rows
MOST = 6  # claims drawn; the ledger has all
NOT_MEASURED = "not measured"
COLUMNS = ("published", "shipped", "mended", "best")


@dataclass(frozen=True)
class Measured:
    """A place on the chart: the value, the same with its interval, and the records it rests on."""

    value: float
    text: str
    records: tuple[str | None, ...] = ()


@dataclass(frozen=True)
class Line:
    """One row of the chart; a figure is None where it was not measured."""

    claim: str
    short: str
    published: float
    shown: str
    device: str
    shipped: Measured | None
    mended: Measured | None
    ours: Measured | None
    text: str  # ours with its interval, and where TF32 is allowed


def lines(
    claims: Sequence[ClaimRow], climbs: Sequence[Climb], answers: Mapping[Place, Answer], devices: Sequence[Device]
) -> list[Line]:
    """The claims whose published program was repeated, in the ledger's order, and of the first every device."""
    decisive = [row for row in claims if row.baseline and row.chart and row.conditions == "fair" and row.decides]
    repeated = {climb.claim for climb in climbs}
    wanted = [name for name in dict.fromkeys(row.id for row in decisive) if name in repeated]
    first = decisive[0].id if decisive else ""
    found = []
    for claim in dict.fromkeys([*([first] if first else []), *wanted[:MOST]]):
        for device in devices:
            row = next((row for row in decisive if (row.id, row.machine, row.device) == (claim, *device.place)), None)
            own = [item for item in climbs if (item.claim, item.machine, item.device) == (claim, *device.place)]
            if row is None or row.measured is None or (not own and claim != first):
                continue
            climb = deciding_climb(own, row.claimed_batch) if own else None
            answer = answers.get(device.place)
            best, tf32 = _best(row, answer)
            found.append(
                Line(
                    claim,
                    row.short,
                    row.published,
                    row.published_shown,
                    device.short,
                    _place(climb.steps[0]) if climb else None,
                    _place(climb.mended) if climb else None,
                    best,
                    f"{best.text} with TF32 on the dense side" if tf32 else best.text,
                )
            )
    return found


def _place(step: Step) -> Measured | None:
    if step.speedup is None:
        return None
    return Measured(step.speedup, ratio(step.speedup, step.low, step.high), step.records)


def _best(row: ClaimRow, answer: Answer | None) -> tuple[Measured, bool]:
    """Our best kernel over the best dense layer of the claim's width, and whether that may use TF32.

    On a GPU it may where that was measured; the headline is the same for all claims about a layer.
    """
    gain = row.measured or 0.0
    found = Measured(gain, ratio(gain, row.low, row.high), row.records)
    if answer is None or row.baseline != "best-dense":
        return found, False
    one = answer.with_tf32 or answer.strict
    if one is None:
        return found, False
    gain = one.speedup or 0.0
    sides = (one.record, one.baseline_record)
    return Measured(gain, ratio(gain, one.low, one.high), sides), answer.with_tf32 is not None


def hero(found: Sequence[Line], ceiling: float, mark: Mark = unmarked) -> Figure | None:
    """The chart, wide and for a phone; ``mark`` gives the cards of its marks."""
    if not found:
        return None
    starred = any(line.device.endswith("*") for line in found)
    star = " A star: measured from sources that have changed since." if starred else ""
    return Figure(
        "hero",
        "What was published, what its own code gives, what a good kernel gives",
        "Read a row from the diamond (published) to the circles: their code as shipped here (hollow), and once it "
        "computes the right thing and is timed rightly (filled). The square is the best kernel over the best dense "
        "layer, on a GPU with TF32 allowed to the dense side. To the right of 1x is faster than dense; the dashed line "
        f"is the count of operations.{star}",
        draw(found, ceiling, "hero-wide", mark, narrow=False),
        draw(found, ceiling, "hero-narrow", mark, narrow=True),
        tuple(_sentence(line, mark) for line in found),
    )


def _sentence(line: Line, mark: Mark) -> Said:
    """The numbers of a row, each with its card."""
    places = [(_said(one), one) for one in (line.shipped, line.mended)]
    shipped, mended = (text for text, _ in places)
    links = [Link(text, mark(one.text, *one.records)) for text, one in places if one]
    links += [Link(line.ours.text, mark(line.ours.text, *line.ours.records))] if line.ours else []
    said = f"{line.shown} on {line.device}: as shipped {shipped}, mended {mended}, best over best {line.text}."
    return Said(said, tuple(links))


def draw(found: Sequence[Line], ceiling: float, name: str, mark: Mark = unmarked, *, narrow: bool) -> Markup:
    """One drawing of the rows, claims from top to bottom."""
    heights, heads, level = [], {}, 0.0
    for index, line in enumerate(found):
        if index == 0 or found[index - 1].claim != line.claim:
            level -= HEAD / ROW
            heads[line.claim] = level + 0.1
        level -= 1
        heights.append(level)
    said = [_sentence(line, unmarked).text for line in found]
    with mpl.rc_context(STYLE):
        figure, (axes, beside) = drawing.new(NARROW if narrow else WIDE, 1.15 + ROW * -level, 1, 2)
        axes.get_gridspec().set_width_ratios([4, 1] if narrow else [5, 2])  # type: ignore[union-attr]
        beside.axis("off")
        axes.set_xscale("log")
        seen: set[tuple[str, str]] = set()
        for line, height in zip(found, heights, strict=True):
            _row(axes, height, line, mark)
            ours = "" if (line.device, line.text) in seen else _said(line.ours)
            seen.add((line.device, line.text))
            _figures(beside, height, (line.shown, _said(line.shipped), _said(line.mended), ours), narrow=narrow)
        axes.axvline(1, color=MUTED, linewidth=1)
        axes.axvline(ceiling, color=INK, linewidth=1, linestyle=(0, (4, 2)))
        above: Any = {"textcoords": "offset points", "va": "bottom", "fontsize": 8.5}
        axes.annotate(f"{number(ceiling)}x", (ceiling, 0), xytext=(-4, 0), ha="right", **above)
        axes.annotate("1x" if narrow else "as fast as dense", (1, 0), xytext=(4, 0), ha="left", color=MUTED, **above)
        _figures(beside, 0.35, COLUMNS, narrow=narrow, head=True)
        ticks = dict(zip(heights, (line.device for line in found), strict=True))
        names = {line.claim: line.short for line in found}
        for claim, height in heads.items():
            left: Any = {"xycoords": ("axes fraction", "data"), "va": "center", "fontsize": 9, "fontweight": "bold"}
            if narrow:
                axes.annotate(label(names[claim]), (0, height), **left)
            else:
                ticks[height] = label(names[claim])
        axes.set_yticks(list(ticks), [label(text) for text in ticks.values()])
        for tick, height in zip(axes.get_yticklabels(), ticks, strict=True):
            tick.set(fontsize=8.5, fontweight="bold" if height in heads.values() else "normal")
        for one in (axes, beside):
            one.set_ylim(level - 0.7, 1.0)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        log_ticks(axes.xaxis, times_label)
        low, high = axes.get_xlim()
        axes.set_xlim(min(low, 0.5), max(high, ceiling * 1.9))
        axes.set_xlabel("times faster than its dense layer (logarithmic)")
        return drawing.to_svg(figure, name, said)


def _said(found: Measured | None) -> str:
    return NOT_MEASURED if found is None else f"{number(found.value)}x"


def _figures(axes: Axes, height: float, texts: Sequence[str], *, narrow: bool, head: bool = False) -> None:
    """The numbers of a row in columns beside the chart; on a phone only the last, which the marks cannot give."""
    colours = (INK, CMM, CMM, FFF)
    for index, (text, colour) in enumerate(zip(texts, colours, strict=True)):
        if narrow and index != len(texts) - 1:
            continue
        axes.text(
            1.0 if narrow else 0.25 * (index + 1), height, "" if text == NOT_MEASURED else text, fontsize=8,
            color=MUTED if head else colour, ha="right", va="center",
        )  # fmt: skip


def _row(axes: Axes, height: float, line: Line, mark: Mark) -> None:
    known = [one for one in (line.shipped, line.mended, line.ours) if one and one.value]
    values = [line.published, *(one.value for one in known)]
    axes.plot([min(values), max(values)], [height, height], color=MUTED, linewidth=0.8, zorder=1)
    places = [(line.shipped, "o", "none", CMM), (line.mended, "o", CMM, CMM), (line.ours, "s", FFF, FFF)]
    for one, marker, face, edge in places:
        if one and one.value:
            style: Any = {"markerfacecolor": face, "markeredgecolor": edge, "markersize": 6.5}
            to = mark(one.text, *one.records) or None
            axes.plot(one.value, height, marker, zorder=3, markeredgewidth=1.4, url=to, **style)
    axes.plot(line.published, height, "D", markerfacecolor="none", markeredgecolor=INK, markersize=6, zorder=4)
