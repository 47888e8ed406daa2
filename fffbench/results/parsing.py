"""What JSON value is in a file that nobody vouches for, and what would it cost to know?

A megabyte of brackets is a gigabyte of empty lists, so the cost is counted before anything is parsed. Parsing is
pydantic's, which needs no copy of the text, stops at 200 levels and refuses halves of surrogate pairs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from fffbench.files import read_plain, unpacked
from fffbench.text import plain

PACKED = ".gz"  # how files of the archive end
MAX_BYTES = 128 * 2**20  # the largest honest file at hand (5000 cells) has 60 MB
MAX_MEMORY = (
    512 * 10**6
)  # of the parsed value, by the estimate below: of an honest file 6 to 8 bytes for each of its own
# What CPython 3.11 allocates at most for what a character begins or ends: a list with room for four entries, a
# dictionary with its table, a key, any other value with its place in a list. Characters inside texts count as well.
COSTS = ((b"[", 120), (b"{", 260), (b":", 100), (b",", 60))
MAX_FIELD = 120  # characters of a field's name: its keys come from the file too


class FieldError(ValueError):
    """A value that cannot be used, at ``field``."""

    def __init__(self, field: str, reason: str) -> None:
        """Name the field and say why."""
        super().__init__(reason)
        self.field = field


def parse_json(path: Path, *, constants: bool = False) -> Any:
    """The JSON value in the plain file ``path``; ValueError with a reader's sentence when there is none.

    Where its name ends in ``.gz`` it is unpacked, to no more than is read of any file.

    ``constants`` lets the words NaN and Infinity pass, which JSON does not have and asv writes; else they are a
    ``FieldError``.
    """
    return parsed(json_bytes(path), constants=constants)


def json_bytes(path: Path) -> bytes:
    """What the plain file ``path`` holds, unpacked; ValueError where that is too much to be parsed."""
    data = read_plain(path, MAX_BYTES)
    if path.suffix == PACKED:
        data = unpacked(data, MAX_BYTES)
    if len(data) * max(each for _, each in COSTS) <= MAX_MEMORY:  # nearly always, and counting takes a while
        return data
    cost = sum(each * data.count(sign) for sign, each in COSTS)
    if cost > MAX_MEMORY:
        raise ValueError(
            f"parsing it could take {cost / 1e6:.0f} MB of memory; at most {MAX_MEMORY / 1e6:.0f} are used"
        )
    return data


def parsed(data: bytes, *, constants: bool = False) -> Any:
    """``parse_json`` of the bytes of a file."""
    try:
        value = from_json(data, allow_inf_nan=True)
    except ValueError as error:
        raise ValueError(_complaint(data, str(error))) from error
    if not constants and has_constants(data):
        for field, number in _not_finite(value):
            raise FieldError(field, f"{json.dumps(number)} is not a JSON number; a finite one must stand here")
    return value


def has_constants(data: bytes) -> bool:
    """Whether the words NaN and Infinity may stand there for numbers."""
    return b"NaN" in data or b"Infinity" in data


def _complaint(data: bytes, said: str) -> str:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return f"not UTF-8 text (byte {error.start})"
    if "recursion" in said:
        return "nested too deeply (200 levels are read)"
    if said.startswith(("EOF", "expected", "trailing")):
        return f"not complete JSON ({said})"
    return f"not valid JSON ({said})"


def _not_finite(value: Any) -> Iterator[tuple[str, float]]:
    """The places of infinities and NaNs that were written as words, or as numbers beyond all floats."""
    open_: list[tuple[str, Any]] = [("", value)]
    while open_:
        where, item = open_.pop()
        if isinstance(item, float) and not math.isfinite(item):
            yield where.lstrip("."), item
        elif isinstance(item, dict):
            open_ += [(f"{where}.{printable(key)}", child) for key, child in item.items() if _may_hold(child)]
        elif isinstance(item, list):
            open_ += [(f"{where}[{index}]", child) for index, child in enumerate(item) if _may_hold(child)]


def _may_hold(value: Any) -> bool:
    return isinstance(value, dict | list) or (isinstance(value, float) and not math.isfinite(value))


def why(error: ValidationError) -> tuple[str, str]:
    """Field and reason of the first complaint in ``error``."""
    first = error.errors(include_url=False, include_context=False)[0]
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
    given = first["input"]
    shown = "" if isinstance(given, dict | list) else f", not {short(given)}"
    return printable(where), f"{first['msg']}{shown}"


def short(value: object) -> str:
    """``value`` as a refusal may show it: printable and not long."""
    if isinstance(value, int) and abs(value) >= 10**20:  # thousands of digits cannot even be converted
        return f"a whole number of about {value.bit_length() * 3 // 10} digits"
    return printable(repr(value[:60] if isinstance(value, str) else value)[:80])


def printable(text: str) -> str:
    """``text`` cut to a field's length, without what cannot be printed."""
    return plain(text[:MAX_FIELD])
