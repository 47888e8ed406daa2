"""How do rows become a CSV file that a spreadsheet opens and nothing in it runs?

Column by column, some rows at a time: a column has one type and few different texts, and most of the time that a file
of all samples takes is the writing of floats, which pydantic's serialiser does in a seventh of the time of ``repr``.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from fffbench.files import write_plain
from fffbench.text import plain

# A spreadsheet runs a cell that begins like this; text from a result file must not become a formula.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
ROWS = 2000  # at a time
PIECE = 2**22  # characters that are written at once


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
    rows, begun = iter(rows), False
    while some := list(islice(rows, ROWS)):
        writer.writerows(zip(*map(_column, zip(*some, strict=True)), strict=True))
        if text.tell() > PIECE:
            write_plain(path, text.getvalue(), append=begun)
            begun = True
            text.seek(0)
            text.truncate()
    write_plain(path, text.getvalue(), append=begun)


def floats(values: Sequence[float]) -> list[str]:
    """``repr`` of each of ``values``: both write the shortest digits that give the number back.

    They differ in small ones, which JSON's writes as 0.00001 or 1e-6, and in those that are not finite.
    """
    if not values:
        return []
    data = to_json(values, inf_nan_mode="constants").decode()[1:-1]
    if "I" in data or "N" in data:
        return list(map(repr, values))
    return [text if value >= 1e-4 else _small(value, text) for value, text in zip(values, data.split(","), strict=True)]


def _small(value: float, text: str) -> str:
    if value >= 1e-5 or value <= 0:
        return repr(value)
    return f"{text[:-1]}0{text[-1]}" if text[-2] == "-" else text


def _column(values: Sequence[Any]) -> Sequence[object]:
    """The fields of one column, as the csv module takes them."""
    kinds = set(map(type, values))
    if kinds == {float}:
        return floats(values)
    if kinds == {float, type(None)}:
        known = iter(floats([value for value in values if value is not None]))
        return [None if value is None else next(known) for value in values]
    return values if kinds == {int} else list(map(_field, values))


def _field(value: object) -> object:
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return _text(value) if isinstance(value, str) else value


@lru_cache(maxsize=10_000)  # names of machines, runs, kernels and cells come again and again
def _text(value: str) -> str:
    text = plain(value)
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
