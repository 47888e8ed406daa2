"""The small tables of the page: when FFF pays, what a model can gain, the machines side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fffbench.analysis.breakeven import BreakEven
from fffbench.analysis.ceilings import Ceiling
from fffbench.analysis.headline import DEPLOYED, PUBLISHED_BATCH, PUBLISHED_GAIN, fair, type_name
from fffbench.analysis.rows import Speedup
from fffbench.analysis.served import SERVED_UP_TO
from fffbench.devices import DEVICES, HOST
from fffbench.report.analysed import Analysis
from fffbench.report.cards import ARCHIVE, Cards
from fffbench.report.ceiling_table import rate
from fffbench.report.first import Served, amdahl
from fffbench.report.shown import Device
from fffbench.report.view import Cell, Link, Table
from fffbench.units import number, ratio

PUBLISHED_LAYER = "768 to 4095, 1x12"
FACTS = (
    ("Cores", ("cores",)),
    ("Instructions", ("instruction sets",)),
    ("Caches", ("caches",)),
    ("Memory", ("memory",)),
    ("Virtual", ("virtualised",)),
)
COUNT = 4095 / 12


def break_even(analysis: Analysis, cards: Cards) -> Table | None:
    """A row per device: from which batch and width on FFF is faster, and where 78x and 341x are first reached."""
    rows = []
    for device in analysis.shown:
        own = [item for item in analysis.crossings if (item.machine, item.device) == device.place]
        if not own:
            continue
        batch = _preferred([item for item in own if item.axis == "batch" and item.fixed == PUBLISHED_LAYER])
        width = _preferred([item for item in own if item.axis == "neurons"])
        here = [row for row in analysis.shown_rows if fair(row) and (row.machine, row.device) == device.place]
        best = max(here, key=lambda row: row.speedup or 0)
        value = ratio(best.speedup or 0, best.low, best.high)
        key = cards.link(value, best.record, best.baseline_record)
        curve = Curve(device.name, {row.record or "": row for row in here}, cards)
        where = f"width {best.n}, batch {best.batch}, {type_name(best.dtype)}"
        rows.append(
            (
                Cell(device.name),
                _from(next((item for item in batch if item.target == 1), None), curve),
                _from(next((item for item in width if item.target == 1), None), curve),
                _reached(own, 78, curve),
                _reached(own, 341, curve),
                Cell(f"{number(best.speedup or 0)}x", where, key),
            )
        )
    if not rows:
        return None
    head = ("Device", "Faster from batch", "Faster from width", "78x from", "341x from", "Largest")
    return Table(
        "break-even-table",
        head,
        (False, True, True, True, True, True),
        tuple(rows),
        "breakeven.csv",
        "Over the best dense layer, cold caches. From batch: the published layer. From width: one tree, at the batch "
        "under the figure. Between two measured places a crossing is interpolated, beyond the last nothing is.",
    )


def _preferred(items: Sequence[BreakEven]) -> list[BreakEven]:
    """Those of the curve in a deployed type if there is one, else in strict fp32; at the published batch if there."""
    ranked = sorted(
        items,
        key=lambda item: (
            item.dtype not in DEPLOYED,
            not item.fixed.endswith(f"batch {PUBLISHED_BATCH}"),
            item.fixed,
            item.dtype,
        ),
    )
    return [item for item in ranked if (item.fixed, item.dtype) == (ranked[0].fixed, ranked[0].dtype)]


@dataclass(frozen=True)
class Curve:
    """The points of a device's curves, by record, from which crossings were read off."""

    device: str
    points: Mapping[str, Speedup]
    cards: Cards

    def link(self, item: BreakEven, value: str) -> str:
        """The card of the place ``value`` where the curve of ``item`` first reaches its target."""
        rows = [self.points[name] for name in item.records if name in self.points]
        beyond = next((index for index, row in enumerate(rows) if (row.speedup or 0) >= item.target), None)
        if beyond is None:
            return ""
        parts = []
        for row in rows[max(0, beyond - 1) : beyond + 1]:
            gain = ratio(row.speedup or 0, row.low, row.high)
            place = f"{item.axis} {row.batch if item.axis == 'batch' else row.n}: {gain}"
            parts.append(Link(place, self.cards.link(gain, row.record, row.baseline_record)))
        how = (
            f"Where the speed-up first reaches {item.target:g}x, interpolated on logarithmic axes between the measured "
            "places on both sides of it."
            if item.interpolated
            else f"The first place of the curve, which is above {item.target:g}x already; nothing smaller was measured."
        )
        what = f"{item.target:g}x over the {item.axis}, {item.fixed}, {type_name(item.dtype)}, {self.device}"
        return self.cards.derived(value, what, how, parts)


def _from(item: BreakEven | None, curve: Curve) -> Cell:
    if item is None:
        return Cell("not measured", words=True)
    where = item.fixed.rpartition(", ")[2] if item.axis == "neurons" else ""
    small = ", ".join(filter(None, (type_name(item.dtype), where)))
    if item.first is None:
        return Cell(f"never up to {item.measured_to}", small, words=True)
    value = f"{'about ' * item.interpolated}{item.first:.0f}"
    key = curve.link(item, value)
    return Cell(value, small + ("" if item.interpolated else ", smallest measured"), key, quantity=key)


def _reached(items: Sequence[BreakEven], target: float, curve: Curve) -> Cell:
    """Where ``target`` is first reached: by the published layer along the batch, else along the width."""
    found = [item for item in items if item.target == target and item.first is not None]
    found = [item for item in found if item.axis == "neurons" or item.fixed == PUBLISHED_LAYER]
    if not found:
        return Cell("not reached", words=True)
    item = min(found, key=lambda item: (item.axis != "batch", item.dtype not in DEPLOYED, item.first or 0, item.fixed))
    small = type_name(item.dtype)
    value = f"{'batch' if item.axis == 'batch' else 'width'} {item.first:.0f}"
    where = "" if item.axis == "batch" else f", {item.fixed.rpartition(', ')[2]}"
    key = curve.link(item, value)
    return Cell(value, small + where, key, quantity=key)


def model(devices: Sequence[Device], served: Served, cards: Cards) -> Table | None:
    """What a whole model can gain at most from each measured layer, as long as no whole model is measured."""
    rows: list[tuple[Cell, ...]] = []
    for device in devices:
        by = served.get(device.place)
        if not by:
            continue
        small = [row for batch, row in by.items() if batch <= SERVED_UP_TO]
        at = by.get(PUBLISHED_BATCH)
        rows.append((Cell(device.name), *_pair(small, device, cards), *_pair([at] if at else [], device, cards)))
    if not rows:
        return None
    for name, gain in ((f"published {PUBLISHED_GAIN}x", PUBLISHED_GAIN), (f"the count, {number(COUNT)}x", COUNT)):
        blank = Cell("")
        rows.append((Cell(name), blank, blank, Cell(f"{number(gain)}x"), Cell(f"{number(amdahl(gain))}x")))
    head = (
        "Device",
        f"Layer, batch to {SERVED_UP_TO}",
        "Model at most",
        f"Layer, batch {PUBLISHED_BATCH}",
        "Model at most",
    )
    return Table(
        "model-bound",
        head,
        (False, True, True, True, True),
        tuple(rows),
        "speedup.csv",
        "Whole models are not measured yet. This is a bound, not a measurement: a model that spends two thirds of its "
        "time in feedforward layers (as the publications put it), with everything else as fast as before.",
    )


def _pair(rows: Sequence[Speedup], device: Device, cards: Cards) -> tuple[Cell, Cell]:
    """The layer's gains, and what they allow a model."""
    if not rows:
        return Cell("not measured", words=True), Cell("")
    parts = []
    for row in rows:
        value = ratio(row.speedup or 0, row.low, row.high)
        key = cards.link(value, row.record, row.baseline_record)
        parts.append(Link(f"batch {row.batch}, {type_name(row.dtype)}: {value}", key))
    gains = [row.speedup or 0 for row in rows]
    bounds = [amdahl(gain) for gain in gains]
    found = []
    for values, what, how in (
        (gains, "The layer over the best dense one", "The least and the largest of these:"),
        (bounds, "What a model gains at most", "1 / (1 - 2/3 + (2/3) / gain), of the least and the largest gain here:"),
    ):
        key = cards.derived(_spread(values), f"{what}, {device.name}", how, parts)
        found.append(Cell(_spread(values), link=key, quantity=key))
    return found[0], found[1]


def _spread(values: Sequence[float]) -> str:
    low, high = f"{number(min(values))}x", f"{number(max(values))}x"
    return low if low == high else f"{low} to {high}"


def machines(analysis: Analysis) -> Table | None:
    """The machines side by side: what they are, their measured ceilings, their runs."""
    names = sorted(analysis.machines)
    if not names:
        return None
    found = [analysis.results.machines[name] for name in names]
    rows = []
    models = [("GPU" if name != HOST else one.label, one.fact_names) for name, one in DEVICES.usable().items()]
    for title, keys in (*models, *FACTS):
        values = [next((machine.stable[key] for key in keys if machine.stable.get(key)), "") for machine in found]
        if any(values):
            rows.append((Cell(title), *(Cell(value or "none", words=True) for value in values)))
    used = {name: analysis.ceilings.used(name) for name in names}
    rows += [
        (Cell(ceiling[0].upper() + ceiling[1:]), *(_ceilings(ceiling, name, used[name]) for name in names))
        for ceiling in sorted({ceiling for by in used.values() for ceiling in by})
    ]
    runs = {name: [run for run in analysis.results.runs.values() if run.machine.id == name] for name in names}
    counted = {name: Counter(run.dirty for run in runs[name]) for name in names}
    rows.append((Cell("Runs"), *(Cell(_runs(counted[name]), words=True) for name in names)))
    days = {name: sorted(run.started[:10] for run in runs[name]) for name in names}
    rows.append((Cell("Measured"), *(Cell(f"{days[name][0]} to {days[name][-1]}", words=True) for name in names)))
    head = ("", *(analysis.names[name] for name in names))
    text = "The ceilings are the best of all runs, by most threads and on the GPU. Fingerprints and runs: all.html."
    return Table("machines-table", head, (False,) * len(head), tuple(rows), "machines.csv", text)


def _ceilings(name: str, machine: str, used: Mapping[str, Mapping[str, Ceiling]]) -> Cell:
    by = used.get(name, {})
    threads = max((int(key) for key in by if key != "0"), default=0)
    said = []
    if threads:
        said.append(f"CPU {rate(name, by[str(threads)].value)}")
    if "0" in by:
        said.append(f"GPU {rate(name, by['0'].value)}")
    return Cell("; ".join(said) or "not measured", link=f"{ARCHIVE}#machine-{machine}" if said else "", words=True)


def _runs(counted: Mapping[bool | None, int]) -> str:
    named = ((False, "of a clean commit"), (True, "with changes"), (None, "clean or changed unknown"))
    return ", ".join(f"{counted[state]} {text}" for state, text in named if counted.get(state))
