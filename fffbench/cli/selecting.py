"""Which rows does a reading command show? One set of options for all of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, TypeVar

import typer

from fffbench.cli import tables
from fffbench.errors import UserError, one_of
from fffbench.plan import options

Row = TypeVar("Row")

Machine = Annotated[str | None, typer.Option("--machine", help="comma-separated ids, or parts of ids")]
Device = Annotated[str | None, typer.Option("--device", help="comma-separated: cpu, cuda")]
Dtype = Annotated[str | None, typer.Option("--dtype", help="comma-separated: fp32, tf32, bf16, fp16")]
Batch = Annotated[str | None, typer.Option("--batch", help="comma-separated")]
Implementation = Annotated[str | None, typer.Option("--impl", help="comma-separated implementations")]
Threads = Annotated[
    str | None,
    typer.Option("--threads", help="comma-separated counts, the same on both sides; fastest: each side at its own"),
]
Sort = Annotated[str | None, typer.Option("--sort", help="a column's name; -name for the largest first")]
Markdown = Annotated[bool, typer.Option("--markdown", help="print Markdown")]
Csv = Annotated[bool, typer.Option("--csv", help="print CSV with every field of the chosen rows")]

FASTEST = "fastest"


def machines(text: str | None, known: Iterable[str]) -> set[str] | None:
    """The machines whose id is, or contains, one of the words; None where all are wanted."""
    if text is None:
        return None
    known = sorted(set(known))
    found: set[str] = set()
    for word in options.words("--machine", text):
        meant = {word} if word in known else {name for name in known if word in name}
        if not meant:
            raise one_of("machine", word, known)
        found |= meant
    return found


def names(what: str, option: str, text: str | None, known: Iterable[str]) -> set[str] | None:
    """The words of a list, each of which must be ``known``; None where none was given."""
    if text is None:
        return None
    known = sorted(set(known))
    found = options.words(option, text)
    for word in found:
        if word not in known:
            raise one_of(what, word, known)
    return set(found)


def threads(text: str | None) -> set[int] | None:
    """The counts asked for; None where each side's fastest count is."""
    if text is None or text.strip() == FASTEST:
        return None
    return {int(value) for value in options.numbers("--threads", text, 1, options.MAX_THREADS)}


def on_axes(device: str | None, dtype: str | None, batch: str | None) -> Callable[[object, object, object], bool]:
    """Whether a row's device, type and batch are among those asked for."""
    axes = options.chosen(device=device, dtype=dtype)
    batches = set(options.numbers("--batch", batch, 0, options.MAX_BATCH)) if batch is not None else None
    wanted = (set(axes.devices) or None, set(axes.dtypes) or None, batches)
    return lambda *values: all(map(within, values, wanted))


def within(value: object, wanted: set[Any] | None) -> bool:
    """Whether ``value`` is wanted; every one is where nothing was asked."""
    return wanted is None or value in wanted


def ordered(rows: Sequence[Row], text: str | None, keys: dict[str, Callable[[Row], Any]]) -> list[Row]:
    """``rows`` by the key that ``text`` names, those without a value last; as they are where it names none."""
    if text is None:
        return list(rows)
    name, largest_first = text.removeprefix("-"), text.startswith("-")
    if name not in keys:
        raise one_of("--sort column", name, keys)
    key = keys[name]
    valued = [row for row in rows if key(row) is not None]
    return [*sorted(valued, key=key, reverse=largest_first), *(row for row in rows if key(row) is None)]


def one_form(*, as_json: bool, as_markdown: bool, as_csv: bool) -> None:
    """Refuse two forms at once."""
    if as_json + as_markdown + as_csv > 1:
        raise UserError("--json, --markdown and --csv: give one of them")


def print_rows(rows: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    """Print rows for a program: a JSON array, or CSV."""
    print(json.dumps(rows, indent=1) if as_json else tables.as_csv(rows), end="\n" if as_json else "")


def print_tables(
    found: Sequence[tables.Table[Row]],
    columns: Sequence[tables.Column[Row]],
    notes: Sequence[str],
    *,
    as_markdown: bool,
) -> None:
    """Print tables for a reader: Markdown, or as wide as the terminal is."""
    if as_markdown:
        print(tables.as_markdown(found, columns))
    else:
        tables.show(found, columns, notes)
