"""Where did the rest of the ceiling go? One bar per measured reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import matplotlib as mpl

from fffbench.analysis.attribution import Attribution, Factor
from fffbench.devices import threads_text
from fffbench.report import drawing
from fffbench.report.drawing import BAD, FFF, GOOD, INK, MUTED, STYLE, label, log_ticks, times_label
from fffbench.report.view import Figure
from fffbench.units import number, ratio

CSV = "attribution.csv"
TIMES = "×"  # noqa: RUF001 - the sign a reader expects


def written(factor: Factor) -> str:
    """``÷ 2.9 cold caches``, the same with a multiplication sign for a gain, or ``cold caches: not measured``."""
    if factor.value is None:
        return f"{factor.name}: not measured"
    sign, value = (TIMES, factor.value) if factor.value >= 1 else ("÷", 1 / factor.value)
    return f"{sign} {number(value)} {factor.name}"


def waterfall(item: Attribution, name: str, title: str) -> Figure:
    """From the ceiling to the measured speed-up, a bar for each factor, whiskers for its interval."""
    said = [f"Ceiling {number(item.ceiling)}x."]
    with mpl.rc_context(STYLE):
        figure, (axes,) = drawing.new(6.4, 3.3)
        names = [f"ceiling {number(item.ceiling)}x"]
        axes.barh(0, item.ceiling - 1, left=1, color=MUTED, height=0.55)
        level = item.ceiling
        for place, factor in enumerate(item.factors, start=1):
            names.append(written(factor))
            said.append(f"{written(factor)}.")
            if factor.value is None:
                continue
            after = level * factor.value
            axes.barh(place, after - level, left=level, color=GOOD if factor.value >= 1 else BAD, height=0.55)
            if factor.low is not None and factor.high is not None:
                axes.plot([level * factor.low, level * factor.high], [place, place], color=INK, linewidth=1.2)
            axes.plot([after, after], [place - 0.28, place + 1.28], color=MUTED, linewidth=0.7)
            level = after
        last = len(item.factors) + 1
        names.append(f"measured {number(item.speedup)}x")
        axes.barh(last, item.speedup - 1, left=1, color=FFF, height=0.55)
        if item.low is not None and item.high is not None:
            axes.plot([item.low, item.high], [last, last], color=INK, linewidth=1.2)
        axes.set_xscale("log")
        axes.set_xlim(left=1 if item.speedup > 1 else item.speedup / 2)
        axes.set_yticks(range(last + 1), names)
        axes.invert_yaxis()
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        log_ticks(axes.xaxis, times_label)
        axes.set_xlabel("times faster than the best dense layer (logarithmic)")
        axes.set_title(label(title))
        said.append(f"Measured {ratio(item.speedup, item.low, item.high)}.")
        svg = drawing.to_svg(figure, name, said)
    return Figure(name, "From the ceiling to what was measured", _how_to_read(item), svg)


def _how_to_read(item: Attribution) -> str:
    missing = [f"{factor.name} (needs {factor.missing})" for factor in item.factors if factor.value is None]
    threads = threads_text(item.device, item.threads, ", ", " on both sides")
    text = (
        f"{item.implementation}, {item.dtype}, batch {item.batch}{threads}, run {item.run}. Each bar is a factor with "
        "cells of its own, whiskers are its interval; a dense layer below its peak makes the speed-up larger."
    )
    if missing:
        return f"{text} Not measured: {', '.join(missing)}."
    rest = f" The factors leave a residual of {number(item.residual or 0)}."
    call = item.call
    if call.value is None:
        return f"{text}{rest} Through torch calls: not measured."
    return f"{text}{rest} Through torch calls instead of bare kernels: {written(call)}."


def csv_table(items: Sequence[Attribution]) -> tuple[list[str], list[dict[str, object]]]:
    """Columns and rows of ``CSV``: a cell a row, three columns a factor (empty where it was not measured)."""
    plain = [field.name for field in fields(Attribution) if field.name not in ("factors", "call")]
    columns = dict.fromkeys(plain)
    rows: list[dict[str, object]] = []
    for item in items:
        row: dict[str, object] = {name: getattr(item, name) for name in plain}
        for factor in (*item.factors, item.call):
            row |= {factor.name: factor.value, f"{factor.name} low": factor.low, f"{factor.name} high": factor.high}
        columns |= dict.fromkeys(row)
        rows.append(row)
    return list(columns), rows
