"""Where are a record's samples and a number's card? Names that say what was measured, so that a link stays good.

A name is a digest of what it stands for, never a counter: a new result moves none, and what a link in a paper means
does not change. A record's name holds its run; a quantity's holds the machine and the cells, whichever run speaks for
them today.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache

from fffbench.results.record import Record

DIGITS = 12  # of a digest: among a million names two are alike with a probability of 0.2 %


@lru_cache(maxsize=1 << 16)
def name_of(kind: str, *parts: str) -> str:
    """``r-1f3a...``: the same parts give the same name, on every machine and for ever."""
    return f"{kind}-{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:DIGITS]}"


class Anchors(dict[str, str]):
    """The anchor of each record's samples by record id; and the name of a cell's time or of a pair's ratio."""

    def __init__(self, records: Iterable[Record] = (), kind: str = "n") -> None:
        """Name ``records``; quantities of another ``kind`` (a reader's own runs) have names of their own."""
        super().__init__()
        self._kind = kind
        self._cells: dict[str, tuple[str, str]] = {}
        for record in records:
            self[record.id] = name_of("r", record.id)
            self._cells[record.id] = (record.machine, record.cell.id)

    def quantity(self, *records: str | None) -> str:
        """The name of a record's time or of a ratio of two; the same machine and cells give the same name.

        A page shows one value under one name, which a test reads off the rendered page.
        """
        known = [self._cells.get(record or "") for record in records]
        if not all(known):
            return ""
        return name_of(self._kind, *(part for cell in known if cell for part in cell))
