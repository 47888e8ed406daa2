"""How do rows become a CSV file that a spreadsheet opens and nothing in it runs?

Column by column, some rows at a time: a column has one type and few different texts, and most of the time that a file
of all samples takes is the writing of floats, which pydantic's serialiser does in a seventh of the time of ``repr``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from fffbench.files import write_plain
from fffbench.text import plain

# A spreadsheet runs a cell that begins like this; text from a result file must not become a formula.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
ROWS = 2000  # at a time
PIECE = 2**22  # characters that are written at once
_QUOTED = (",", '"', "\n", "\r")


def write_csv(path: Path, rows: Iterable[Mapping[str, object]], columns: Sequence[str], *, header: bool = True) -> None:
    """Write ``rows``, below a line of ``columns`` if it has a ``header``; what a row lacks is an empty field."""
    write_rows(path, (map(row.get, columns) for row in rows), columns, header=header)


def write_rows(path: Path, rows: Iterable[Iterable[object]], columns: Sequence[str], *, header: bool = True) -> None:
    """Write ``rows``, values in the order of ``columns``; None is an empty field, a list is joined by spaces."""
    rows = iter(rows)
    lines = chain.from_iterable(_lines(some) for some in iter(lambda: list(islice(rows, ROWS)), []))
    write_lines(path, chain([",".join(map(_quoted, columns))] if header else (), lines))


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write ``lines`` of finished fields, a piece at a time: all samples are more megabytes than all else together."""
    some: list[str] = []
    size, begun = 0, False
    for line in lines:
        some.append(line)
        size += len(line)
        if size > PIECE:
            write_plain(path, "\n".join([*some, ""]), append=begun)
            some, size, begun = [], 0, True
    write_plain(path, "\n".join([*some, ""]) if some else "", append=begun)


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


def text(value: str) -> str:
    """The field of a text: one line, no formula, in quotes where it must be."""
    return _text(value)


def _lines(rows: Sequence[Iterable[object]]) -> Iterator[str]:
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
    if kinds == {str}:
        return list(map(_text, values))
    if kinds == {int}:
        return list(map(str, values))
    return list(map(_field, values))


def _field(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list | tuple):
        return _quoted(" ".join(map(str, value)))
    return _quoted(repr(value) if type(value) is float else str(value))


@lru_cache(maxsize=10_000)  # names of machines, runs, kernels and cells come again and again
def _text(value: str) -> str:
    found = plain(value)
    return _quoted(f"'{found}" if found.startswith(FORMULA_STARTS) else found)


def _quoted(field: str) -> str:
    if any(sign in field for sign in _QUOTED):
        return '"' + field.replace('"', '""') + '"'
    return field
