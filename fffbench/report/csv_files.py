"""How do rows become a CSV file that a spreadsheet opens and nothing in it runs?

Column by column, some rows at a time: a column has one type and few different texts, and most of the time that a file
of all samples takes is the writing of floats, which pydantic's serialiser does in a seventh of the time of ``repr``.
Of 500 machines there are 3 million rows, and the csv module takes half as long again for each as all of this.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import chain, islice
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from fffbench.files import write_plain
from fffbench.text import plain

# A spreadsheet runs a cell that begins like this; text from a result file must not become a formula.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_FORMULA_STARTS = frozenset(FORMULA_STARTS)
ROWS = 2000  # at a time
PIECE = 2**22  # characters that are written at once
_SPECIAL = re.compile(r'[,"\n\r]')  # what puts a field in quotes


def write_csv(path: Path, rows: Iterable[Mapping[str, object]], columns: Sequence[str], *, header: bool = True) -> None:
    """Write ``rows``, below a line of ``columns`` if it has a ``header``; what a row lacks is an empty field."""
    write_rows(path, (map(row.get, columns) for row in rows), columns, header=header)


def write_rows(path: Path, rows: Iterable[Iterable[object]], columns: Sequence[str], *, header: bool = True) -> None:
    """Write ``rows``, values in the order of ``columns``; None is an empty field, a list is joined by spaces.

    A file of all samples has more megabytes than all else together, so it is written a piece at a time.
    """
    rows = iter(rows)
    pieces = map(_lines, iter(lambda: list(islice(rows, ROWS)), []))
    write_lines(path, chain([[",".join(map(_quoted, columns))]] if header else (), pieces))


def write_lines(path: Path, pieces: Iterable[Iterable[str]]) -> None:
    """Write ``pieces``, lines of finished fields, some at a time."""
    some: list[str] = []
    size, begun = 0, False
    for lines in pieces:
        some.append("\n".join([*lines, ""]))
        size += len(some[-1])
        if size > PIECE:
            write_plain(path, "".join(some), append=begun)
            some, size, begun = [], 0, True
    write_plain(path, "".join(some), append=begun)


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
    """``repr`` of a ``value`` below 0.0001, from what JSON's writer makes of it: ``0.0000123`` or ``1.23e-6``."""
    if value >= 1e-5:
        digits = text[len("0.0000") :]
        return f"{digits[0]}.{digits[1:]}e-05" if len(digits) > 1 else f"{digits}e-05"
    if value <= 0:
        return repr(value)
    return f"{text[:-1]}0{text[-1]}" if text[-2] == "-" else text


def _lines(rows: Sequence[Iterable[object]]) -> Iterable[str]:
    columns = [_column(values) for values in zip(*rows, strict=True)]
    if len(columns) == 1:  # an empty field alone would be an empty line
        return (field or '""' for field in columns[0])
    return map(",".join, zip(*columns, strict=True))


def _column(values: Sequence[Any]) -> Sequence[str]:
    """The fields of one column."""
    kinds = set(map(type, values))
    if kinds == {float}:
        return floats(values)
    if kinds == {float, type(None)}:
        known = iter(floats([value for value in values if value is not None]))
        return ["" if value is None else next(known) for value in values]
    if kinds == {str} and _harmless(set(values)):
        return values
    if kinds in ({int}, {str}, {str, type(None)}):  # most columns, of few different values
        fields = {value: _field(value) for value in set(values)}
        return [fields[value] for value in values]
    return list(map(_field, values))


def _harmless(values: AbstractSet[str]) -> bool:
    """Whether all are fields as they are, as names of records are, which are thousands."""
    whole = "".join(values)
    return whole.isprintable() and not _SPECIAL.search(whole) and not {value[:1] for value in values} & _FORMULA_STARTS


def _field(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return text(" ".join(map(str, value)))
    return text(value) if isinstance(value, str) else _quoted(str(value))


def text(value: str) -> str:
    """The field of a text: one line, no formula, in quotes where it must be."""
    found = plain(value)
    return _quoted(f"'{found}" if found.startswith(FORMULA_STARTS) else found)


def _quoted(field: str) -> str:
    return '"' + field.replace('"', '""') + '"' if _SPECIAL.search(field) else field
