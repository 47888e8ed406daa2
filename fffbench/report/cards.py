"""Where does a number come from? A card with both sides' samples, run, commit, raw file and the command for its cells.

Only numbers that stand on the page have one; asking for a number's link is what makes its card.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fffbench.analysis.evidence import one_record_per_cell
from fffbench.analysis.stats import time_of_medians
from fffbench.devices import threads_text
from fffbench.plan.workload import FAULTY, Cell
from fffbench.report.anchors import Anchors
from fffbench.report.samples import medians_text, strip
from fffbench.report.shown import Place
from fffbench.report.view import Card, SideView
from fffbench.results.record import Record
from fffbench.results.store import Results
from fffbench.units import seconds

ARCHIVE = "all.html"


def command_of(cells: Sequence[Cell]) -> str:
    """The command that measures just ``cells``, which differ in implementation and threads alone."""
    work, protocol = cells[0].workload, cells[0].protocol
    shape = next((cell.workload.shape for cell in cells if cell.workload.shape.is_tree), work.shape)
    axes: dict[str, Sequence[object]] = {
        "implementations": [cell.implementation for cell in cells],
        "batches": [cell.workload.batch for cell in cells],
        "dtypes": [cell.workload.dtype for cell in cells],
        "routing": [cell.workload.routing for cell in cells if cell.workload.shape.is_tree] or ["uniform"],
        "threads": [cell.workload.threads for cell in cells],
        "devices": [work.device],
        "cache": [cell.protocol.cache for cell in cells],
        "call": [protocol.call],
    }
    tree = {"d": [shape.d], "trees": [shape.trees], "levels": [shape.levels]}
    if any(cell.implementation.startswith(FAULTY) for cell in cells):
        preset = "--preset fidelity "
    elif shape.leaf_width:
        preset = "--preset leaf "
    elif not shape.is_tree or len({cell.workload.shape.n for cell in cells}) > 1:
        preset = "--preset paper "
    else:
        preset, axes = "", tree | axes
    return f"fffbench run {preset}" + " ".join(
        f"--{axis} {','.join(map(str, dict.fromkeys(values)))}" for axis, values in axes.items()
    )


class Cards:
    """The cards of the numbers that asked for one, in the order of asking."""

    def __init__(
        self,
        results: Results,
        anchors: Anchors,
        names: Mapping[Place, str],
        *,
        archived: bool = True,
    ) -> None:
        """Take the records that numbers rest on, those of all runs; ``archived`` if all.html has their samples."""
        self._archived = archived
        self._records = {record.id: record for record in (*results.records, *one_record_per_cell(results).records)}
        self._results, self._anchors, self._names = results, anchors, names
        self._cards: dict[str, Card] = {}

    def link(self, value: str, record: str | None, baseline: str | None = None) -> str:
        """The name of the card of a record's time, or of its ratio to ``baseline``, shown as ``value``.

        Empty where a record is unknown.
        """
        sides = [name for name in (record, baseline) if name]
        if not sides or any(name not in self._records for name in sides):
            return ""
        key = self._anchors.quantity(*sides)
        if key not in self._cards:
            self._cards[key] = self._card(key, value, [self._records[name] for name in sides])
        return key

    @property
    def all(self) -> tuple[Card, ...]:
        """Every card that was asked for."""
        return tuple(self._cards.values())

    def _card(self, key: str, value: str, sides: Sequence[Record]) -> Card:
        cells = [record.cell for record in sides]
        work, protocol = cells[0].workload, cells[0].protocol
        return Card(
            id=key,
            value=value,
            title=" over ".join(cell.implementation for cell in cells),
            protocol=f"{work.shape.id}, batch {work.batch}, {work.dtype}, {work.routing} routing, "
            f"{protocol.cache} caches, call {protocol.call}",
            place=self._names[sides[0].machine, work.device],
            sides=tuple(map(self._side, sides)),
            command=command_of(cells),
        )

    def _side(self, record: Record) -> SideView:
        work, runs = record.cell.workload, [self._results.runs[part.run] for part in record.parts or (record,)]
        run = runs[-1]
        threads = threads_text(work.device, work.threads)
        count = len(record.info.processes)
        return SideView(
            what=record.cell.implementation,
            threads=", ".join(filter(None, (work.dtype, threads))),
            time=seconds(time_of_medians(record.medians).value),
            processes=f"{count} process{'es' * (count != 1)}: {medians_text(record)}",
            strip=strip(record.info.processes),
            run=", ".join(run.id for run in runs),
            date=run.started[:10],
            sources=run.sources,
            path=", ".join(f"results/{path}" for run in runs for path in run.paths),
            link=f"{ARCHIVE}#{self._anchors[record.id]}" if self._archived else "",
            machine=f"{ARCHIVE}#machine-{record.machine}" if self._archived else "",
        )
