"""How are lists, durations and thread counts written on the command line, and what is refused?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from fffbench.errors import UserError, one_of
from fffbench.plan.matrix import Axes
from fffbench.plan.workload import CACHES, CALLS, DEVICES, DTYPES, ROUTINGS

T = TypeVar("T")
MAX_BATCH = 2**20


def axes(
    *,
    implementations: str | None = None,
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
        implementations=_words("--implementations", implementations),
        d=_numbers("--d", d, 1, 2**20),
        batches=_numbers("--batches", batches, 0, MAX_BATCH),
        levels=_numbers("--levels", levels, 1, 24),
        trees=_numbers("--trees", trees, 1, 2**20),
        dtypes=_closed("--dtypes", dtypes, DTYPES),
        routings=_closed("--routing", routing, ROUTINGS),
        threads=_list("--threads", threads, _thread),
        devices=_closed("--devices", devices, DEVICES),
        caches=_closed("--cache", cache, CACHES),
        calls=_closed("--call", call, CALLS),
    )


def _list(option: str, text: str | None, read: Callable[[str], T]) -> tuple[T, ...]:
    if text is None:
        return ()
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise UserError(f"{option} {text!r}: write values separated by single commas")
    return tuple(dict.fromkeys(read(part) for part in parts))


def _words(option: str, text: str | None) -> tuple[str, ...]:
    return _list(option, text, str)


def _closed(option: str, text: str | None, allowed: Iterable[str]) -> tuple[str, ...]:
    allowed = tuple(allowed)

    def read(part: str) -> str:
        if part not in allowed:
            raise one_of(f"{option} value", part, allowed)
        return part

    return _list(option, text, read)


def _numbers(option: str, text: str | None, low: int, high: int) -> tuple[int, ...]:
    def read(part: str) -> int:
        if not part.isascii() or not part.isdigit() or not low <= int(part) <= high:
            raise UserError(f"{option} {part!r}: allowed are whole numbers from {low} to {high}")
        return int(part)

    return _list(option, text, read)


def _thread(part: str) -> int | str:
    if part == "all":
        return part
    if not part.isascii() or not part.isdigit() or int(part) < 1:
        raise UserError(f"--threads {part!r}: allowed are all, or whole numbers from 1")
    return int(part)
