"""What does a run print when it is done: its cells, over the best dense layer and over the project's own kernel?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fffbench.analysis import thin
from fffbench.cli import tables
from fffbench.cli.speedup import bound, error, layer
from fffbench.devices import DEVICES
from fffbench.units import seconds

if TYPE_CHECKING:
    from fffbench.analysis.one_run import Measured

PROVISIONAL = f"* {thin.PROVISIONAL}"
MOST_ROWS = 80  # of a longer run the conditional cells and the best dense layer of each


def show(result_file: Path, over: str = "") -> None:
    """Print the table of a run, which just became ``result_file``, on standard error; its file is the result.

    ``over`` names the implementation that the ratios are over, beside the best dense layer.
    """
    from fffbench.analysis.one_run import measured
    from fffbench.results.store import load_file

    results = load_file(result_file)
    rows = measured(results, result_file.stem, over)
    if rows:
        tables.on_stderr(table(rows), columns(rows, over))


def table(rows: Sequence[Measured]) -> tables.Table[Measured]:
    """The rows of a run, of a long one those that a reader looks for."""
    shown = rows if len(rows) <= MOST_ROWS else [one for one in rows if one.row.family != "dense" or one.is_best_dense]
    left_out = len(rows) - len(shown)
    notes = [f"{left_out} slower dense layers are not shown; the result file has them"] if left_out else []
    notes += _tried(rows)
    if any(one.row.provisional for one in shown):
        notes.append(PROVISIONAL)
    return tables.Table("", shown, notes)


def _tried(rows: Sequence[Measured]) -> list[str]:
    """Of how many dense layers the best ones are the best, and which were not measured."""
    found: dict[tuple[int | None, tuple[str, ...]], int] = defaultdict(int)
    for one in rows:
        if one.row.tried is not None:
            found[one.row.tried, one.row.not_measured] += 1
    said = []
    for (tried, missing), _ in sorted(found.items(), key=lambda item: -item[1])[:3]:
        lacking = f"; {len(missing)} not measured: {', '.join(missing)}" if missing else ""
        said.append(f"best of {tried} dense layers tried{lacking}")
    if any(one.row.family != "dense" and one.row.speedup is None for one in rows):
        said.append("- : no dense layer was measured beside it in this run")
    return said


def columns(rows: Sequence[Measured], over: str = "") -> list[tables.Column[Measured]]:
    """The columns, over the project's kernel of the device that was measured, or over another implementation."""
    kernels = over or " or ".join(sorted({DEVICES[one.row.device].kernel for one in rows} - {""}))

    def threads(one: Measured) -> str:
        return str(one.row.threads) if DEVICES[one.row.device].threaded else ""

    def best(one: Measured) -> str:
        if one.is_best_dense:
            return "best dense"
        return tables.gain(one.row.speedup, one.row.low, one.row.high, provisional=one.row.provisional)

    def over_kernel(one: Measured) -> str:
        if one.over_kernel is None:
            return ""
        return tables.gain(one.over_kernel.value, None, None, provisional=one.over_kernel.provisional)

    return [
        tables.Column("implementation", lambda one: one.row.implementation),
        tables.Column("layer", lambda one: layer(one.row), common=True, worth=95),
        tables.Column("batch", lambda one: str(one.row.batch), right=True, common=True),
        tables.Column("type", lambda one: one.row.dtype, common=True),
        tables.Column("routing", lambda one: one.row.routing, common=True, worth=60),
        tables.Column("caches", lambda one: one.row.cache, common=True, worth=65),
        tables.Column("call", lambda one: one.row.call, common=True, worth=65),
        tables.Column("thr", threads, right=True, common=True, spelt_out="threads"),
        tables.Column("time", lambda one: seconds(one.row.time or 0), right=True),
        tables.Column("over best dense", best, right=True),
        tables.Column(f"over {kernels}", over_kernel, right=True, worth=80),
        tables.Column("bound", lambda one: bound(one.row), right=True, worth=70),
        tables.Column("error", lambda one: error(one.row), right=True, worth=50),
    ]
