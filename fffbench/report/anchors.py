"""Where on the page is a record, and which quantity does a number stand for?"""

from __future__ import annotations

from collections.abc import Iterable

from fffbench.results.record import Record


class Anchors(dict[str, str]):
    """The anchor of each record's samples by record id; and the name of a cell's time or of a pair's ratio."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        """Number records and cells in their order."""
        super().__init__()
        self._cells: dict[str, str] = {}
        cells: dict[tuple[str, str], str] = {}
        for index, record in enumerate(records):
            self[record.id] = f"s{index}"
            self._cells[record.id] = cells.setdefault((record.machine, record.cell.id), f"c{len(cells)}")

    def quantity(self, *records: str | None) -> str:
        """``c12`` for the time of a record's cell, ``c12/c3`` for a ratio of two; the same cells give the same name.

        A page shows one value under one name, which a test reads off the rendered page.
        """
        known = [self._cells.get(record or "") for record in records]
        return "/".join(filter(None, known)) if all(known) else ""
