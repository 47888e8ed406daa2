"""Where does a number come from? A card with both sides' samples, run, commit, raw file and the command for its cells.

Only numbers that stand on the page have one; asking for a number's link is what makes its card. A number that was
computed from others (a range, a crossing of a curve) has a card that says how, with links to theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path

from fffbench.analysis.evidence import one_record_per_cell
from fffbench.analysis.stats import time_of_medians
from fffbench.devices import threads_text
from fffbench.plan.workload import FAULTY, Cell
from fffbench.report.anchors import Anchors, name_of
from fffbench.report.raw import raw_files
from fffbench.report.samples import medians_text, strip
from fffbench.report.shown import Place
from fffbench.report.view import Card, Link, SideView
from fffbench.results.record import Record
from fffbench.results.store import Results
from fffbench.units import seconds

ARCHIVE = "all.html"
# Of a page on which notes of claims still ask for one. A card has 1.8 kB: eight devices with every claim would ask for
# 600, a megabyte of a page that is to have 1.5; the page of the committed results has 280.
MOST = 250
Cite = Callable[..., str]  # of a figure, the value with its interval, and the records it rests on
Mark = Callable[..., str]  # of a value and the records it rests on, the address of its card; empty if it has none


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


def unmarked(*_: object) -> str:
    """No address: a chart on its own has no cards."""
    return ""


def plain_figure(text: str, *_: str | None) -> str:
    """A figure of a text that links nowhere."""
    return text


class Cards:
    """The cards of the numbers that asked for one, in the order of asking."""

    def __init__(
        self,
        results: Results,
        anchors: Anchors,
        names: Mapping[Place, str],
        *,
        archived: bool = True,
        folder: Path | None = None,
    ) -> None:
        """Take the records that numbers rest on, those of all runs.

        ``archived`` if all.html has their samples; ``folder`` holds the raw files that a card links to.
        """
        self._archived, self._folder = archived, folder
        every = chain(results.records, one_record_per_cell(results).records)
        self._records = {record.id: record for record in every if record.id in anchors}
        self._results, self._anchors, self._names = results, anchors, names
        self._cards: dict[str, Card] = {}

    def link(self, value: str, record: str | None = None, baseline: str | None = None) -> str:
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

    def link_or_samples(self, value: str, record: str | None = None, baseline: str | None = None) -> str:
        """As ``link``; on a page that has its ``MOST`` cards a new number leads to its samples in the archive."""
        samples = self._anchors.get(record or "")
        known = self._anchors.quantity(*filter(None, (record, baseline))) in self._cards
        if samples and not known and self._archived and len(self._cards) >= MOST:
            return f"{ARCHIVE}#{samples}"
        return self.link(value, record, baseline)

    def derived(self, value: str, what: str, how: str, parts: Sequence[Link]) -> str:
        """The name of the card of a number that was computed from others: ``parts`` are those, with their cards.

        Empty where no part has a card: then nothing would say where the number comes from.
        """
        known = tuple(part for part in parts if part.to)
        if not known:
            return ""
        key = name_of("d", what, *(part.to for part in known))
        self.add(Card(key, value, what, how=how, parts=known))
        return key

    def mark(self, value: str, *records: str | None) -> str:
        """The address of the card of a mark in a chart: in the archive, which has the cards of all of them."""
        key = self.link(value, *records)
        return f"{ARCHIVE}#{key}" if key else ""

    def computed(self, value: str, what: str, how: str, *records: str) -> str:
        """The address of the card of a mark that was computed from the times of ``records``."""
        known = [self._records[name] for name in records if name in self._records]
        times = [(seconds(time_of_medians(record.medians).value), record) for record in known]
        parts = [
            Link(f"{time} {record.cell.id}, {self._names[record.machine, record.cell.workload.device]}", to)
            for time, record in times
            if (to := self.link(time, record.id))
        ]
        key = self.derived(value, what, how, parts)
        return f"{ARCHIVE}#{key}" if key else ""

    def add(self, card: Card) -> None:
        """Take in a card that was made elsewhere, once."""
        self._cards.setdefault(card.id, card)

    def citing(self, links: list[Link]) -> Cite:
        """What writes a figure into a text and its card's name into ``links``, in the order of writing."""

        def cite(text: str, value: str, *records: str | None) -> str:
            links.append(Link(text, self.link(value, *records)))
            return text

        return cite

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
            title=" over ".join(cell.implementation for cell in cells)
            + f", {self._names[sides[0].machine, work.device]}",
            protocol=f"{work.shape.id}, batch {work.batch}, {work.dtype}, {work.routing} routing, "
            f"{protocol.cache} caches, call {protocol.call}",
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
            processes=f"{count} process{'es' * (count != 1)}: {medians_text(record.info.processes)}",
            strip=strip(record.info.processes),
            run=", ".join(run.id for run in runs),
            date=run.started[:10],
            sources=run.sources,
            files=raw_files([path for run in runs for path in run.paths], self._folder),
            link=f"{ARCHIVE}#{self._anchors[record.id]}" if self._archived else "",
            machine=f"{ARCHIVE}#machine-{record.machine}" if self._archived else "",
        )
