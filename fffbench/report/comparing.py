"""What does the picker need to set one device, or one run, beside another? Compact JSON; the script does the rest."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from fffbench.analysis.headline import PUBLISHED_SHAPE, fair, shape_of
from fffbench.analysis.rows import Speedup
from fffbench.report.analysed import Analysis
from fffbench.report.cards import Mark, unmarked
from fffbench.units import ratio

DIGITS = 4  # significant, of a number in the data
MOST_CELLS = 3000  # of runs, the newest first: what keeps the page small


def data(analysis: Analysis, mark: Mark = unmarked) -> str:
    """Devices with their fair rows of the published layer, runs with their cells; ``</`` cannot end the script.

    A row has the address of its card, which ``mark`` gives; a cell the name of its samples in the archive.
    """
    shown = {device.place: index for index, device in enumerate(analysis.shown)}
    fields: dict[str, list[Speedup | None]] = {}
    for row in analysis.shown_rows:
        place = shown.get((row.machine, row.device))
        if place is None or not fair(row) or shape_of(row) != PUBLISHED_SHAPE:
            continue
        key = f"{row.dtype} {row.batch}"
        line = fields.setdefault(key, [None] * len(shown))
        known = line[place]
        if known is None or (row.time or 0) < (known.time or 0):
            line[place] = row
    order = sorted(fields, key=lambda key: (key.split()[0], int(key.split()[1])))
    runs, cells = _runs(analysis)
    value = {
        "devices": [device.name for device in analysis.shown],
        "rows": [[key, [_numbers(row, mark) for row in fields[key]]] for key in order],
        "runs": runs,
        "cells": cells,
    }
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _numbers(row: Speedup | None, mark: Mark) -> list[Any] | None:
    if row is None:
        return None
    value = ratio(row.speedup or 0, row.low, row.high)
    numbers = [_short(value) for value in (row.time, row.time_low, row.time_high, row.speedup)]
    return [*numbers, mark(value, row.record, row.baseline_record)]


def _short(value: float | None) -> float | None:
    if value is None:
        return None
    tie = f"{value:.{DIGITS - 1}e}".partition("e")[0].endswith("5")  # rounded once more, it may not be what a card says
    return float(f"{value:.{2 * DIGITS if tie else DIGITS}g}")


def _runs(analysis: Analysis) -> tuple[list[Any], list[str]]:
    """Of each run its name, machine and date and, by number of a cell, the time with its interval; newest first.

    A cell that one run of a machine has and no other can be set beside nothing, so it is left out.
    """
    results = analysis.results
    machines = analysis.machines
    own = [record for record in results.records if record.machine in machines]
    counted = Counter((record.machine, record.cell.id) for record in own)
    cells: dict[str, int] = {}
    by_run: dict[str, dict[int, list[Any]]] = {}
    left = MOST_CELLS
    for record in sorted(own, key=lambda record: (record.started, record.run), reverse=True):
        if counted[record.machine, record.cell.id] < 2 or left <= 0:
            continue
        left -= 1
        time = analysis.times[record.id]
        number = cells.setdefault(record.cell.id, len(cells))
        by_run.setdefault(record.run, {})[number] = [
            *map(_short, (time.value, time.low, time.high)),
            analysis.anchors[record.id],
        ]
    runs = [results.runs[name] for name in by_run]
    return [[run.id, analysis.names[run.machine.id], run.started[:10], by_run[run.id]] for run in runs], list(cells)
