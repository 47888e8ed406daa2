"""How is a plan printed: a line for each layer and batch, and why the rest cannot run here?"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fffbench.cli import tables
from fffbench.units import duration

if TYPE_CHECKING:
    from fffbench.plan.workload import Cell, Shape
    from fffbench.runs.planning import Expected


@dataclass(frozen=True)
class Group:
    """The cells of one layer and batch on one device."""

    shape: Shape
    batch: int
    device: str
    cells: tuple[Cell, ...]
    seconds: float

    def values(self, axis: str) -> str:
        """The values on an axis of the workload, in their order."""
        return " ".join(dict.fromkeys(str(getattr(cell.workload, axis)) for cell in self.cells))


def show(plan: Expected, *, as_json: bool) -> None:
    """Print ``plan``: a table, or one JSON array of its cells."""
    if as_json:
        rows = [{"cell": cell.id, "seconds": seconds, "reason": None} for cell, seconds in plan.seconds.items()]
        rows += [{"cell": cell.id, "seconds": None, "reason": reason} for cell, reason in plan.skipped]
        print(json.dumps(rows, indent=1))
        return
    names = dict.fromkeys(cell.implementation for cell in plan.seconds)
    notes = [f"- {count} cells not here: {reason}" for reason, count in Counter(r for _, r in plan.skipped).items()]
    notes += [f"implementations: {', '.join(names)}"] if names else []
    learnt = f"; {plan.measured_before} of them by their own time in earlier results" if plan.measured_before else ""
    cells = sum(plan.seconds.values())
    takes = f"about {duration(plan.total)}"
    if plan.total < cells:  # the lines above add up to more: what the budget leaves out is measured last
        takes = f"about {duration(cells)}, of which the budget allows {duration(plan.total)}"
    notes.append(f"{len(plan.seconds)} cells, {plan.processes} processes each, {takes}{learnt}")
    tables.show([tables.Table("", _groups(plan))] if plan.seconds else [], _COLUMNS, notes)


def _groups(plan: Expected) -> Sequence[Group]:
    cells: dict[tuple[Shape, int, str], list[Cell]] = {}
    for cell in plan.seconds:
        work = cell.workload
        cells.setdefault((work.shape, work.batch, work.device), []).append(cell)
    return [
        Group(shape, batch, device, tuple(group), sum(plan.seconds[cell] for cell in group))
        for (shape, batch, device), group in cells.items()
    ]


_COLUMNS: list[tables.Column[Group]] = [
    tables.Column("layer", lambda group: group.shape.short),
    tables.Column("batch", lambda group: str(group.batch), right=True),
    tables.Column("device", lambda group: group.device, worth=60),
    tables.Column("types", lambda group: group.values("dtype"), worth=50),
    tables.Column("threads", lambda group: group.values("threads"), worth=40),
    tables.Column("cells", lambda group: str(len(group.cells)), right=True),
    tables.Column("about", lambda group: duration(group.seconds), right=True),
]
