"""How do rows become a CSV file that a spreadsheet opens and nothing in it runs?"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from fffbench.files import write_plain
from fffbench.text import plain

# A spreadsheet runs a cell that begins like this; text from a result file must not become a formula.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
PIECE = 2**22  # characters
_PLAIN = (float, int, type(None))  # what the csv module writes as it should be (None as an empty field)


def write_csv(path: Path, rows: Iterable[Mapping[str, object]], columns: Sequence[str], *, header: bool = True) -> None:
    """Write ``rows``, below a line of ``columns`` if it has a ``header``; what a row lacks is an empty field."""
    write_rows(path, (map(row.get, columns) for row in rows), columns, header=header)


def write_rows(path: Path, rows: Iterable[Iterable[object]], columns: Sequence[str], *, header: bool = True) -> None:
    """Write ``rows``, values in the order of ``columns``; None is an empty field, a list is joined by spaces.

    A file of all samples has more megabytes than all else together, so it is written a piece at a time.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if header:
        writer.writerow(columns)
    begun = False
    for values in rows:
        writer.writerow([value if type(value) in _PLAIN else _field(value) for value in values])
        if text.tell() > PIECE:
            write_plain(path, text.getvalue(), append=begun)
            begun = True
            text.seek(0)
            text.truncate()
    write_plain(path, text.getvalue(), append=begun)


def _field(value: object) -> object:
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return _text(value) if isinstance(value, str) else value


@lru_cache(maxsize=10_000)  # names of machines, runs, kernels and cells come again and again
def _text(value: str) -> str:
    text = plain(value)
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
