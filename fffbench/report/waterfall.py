"""Where did the rest of the ceiling go? Four waterfalls in plain words, one bar for each measured cause."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes

from fffbench.analysis.attribution import Attribution, Factor
from fffbench.analysis.headline import PUBLISHED_BATCH, PUBLISHED_SHAPE
from fffbench.devices import HOST
from fffbench.report import drawing
from fffbench.report.analysed import Analysis
from fffbench.report.cards import Cards
from fffbench.report.drawing import BAD, FFF, GOOD, INK, MUTED, STYLE, label, log_ticks, times_label
from fffbench.report.first import Served
from fffbench.report.view import Figure, Link, Said
from fffbench.units import number, percent, ratio, seconds

CSV = "attribution.csv"
HOW = (
    "A time over another of cells that differ in this one thing, or over that of the operations at the arithmetic "
    "peak of the machine. The times:"
)
TIMES = "×"  # noqa: RUF001 - the sign a reader expects
# Whether on the host, type and batch; the first four of which every cause was measured: headlines, a GPU as it
# serves one token, and the strict type
KINDS = (
    (True, "fp32", PUBLISHED_BATCH),
    (True, "bf16", PUBLISHED_BATCH),
    (False, "bf16", PUBLISHED_BATCH),
    (False, "bf16", 1),
    (False, "fp32", PUBLISHED_BATCH),
    (True, "fp32", 1),
)
PANELS = 4
DENSE = ("dense efficiency", "padding and alignment")  # one cause: what the best dense layer leaves unused
WORDS = {
    "FFF arithmetic": "a chain of dot products, not one matrix product",
    "cold caches": "weights come from memory, not from cache",
    "many paths": "every token takes a path of its own",
}


@dataclass(frozen=True)
class Bar:
    """One cause in plain words: what it multiplies the speed-up by, its interval where one is known."""

    words: str
    value: float | None
    low: float | None = None
    high: float | None = None
    records: tuple[str, ...] = ()

    @property
    def factor(self) -> str:
        """``÷ 2.9``; empty where it was not measured."""
        if self.value is None:
            return ""
        sign, value = (TIMES, self.value) if self.value >= 1 else ("÷", 1 / self.value)
        return f"{sign} {number(value)}"

    @property
    def written(self) -> str:
        """``÷ 2.9 weights come from memory``, or that it was not measured."""
        return f"{self.words}: not measured" if self.value is None else f"{self.factor}  {self.words}"


def bars(item: Attribution) -> list[Bar]:
    """The factors of ``item`` as a reader meets them: the two of the dense side are one cause."""
    by = {factor.name: factor for factor in item.factors}
    dense = [by[name].value for name in DENSE if name in by]
    known = [value for value in dense if value is not None]
    product = math.prod(known) if len(known) == len(dense) else None
    words = "the best dense layer is below its own peak" if (product or 1) >= 1 else "the dense layer beats the peak"
    records = dict.fromkeys(record for name in DENSE if name in by for record in by[name].records)
    found = [Bar(words, product, records=tuple(records))]
    return found + [_bar(factor) for factor in item.factors if factor.name not in DENSE]


def _bar(factor: Factor) -> Bar:
    return Bar(WORDS.get(factor.name, factor.name), factor.value, factor.low, factor.high, factor.records)


def chosen(analysis: Analysis) -> list[Attribution]:
    """The four attributions: of each kind the one with the most causes measured, on the first device among equals."""
    order = {device.place: index for index, device in enumerate(sorted(analysis.shown, key=lambda one: one.older))}
    shapes = {record.id: record.cell.workload.shape for record in analysis.results.records}
    main = {row.record for row in analysis.shown_rows if row.main and row.family == "fff"}
    found: list[Attribution] = []
    for host, dtype, batch in KINDS:
        fitting = [
            item
            for item in analysis.attributions
            if (item.device == HOST, item.dtype, item.batch) == (host, dtype, batch)
            and (item.machine, item.device) in order
            and (shape := shapes[item.record]).is_tree
            and (shape.d, shape.trees, shape.levels, shape.leaf_width) == PUBLISHED_SHAPE
        ]
        used = {(item.machine, item.dtype) for item in found}
        fitting.sort(
            key=lambda item: (
                -item.measured,
                item.record not in main,
                (item.machine, item.dtype) in used,
                order[item.machine, item.device],
                -item.threads,
                item.implementation,
            )
        )
        found += fitting[:1]
    whole = [item for item in found if item.measured == len(item.factors)]
    return (whole or found)[:PANELS]


def waterfalls(analysis: Analysis, served: Served, cards: Cards | None = None) -> Figure | None:
    """The chart of the four, whose bars have ``cards``; None where nothing can be explained."""
    items = chosen(analysis)
    if not items:
        return None
    names = [f"{_short(analysis, item)}, {item.dtype}, batch {item.batch}" for item in items]
    missing = sorted({bar.words for item in items for bar in bars(item) if bar.value is None})
    lacking = f" Not measured everywhere: {'; '.join(missing)}." if missing else ""
    said: list[Said] = []
    return Figure(
        "why",
        "From the count of operations to what was measured",
        "From top to bottom: the count, what each cause divides (orange) or multiplies (green) it by, and the measured "
        "speed-up at the same thread count on both sides (blue). Each cause has measurements of its own; whiskers are "
        f"95 % intervals.{lacking}{_small_batch(analysis, served)}",
        _draw(items, names, cards, said, narrow=False),
        _draw(items, names, cards, [], narrow=True),
        tuple(said),
    )


def _small_batch(analysis: Analysis, served: Served) -> str:
    """Why one token gains so little on an accelerator: both sides' times, and how much of it their bounds explain."""
    for device in analysis.shown:
        row = served.get(device.place, {}).get(1)
        if row is None or device.device == HOST or row.time is None or row.baseline_time is None:
            continue
        dense = analysis.shares.get(row.baseline_record or "")
        if dense is None or row.roofline_share is None:
            continue
        return (
            f" One token on {device.short} ({row.dtype}): the dense layer takes {seconds(row.baseline_time)}, "
            f"{percent(dense)} of it explained by reading its weights; FFF takes {seconds(row.time)}, "
            f"{percent(row.roofline_share)} of it by reading its {row.trees * row.levels} rows: the rest is "
            "launching a kernel, and reads that wait for one another."
        )
    return ""


def _short(analysis: Analysis, item: Attribution) -> str:
    return next(device.short for device in analysis.shown if device.place == (item.machine, item.device))


def _draw(
    items: Sequence[Attribution], names: Sequence[str], cards: Cards | None, said: list[Said], *, narrow: bool
) -> Markup:
    columns = 1 if narrow else min(2, len(items))
    rows = math.ceil(len(items) / columns)
    with mpl.rc_context(STYLE):
        figure, drawn = drawing.new(4.7 if narrow else 5.2 * columns, 3.1 * rows, rows, columns)
        for axes in drawn[len(items) :]:
            axes.remove()
        for axes, item, name in zip(drawn, items, names, strict=False):
            _panel(axes, item, name, cards, said)
        return drawing.to_svg(figure, f"why-{'narrow' if narrow else 'wide'}", [one.text for one in said])


def _panel(axes: Axes, item: Attribution, name: str, cards: Cards | None, said: list[Said]) -> None:
    level, lowest, highest = item.ceiling, min(1.0, item.speedup), item.ceiling
    steps: list[tuple[str, float, float, str, tuple[float, float] | None, Link]] = [
        (f"{number(item.ceiling)}x  counted", 1.0, item.ceiling, MUTED, None, Link(""))
    ]
    for bar in bars(item):
        if bar.value is None:
            steps.append((bar.written, level, level, MUTED, None, Link("")))
            continue
        after = level * bar.value
        spread = None if bar.low is None or bar.high is None else (level * bar.low, level * bar.high)
        to = cards.computed(bar.factor, f"{name}: {bar.words}", HOW, *bar.records) if cards else ""
        steps.append((bar.written, level, after, GOOD if bar.value >= 1 else BAD, spread, Link(bar.factor, to)))
        level = after
        lowest, highest = min(lowest, after), max(highest, after)
    spread = None if item.low is None or item.high is None else (item.low, item.high)
    value = ratio(item.speedup, item.low, item.high)
    to = cards.mark(value, item.record, item.baseline_record) if cards else ""
    steps.append((f"{number(item.speedup)}x  measured", 1.0, item.speedup, FFF, spread, Link(value, to)))
    axes.set_axisbelow(True)
    axes.set_xscale("log")
    axes.set_xlim(lowest / 1.6, highest * 1.6)
    for place, (text, left, right, colour, interval, link) in enumerate(steps):
        axes.barh(place, right - left, left=left, color=colour, height=0.38, url=link.to or None)
        if interval:
            axes.plot(interval, [place, place], color=INK, linewidth=1.1)
        beside: Any = {"xycoords": ("axes fraction", "data"), "va": "center", "fontsize": 8.5}
        axes.annotate(label(text), (0.0, place - 0.42), color=INK, **beside)
    axes.set_ylim(len(steps) - 0.6, -0.85)
    axes.set_yticks([])
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.axvline(1, color=MUTED, linewidth=0.8, zorder=0)
    log_ticks(axes.xaxis, times_label)
    axes.set_title(label(name))
    causes = "; ".join(" ".join(text.split()) for text, *_ in steps[1:-1])
    links = tuple(link for *_, link in steps if link.to)
    said.append(Said(f"{name}: {number(item.ceiling)}x counted; {causes}; {value} measured.", links))


def csv_table(items: Sequence[Attribution]) -> tuple[list[str], Iterator[dict[str, object]]]:
    """Columns and rows of ``CSV``: a cell a row, three columns a factor (empty where it was not measured)."""
    plain = [field.name for field in fields(Attribution) if field.name not in ("factors", "call")]
    named = dict.fromkeys(factor.name for item in items for factor in (*item.factors, item.call))
    columns = [*plain, *(f"{name}{end}" for name in named for end in ("", " low", " high"))]

    def rows() -> Iterator[dict[str, object]]:
        for item in items:
            row: dict[str, object] = {name: getattr(item, name) for name in plain}
            for factor in (*item.factors, item.call):
                row |= {factor.name: factor.value, f"{factor.name} low": factor.low, f"{factor.name} high": factor.high}
            yield row

    return columns, rows()
