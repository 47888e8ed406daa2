"""How far from the machine's limits is each kernel, by name?

A row is an implementation, a mark a device: the least time that the machine allows for the work over the time
measured. It is the roofline read off in one number, which a plot of time against bound gives only to a ruler.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from markupsafe import Markup

from fffbench.analysis.evidence import one_record_per_cell
from fffbench.analysis.headline import PUBLISHED_BATCH, PUBLISHED_SHAPE
from fffbench.analysis.roofline import share_of
from fffbench.plan.workload import FAULTY
from fffbench.report import drawing
from fffbench.report.analysed import Analysis
from fffbench.report.cards import Cards
from fffbench.report.drawing import FAMILY, INK, MARKERS, MUTED, STYLE, label
from fffbench.report.shown import Device, Place
from fffbench.report.view import Figure, Link, Said
from fffbench.units import percent, seconds

PANELS = (("bf16", PUBLISHED_BATCH), ("fp32", PUBLISHED_BATCH), ("bf16", 1))
ORDER = ("fff", "cmm", "dense")
MOST = 26  # implementations drawn: those nearest to their bound anywhere
HOW = "The least time that the machine allows for the work, {least}, over the time measured:"
Marks = dict[str, dict[Place, tuple[float, str]]]  # share of the bound, and the record, by implementation and place


def roofline(analysis: Analysis, cards: Cards | None = None) -> Figure | None:
    """Share of the bound by kernel, one panel per type and batch, a mark per device; ``cards`` take what each says."""
    shown = {device.place: device for device in analysis.shown}
    families: dict[str, str] = {}
    panels: dict[tuple[str, int], Marks] = {key: defaultdict(dict) for key in PANELS}
    calls = {(row.machine, row.device): row.call for row in analysis.shown_rows if row.main}
    for record in one_record_per_cell(analysis.results).records:
        work, protocol = record.cell.workload, record.cell.protocol
        place = (record.machine, work.device)
        shape = (work.shape.d, work.shape.trees, work.shape.levels, work.shape.leaf_width)
        key = (work.dtype, work.batch)
        fits = key in panels and place in shown and shape == PUBLISHED_SHAPE and work.routing == "uniform"
        if not fits or record.info.family in ("reference", FAULTY):
            continue
        if (protocol.cache, protocol.call) != ("cold", calls.get(place, "kernel")):
            continue
        share = share_of(record, analysis.ceilings)
        if share is None:
            continue
        name = record.cell.implementation
        families[name] = record.info.family
        mark = (share, record.id)
        panels[key][name][place] = max(mark, panels[key][name].get(place, mark))  # of several thread counts the best
    drawn = {key: marks for key, marks in panels.items() if marks}
    if not drawn:
        return None
    best = {name: max(mark[0] for m in drawn.values() for mark in m.get(name, {}).values()) for name in families}
    kept = sorted(families, key=lambda name: -best[name])[:MOST]
    kept.sort(key=lambda name: (ORDER.index(families[name]) if families[name] in ORDER else 9, -best[name]))
    left = len(families) - len(kept)
    more = f" {left} kernels further from their bound are in cells.csv." if left else ""
    addresses = _addresses(analysis, cards, drawn) if cards else {}
    said: list[Said] = []
    return Figure(
        "roofline",
        "Share of what the machine allows, by kernel",
        "The least time for the work (necessary bytes over bandwidth, or operations over the arithmetic peak, "
        "whichever is larger) over the time measured; 100 % cannot be beaten. FFF and dense each have the bound of "
        f"their own work: a low share of a small bound is still fast. Published layer, cold caches.{more}",
        _draw(drawn, kept, families, shown, addresses, said, narrow=False),
        _draw(drawn, kept, families, shown, addresses, [], narrow=True),
        tuple(said),
    )


def _addresses(analysis: Analysis, cards: Cards, panels: Mapping[tuple[str, int], Marks]) -> dict[str, str]:
    """Where the card of each mark is, by its record."""
    found = {}
    for (dtype, batch), marks in panels.items():
        for name, by in marks.items():
            for place, (share, record) in by.items():
                least = seconds(share * analysis.times[record].value)
                what = f"{name}, {analysis.places[place]}, {dtype}, batch {batch}: share of what the machine allows"
                found[record] = cards.computed(percent(share), what, HOW.format(least=least), record)
    return found


def _draw(
    panels: Mapping[tuple[str, int], Marks],
    names: Sequence[str],
    families: Mapping[str, str],
    shown: Mapping[Place, Device],
    addresses: Mapping[str, str],
    said: list[Said],
    *,
    narrow: bool,
) -> Markup:
    rows = {key: [name for name in names if narrow is False or marks.get(name)] for key, marks in panels.items()}
    with mpl.rc_context(STYLE):
        if narrow:
            height = sum(0.9 + 0.2 * len(of) for of in rows.values()) + 0.2 * len(shown)
            figure, drawn = drawing.new(4.7, height, len(panels), 1)
            for axes, of in zip(drawn, rows.values(), strict=True):
                axes.get_subplotspec().get_gridspec().set_height_ratios([0.9 + 0.2 * len(o) for o in rows.values()])  # type: ignore[union-attr]
                axes.set_ylim(len(of) - 0.4, -0.6)
        else:
            figure, drawn = drawing.new(10.4, 1.2 + 0.19 * len(names), 1, len(panels))
        for index, (axes, ((dtype, batch), marks)) in enumerate(zip(drawn, panels.items(), strict=True)):
            of = rows[dtype, batch]
            for height, name in enumerate(of):
                for place, (share, record) in marks.get(name, {}).items():
                    marker = MARKERS[list(shown).index(place) % len(MARKERS)]
                    style: Any = {"color": FAMILY[families[name]], "markersize": 5, "markeredgewidth": 0}
                    axes.plot(100 * share, height, marker, url=addresses.get(record) or None, **style)
                if marks.get(name):
                    each = ", ".join(f"{shown[p].short} {percent(s)}" for p, (s, _) in marks[name].items())
                    links = tuple(Link(percent(s), addresses.get(record, "")) for s, record in marks[name].values())
                    said.append(Said(f"{dtype}, batch {batch}, {name}: {each}.", links))
            axes.set_xlim(-3, 104)
            axes.set_ylim(len(of) - 0.4, -0.6)
            axes.set_xticks([0, 25, 50, 75, 100], ["0", "25", "50", "75", "100 %"])
            axes.set_yticks(range(len(of)), [label(n) for n in of] if narrow or not index else [""] * len(of))
            axes.tick_params(axis="y", length=0, labelsize=8)
            axes.axvline(100, color=MUTED, linewidth=1)
            axes.set_title(f"{dtype}, batch {batch}")
        seen = [place for place in shown if any(place in of for marks in panels.values() for of in marks.values())]
        handles = [
            mpl.lines.Line2D([], [], color=MUTED, marker=MARKERS[list(shown).index(place) % len(MARKERS)],
                             linestyle="none", markersize=5, label=shown[place].short)
            for place in seen
        ]  # fmt: skip
        columns = 2 if narrow else len(handles)
        figure.legend(
            handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=8, labelcolor=INK
        )
        return drawing.to_svg(figure, f"roofline-{'narrow' if narrow else 'wide'}", [one.text for one in said])
