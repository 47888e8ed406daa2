"""How are lists, durations and thread counts written on the command line, and what is refused?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from fffbench.devices import DEVICES
from fffbench.errors import UserError, one_of
from fffbench.plan.matrix import Axes
from fffbench.plan.workload import CACHES, CALLS, DTYPES, ROUTINGS
from fffbench.problems import parse_problem

T = TypeVar("T")
MAX_BATCH = 2**20
LONGEST_PATH = 4096  # PATH_MAX of Linux
DEEPEST_PATH = 200  # making folders recurses once for each; the interpreter stops at 1000
MAX_THREADS = 2**16
MAX_VALUES = 1000  # of one list: more cells than a month can measure
MAX_DIGITS = 18  # Python refuses to convert thousands; no count here has twenty


def folder(option: str) -> Callable[[str], Path]:
    """A reader of the option's value as a path; an empty one would silently be the current folder."""

    def read(text: str) -> Path:
        if not str(text).strip():
            raise UserError(f"{option} is empty; name a folder or a file, . is the current folder")
        size, depth = len(str(text)), str(text).count("/")
        if size > LONGEST_PATH or depth > DEEPEST_PATH:
            raise UserError(
                f"{option} has {size} characters and {depth} slashes; {LONGEST_PATH} and {DEEPEST_PATH} are allowed"
            )
        return Path(text)

    return read


def finite(option: str) -> Callable[[float | None], float | None]:
    """A check that the option's value, if there is one, is a number; ``nan`` is outside no range."""

    def check(value: float | None) -> float | None:
        if value is not None and not math.isfinite(value):
            raise UserError(f"{option} {value}: must be a number")
        return value

    return check


def axes(
    *,
    implementations: str | None = None,
    shapes: str | None = None,
    d: str | None = None,
    batches: str | None = None,
    levels: str | None = None,
    trees: str | None = None,
    dtypes: str | None = None,
    routing: str | None = None,
    threads: str | None = None,
    devices: str | None = None,
    cache: str | None = None,
    call: str | None = None,
) -> Axes:
    """The axes a user gave as comma-separated lists."""
    return Axes(
        implementations=words("--implementations", implementations),
        shapes=_list("--shape", shapes, parse_problem),
        d=numbers("--d", d, 1, 2**20),
        batches=numbers("--batches", batches, 1, MAX_BATCH),
        levels=numbers("--levels", levels, 1, 24),
        trees=numbers("--trees", trees, 1, 2**20),
        dtypes=_closed("--dtypes", dtypes, DTYPES),
        routings=_closed("--routing", routing, ROUTINGS),
        threads=_list("--threads", threads, _thread),
        devices=_closed("--devices", devices, DEVICES),
        caches=_closed("--cache", cache, CACHES),
        calls=_closed("--call", call, CALLS),
    )


def chosen(*, batch: str | None = None, dtype: str | None = None, device: str | None = None) -> Axes:
    """The axes of a command that chooses among what there is: its options are named in the singular."""
    return Axes(
        batches=numbers("--batch", batch, 1, MAX_BATCH),
        dtypes=_closed("--dtype", dtype, DTYPES),
        devices=_closed("--device", device, DEVICES),
    )


def _list(option: str, text: str | None, read: Callable[[str], T]) -> tuple[T, ...]:
    if text is None:
        return ()
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise UserError(f"{option} {text!r}: write values separated by single commas")
    if len(parts) > MAX_VALUES:
        raise UserError(f"{option}: {len(parts)} values; at most {MAX_VALUES} are allowed")
    return tuple(dict.fromkeys(read(part) for part in parts))


def words(option: str, text: str | None) -> tuple[str, ...]:
    """The words of a comma-separated list, none where it was not given."""
    return _list(option, text, str)


def _closed(option: str, text: str | None, allowed: Iterable[str]) -> tuple[str, ...]:
    allowed = tuple(allowed)

    def read(part: str) -> str:
        if part not in allowed:
            raise one_of(f"{option} value", part, allowed)
        return part

    return _list(option, text, read)


def numbers(option: str, text: str | None, low: int, high: int) -> tuple[int, ...]:
    """The whole numbers of a comma-separated list, from ``low`` to ``high``; none where it was not given."""

    def read(part: str) -> int:
        value = _whole(part)
        if value is None or not low <= value <= high:
            raise UserError(f"{option} {part!r}: allowed are whole numbers from {low} to {high}")
        return value

    return _list(option, text, read)


def _whole(part: str) -> int | None:
    """The whole number ``part``, or None where it is none or has more digits than any count."""
    return int(part) if part.isascii() and part.isdigit() and len(part) <= MAX_DIGITS else None


def _thread(part: str) -> int | str:
    if part in ("all", "physical"):
        return part
    value = _whole(part)
    if value is None or not 1 <= value <= MAX_THREADS:
        raise UserError(f"--threads {part!r}: allowed are all, physical, or whole numbers from 1 to {MAX_THREADS}")
    return value
