"""The command that sets two sets of results side by side: ``compare``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fffbench.cli import loading, selecting, tables
from fffbench.cli.shared import Json, ResultsDir, share
from fffbench.cli.speedup import layer
from fffbench.errors import UserError
from fffbench.units import percent, seconds

if TYPE_CHECKING:
    from fffbench.analysis.comparison import Compared
    from fffbench.results.store import Results


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="a folder of results, a result file, a run, or a machine")],
    b: Annotated[str, typer.Argument(metavar="B", help="the other one; above 1x it is the faster of the two")],
    results: ResultsDir = Path("results"),
    device: selecting.Device = None,
    dtype: selecting.Dtype = None,
    batch: selecting.Batch = None,
    impl: selecting.Implementation = None,
    margin: Annotated[float, share("--margin", 1, "differences up to this do not matter")] = 0.03,
    every: Annotated[bool, typer.Option("--all", help="every cache protocol, call and routing")] = False,
    sort: selecting.Sort = None,
    markdown: selecting.Markdown = False,
    as_csv: selecting.Csv = False,
    as_json: Json = False,
) -> None:
    """Compare two folders, files, runs or machines: how many times faster B is than A, with its interval and a verdict.

    Of one machine, equal cells are compared; of two, equal work with each side at its fastest number of threads.
    """
    from fffbench.analysis.comparison import compare as compare_results
    from fffbench.results.sides import side

    selecting.one_form(as_json=as_json, as_markdown=markdown, as_csv=as_csv)
    holds = selecting.on_axes(device, dtype, batch)

    @cache
    def stored() -> Results:
        return loading.load(results)

    first, second = (side(word, stored) for word in (a, b))
    rows = compare_results(first, second, margin)
    if not rows:
        raise UserError(f"{a!r} and {b!r} have no cell in common, so there is nothing to compare")
    known = {row.implementation for row in rows}
    implementations = selecting.names("implementation in both", "--impl", impl, known)
    chosen = [
        row
        for row in rows
        if holds(row.device, row.dtype, row.batch) and selecting.within(row.implementation, implementations)
    ]
    chosen = selecting.ordered(chosen, sort, _keys())
    if as_json or as_csv:
        selecting.print_rows([row.to_json() for row in chosen], as_json=as_json)
        return
    headline = [row for row in chosen if (row.cache, row.routing) == ("cold", "uniform") and row.call != "torch"]
    others = 0 if every or not headline else len(chosen) - len(headline)
    _print(headline if others else chosen, a, b, margin, others, markdown=markdown)


def _keys() -> dict[str, Callable[[Compared], Any]]:
    return {
        "ratio": lambda row: row.ratio,
        "time": lambda row: row.time[0],
        "batch": lambda row: row.batch,
        "impl": lambda row: row.implementation,
        "verdict": lambda row: row.verdict,
    }


def _columns() -> list[tables.Column[Compared]]:
    from fffbench.devices import device as device_of

    def threads(row: Compared) -> str:
        if not device_of(row.device).threaded:
            return ""
        return str(row.threads[0]) if row.threads[0] == row.threads[1] else f"{row.threads[0]}:{row.threads[1]}"

    return [
        tables.Column("implementation", lambda row: row.implementation),
        tables.Column("layer", layer, common=True, worth=95),
        tables.Column("batch", lambda row: str(row.batch), right=True, common=True),
        tables.Column("type", lambda row: row.dtype, common=True),
        tables.Column("device", lambda row: row.device, common=True, worth=60),
        tables.Column("routing", lambda row: row.routing, common=True, worth=60),
        tables.Column("caches", lambda row: row.cache, common=True, worth=65),
        tables.Column("call", lambda row: row.call, common=True, worth=64),
        tables.Column("thr", threads, right=True, common=True, spelt_out="threads", worth=75),
        tables.Column("A", lambda row: seconds(row.time[0]), right=True, worth=80),
        tables.Column("B", lambda row: seconds(row.time[1]), right=True, worth=80),
        tables.Column("A / B", lambda row: tables.gain(row.ratio, row.low, row.high, provisional=False), right=True),
        tables.Column("B is", lambda row: row.verdict),
    ]


def _print(rows: Sequence[Compared], a: str, b: str, margin: float, others: int, *, markdown: bool) -> None:
    from fffbench.analysis.comparison import counts

    said = ", ".join(f"{count} {verdict}" for verdict, count in counts(rows).items())
    pairs = {row.machine for row in rows}
    across = all(one != two for one, two in pairs)
    how = "each side at its fastest number of threads" if across else "cell by cell"
    notes = [f"{others} of other cache protocols, calls and routings: --all"] if others else []
    notes += [
        f"{len(rows)} compared, {how}: of B {said or 'none'}",
        f"above 1x B is the faster; same: within {percent(margin)}; undecided: an interval across that, or under 95 %",
    ]
    table = tables.Table(f"A {a}, B {b}", rows, notes)
    selecting.print_tables([table], _columns(), [], as_markdown=markdown)
