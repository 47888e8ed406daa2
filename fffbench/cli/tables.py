"""How is a table printed: on a terminal of any width, as Markdown, as CSV?

A table names its columns in the order of their worth. What all rows have in common is said once, in the title. Where a
terminal is too narrow, the columns of the least worth are left out and named below; nothing is cut or wrapped in
mid-word, and a number never stands outside the frame.
"""

from __future__ import annotations

import csv
import os
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from io import StringIO
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from fffbench.analysis import thin
from fffbench.text import markdown, plain
from fffbench.units import number, ratio

if TYPE_CHECKING:
    from rich.console import Console

Row = TypeVar("Row")
WITHOUT_TERMINAL = 120  # columns, where standard output is no terminal and COLUMNS says nothing
NARROWEST, WIDEST = 40, 1000
GAP = 2  # spaces between two columns
LEAST_WRAPPED = 14  # columns of a cell that wraps
PROVISIONAL = f"* {thin.PROVISIONAL}; --csv says which"


@dataclass(frozen=True)
class Column(Generic[Row]):
    """One column: what it says of a row, and on which side it is aligned.

    ``worth``: of columns that do not all fit those of the least are left out. ``common``: said once in the title, with
    its own title before it, where all rows of a table say the same. ``wraps``: the last column only, of sentences.
    """

    title: str
    of: Callable[[Row], str]
    right: bool = False
    worth: int = 100
    common: bool = False
    spelt_out: str = ""  # the title where it is said in a sentence, if the column's own is an abbreviation
    wraps: bool = False


@dataclass(frozen=True)
class Table(Generic[Row]):
    """Rows under one title, and the sentences below them."""

    title: str
    rows: Sequence[Row]
    notes: Sequence[str] = field(default=())


def gain(value: float | None, low: float | None, high: float | None, *, provisional: bool) -> str:
    """``149x [138, 151]*``; without an interval where one process has none; ``-`` where there is no ratio."""
    if value is None:
        return "-"
    text = f"{number(value)}x" if low is None or high is None else ratio(value, low, high)
    return text + ("*" if provisional else "")


def width_of_output() -> int:
    """Columns of the terminal, of ``COLUMNS``, or ``WITHOUT_TERMINAL``."""
    said = os.environ.get("COLUMNS", "")
    if said.isdecimal() and len(said) < 6 and int(said):
        found = int(said)
    else:
        try:
            found = os.get_terminal_size(sys.stdout.fileno()).columns
        except (OSError, ValueError, AttributeError):  # no terminal; no descriptor behind it; none at all
            found = 0
    return min(WIDEST, max(NARROWEST, found or WITHOUT_TERMINAL))


def lines(table: Table[Row], columns: Sequence[Column[Row]], width: int) -> str:
    """``table`` as text of at most ``width`` columns."""
    from rich.console import Console

    out = StringIO()
    _print(Console(file=out, width=width, color_system=None, emoji=False), table, columns, width)
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def show(tables: Iterable[Table[Row]], columns: Sequence[Column[Row]], notes: Sequence[str] = ()) -> None:
    """Print ``tables`` and the sentences below them all; through a pager where standard output is a terminal."""
    width = width_of_output()
    if not sys.stdout.isatty():
        for table in tables:
            print(lines(table, columns, width))
        for note in notes:
            print(textwrap.fill(plain(note), width))
        return
    from rich.console import Console

    os.environ.setdefault("LESS", "FRX")  # as git does: less ends by itself where all fits, and keeps colours
    console = Console(width=width, emoji=False)
    with console.pager(styles=True):
        for table in tables:
            _print(console, table, columns, width)
            console.print()
        for note in notes:
            console.print(plain(note), markup=False, highlight=False)


def on_stderr(table: Table[Row], columns: Sequence[Column[Row]]) -> None:
    """Print ``table`` where a command's messages go, and not its result."""
    print(lines(table, columns, width_of_output()), end="", file=sys.stderr, flush=True)


def as_markdown(tables: Iterable[Table[Row]], columns: Sequence[Column[Row]]) -> str:
    """``tables`` for a page or a comment on a pull request."""
    said = []
    for table in tables:
        kept, title = _common(table, columns)
        rows = [[markdown(column.of(row)) for column in kept] for row in table.rows]
        said += [f"**{markdown(title)}**", ""] if title else []
        said += [_bar(markdown(column.title) for column in kept)]
        said += [_bar("--:" if column.right else ":--" for column in kept)]
        said += [*map(_bar, rows), ""]
        said += [f"{markdown(note)}\n" for note in table.notes]
    return "\n".join(said)


def as_csv(rows: Iterable[dict[str, Any]]) -> str:
    """``rows`` with a header; empty where there are none."""
    rows = list(rows)
    out = StringIO()
    if rows:
        writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)
    return out.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, list | tuple):
        value = " ".join(map(str, value))
    return plain(value) if isinstance(value, str) else value


def _bar(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _common(table: Table[Row], columns: Sequence[Column[Row]]) -> tuple[list[Column[Row]], str]:
    """The columns that remain, and the title with what all rows have in common."""
    said = {id(column): {column.of(row) for row in table.rows} for column in columns if column.common}
    alike = [column for column in columns if len(said.get(id(column), ())) == 1]
    kept = [column for column in columns if column not in alike and (not column.common or said[id(column)] - {""})]
    facts = [
        f"{column.spelt_out or column.title} {next(iter(said[id(column)]))}"
        for column in alike
        if said[id(column)] != {""}
    ]
    return kept, ": ".join(filter(None, (table.title, ", ".join(facts))))


def _fitting(cells: dict[int, list[str]], columns: Sequence[Column[Row]], width: int) -> list[int]:
    """The places of the columns that fit into ``width``."""
    kept = list(range(len(columns)))
    while len(kept) > 1:
        needed = sum(_least(columns[place], cells[place]) for place in kept) + GAP * (len(kept) - 1)
        if needed <= width:
            break
        kept.remove(min(reversed(kept), key=lambda place: columns[place].worth))
    return kept


def _least(column: Column[Row], cells: Sequence[str]) -> int:
    """Columns of the terminal that it needs."""
    longest = max((len(cell) for cell in cells), default=0)
    return max(len(column.title), min(longest, LEAST_WRAPPED) if column.wraps else longest)


def _print(console: Console, table: Table[Row], columns: Sequence[Column[Row]], width: int) -> None:
    from rich.table import Table as Grid
    from rich.text import Text

    kept, title = _common(table, columns)
    cells = {place: [plain(column.of(row)) for row in table.rows] for place, column in enumerate(kept)}
    places = _fitting(cells, kept, width)
    if title:
        console.print(Text(plain(title), "bold"))
    grid = Grid(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="dim")
    for place in places:
        column = kept[place]
        grid.add_column(
            Text(column.title),
            justify="right" if column.right else "left",
            no_wrap=not column.wraps,
            overflow="fold" if column.wraps else "ellipsis",
        )
    for row in zip(*(cells[place] for place in places), strict=True):
        grid.add_row(*map(Text, row))
    if table.rows:
        console.print(grid)
    left_out = [column.title for place, column in enumerate(kept) if place not in places]
    for note in [*table.notes, *([f"too narrow for: {', '.join(left_out)}"] if left_out else [])]:
        console.print(Text(plain(note), "dim"))
