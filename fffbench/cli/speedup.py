"""The command that says how many times faster than which layer: ``speedup``."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from fffbench.cli import loading, selecting, tables
from fffbench.cli.shared import Json, ResultsDir
from fffbench.devices import DEVICES
from fffbench.errors import UserError
from fffbench.units import percent, seconds

if TYPE_CHECKING:
    from fffbench.analysis.rows import Speedup
    from fffbench.results.store import Results

BEST_DENSE = "best-dense"
MOST_REASONS = 5


def speedup(
    results: ResultsDir = Path("results"),
    over: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="the baseline: best-dense, published, bert, ..., or any implementation"),
    ] = None,
    slower_than_dense: Annotated[
        bool,
        typer.Option(
            "--slower-than-dense",
            help="only optimised cells below 0.9 of the best dense layer of their own width, with what is noted there",
        ),
    ] = False,
    machine: selecting.Machine = None,
    device: selecting.Device = None,
    dtype: selecting.Dtype = None,
    batch: selecting.Batch = None,
    impl: selecting.Implementation = None,
    threads: selecting.Threads = None,
    every: Annotated[
        bool, typer.Option("--all", help="every cache protocol, call and routing, and cells without a ratio")
    ] = False,
    sort: selecting.Sort = None,
    markdown: selecting.Markdown = False,
    as_csv: selecting.Csv = False,
    as_json: Json = False,
) -> None:
    """Print how many times faster each conditional implementation is than the best dense layer.

    The table has the rows of the headline's protocol (cold caches, uniform routing, each side at its fastest number of
    threads); --all, --threads and --over show others. --json and --csv have every row that the other options leave.
    """
    from fffbench.analysis import over as analysis
    from fffbench.analysis.baselines import BASELINES
    from fffbench.analysis.speedup import speedups

    selecting.one_form(as_json=as_json, as_markdown=markdown, as_csv=as_csv)
    if slower_than_dense and over is not None:
        raise UserError("--slower-than-dense has a baseline of its own, so --over cannot be given with it")
    if over is not None and not over.strip():
        raise UserError(f"--over is empty; allowed are {', '.join(BASELINES)}, or an implementation")
    loaded = loading.load(results)
    if slower_than_dense:
        rows = analysis.losing(loaded)
    elif over is None or over in BASELINES:
        rows = [row for row in speedups(loaded) if over in (None, row.baseline)]
    else:
        rows = _with_headline(analysis.over(loaded, over), speedups(loaded))
    counts = selecting.threads(threads)
    wanted = _chosen(rows, loaded, machine, device, dtype, batch, impl)
    if threads is not None:
        mode = "fastest" if counts is None else "same"
        wanted = [row for row in wanted if row.baseline_threads == mode and selecting.within(row.threads, counts)]
    if as_json or as_csv:
        selecting.print_rows([row.to_json() for row in selecting.ordered(wanted, sort, _keys())], as_json=as_json)
        return
    shown = [row for row in wanted if _in_table(row, over, threads, every=every, any_protocol=slower_than_dense)]
    _print(selecting.ordered(shown, sort, _keys()), wanted, markdown=markdown, losing=slower_than_dense)


def _chosen(
    rows: Sequence[Speedup],
    loaded: Results,
    machine: str | None,
    device: str | None,
    dtype: str | None,
    batch: str | None,
    impl: str | None,
) -> list[Speedup]:
    """The rows on the axes asked for."""
    holds = selecting.on_axes(device, dtype, batch)
    machines = selecting.machines(machine, loaded.machines)
    known = {row.implementation for row in rows}
    implementations = selecting.names("implementation in these rows", "--impl", impl, known)
    return [
        row
        for row in rows
        if selecting.within(row.machine, machines)
        and holds(row.device, row.dtype, row.batch)
        and selecting.within(row.implementation, implementations)
    ]


def _with_headline(rows: Sequence[Speedup], headline: Sequence[Speedup]) -> list[Speedup]:
    """``rows`` with the headline's protocol marked, as it is on each machine and device."""
    calls = {(row.machine, row.device): row.call for row in headline if row.main}
    return [
        row._replace(
            main=(row.cache, row.routing) == ("cold", "uniform") and row.call == calls.get((row.machine, row.device)),
        )
        for row in rows
    ]


def _in_table(row: Speedup, over: str | None, threads: str | None, *, every: bool, any_protocol: bool) -> bool:
    """Whether a reader who asked for no more than this wants the row."""
    return (
        row.baseline == (over or row.baseline if any_protocol else over or BEST_DENSE)
        and (threads is not None or row.baseline_threads == "fastest")
        and (every or ((row.main or any_protocol) and row.speedup is not None))
    )


def _keys() -> dict[str, Callable[[Speedup], Any]]:
    return {
        "speedup": lambda row: row.speedup,
        "time": lambda row: row.time,
        "batch": lambda row: row.batch,
        "n": lambda row: row.n,
        "bound": lambda row: row.roofline_share,
        "impl": lambda row: row.implementation,
        "machine": lambda row: (row.machine, row.device),
        "dtype": lambda row: row.dtype,
    }


def columns(*, baseline: str, reasons: bool) -> list[tables.Column[Speedup]]:
    """The columns of a table of speed-ups, over ``baseline``."""

    def gain(row: Speedup) -> str:
        return tables.gain(row.speedup, row.low, row.high, provisional=row.provisional)

    def threads(row: Speedup) -> str:
        if not DEVICES[row.device].threaded:
            return ""
        other = row.baseline_thread_count
        return f"{row.threads}" if other in (None, row.threads) else f"{row.threads}:{other}"

    best_dense = baseline.startswith("best dense")
    common: list[tables.Column[Speedup]] = [
        tables.Column("implementation", lambda row: row.implementation),
        tables.Column("layer", layer, common=True),
        tables.Column("batch", lambda row: str(row.batch), right=True, common=True),
        tables.Column("type", lambda row: row.dtype, common=True),
        tables.Column("routing", lambda row: row.routing, common=True, worth=80),
        tables.Column("caches", lambda row: row.cache, common=True, worth=80),
        tables.Column("call", lambda row: row.call, common=True, worth=80),
        tables.Column("thr", threads, right=True, common=True, spelt_out="threads", worth=70),
        tables.Column("time", lambda row: "-" if row.time is None else seconds(row.time), right=True, worth=75),
        tables.Column(f"over {baseline}", gain, right=True),
    ]
    if reasons:
        return [*common, tables.Column("noted", lambda row: row.reason or "", wraps=True)]
    return [
        *common,
        tables.Column("bound", bound, right=True, worth=60),
        tables.Column("dense layer", lambda row: row.baseline_implementation or "", worth=50, common=not best_dense),
        tables.Column("best of", lambda row: str(row.tried or ""), right=True, worth=40, common=not best_dense),
        tables.Column("error", error, right=True, worth=30),
    ]


class _Layer(Protocol):
    """What says which layer it is about."""

    @property
    def d(self) -> int: ...
    @property
    def n(self) -> int: ...
    @property
    def trees(self) -> int: ...
    @property
    def levels(self) -> int: ...
    @property
    def leaf_width(self) -> int: ...


def layer(row: _Layer) -> str:
    """``768x4095 1x12``: inputs x neurons, trees x levels, and ``l32`` for leaf blocks of 32 neurons."""
    tree = f" {row.trees}x{row.levels}" if row.trees else ""
    return f"{row.d}x{row.n}{tree}" + (f"l{row.leaf_width}" if row.leaf_width else "")


def bound(row: Speedup) -> str:
    """The share of the roofline."""
    return "" if row.roofline_share is None else percent(row.roofline_share)


def _without_ratio(shown: Sequence[Speedup]) -> list[str]:
    """Why rows have no ratio, a line for each reason, the most frequent first."""
    reasons = Counter(row.reason or "no reason is stored" for row in shown if row.speedup is None)
    lines = [f"- {count} of {len(shown)}: {reason}" for reason, count in reasons.most_common(MOST_REASONS)]
    others = len(reasons) - len(lines)
    return [*lines, f"- {others} other reasons, which --csv has"] if others > 0 else lines


def error(row: Speedup) -> str:
    """The largest error over the checked tokens, one figure."""
    return "" if row.error is None else f"{row.error:.0e}"


def _print(shown: Sequence[Speedup], wanted: Sequence[Speedup], *, markdown: bool, losing: bool) -> None:
    if not shown:
        others = f"; --all shows the {len(wanted)} rows of other protocols or without a ratio" if wanted else ""
        print(f"no row{others}" if not losing else "no optimised cell takes longer than 1 / 0.9 of its dense layer")
        return
    places: dict[tuple[str, str], list[Speedup]] = defaultdict(list)
    for row in shown:
        places[row.machine, row.device].append(row)
    baseline = "dense" if losing else shown[0].baseline.replace("best-dense", "best dense")
    found = [tables.Table(f"{machine} ({device})", rows) for (machine, device), rows in places.items()]
    reasons = losing or all(row.speedup is None for row in shown)
    notes = [f"{len(shown)} of {len(wanted)} rows; --all shows every protocol, --csv every field"]
    notes += _without_ratio(shown)
    notes += [tables.PROVISIONAL] if any(row.provisional for row in shown) else []
    columns_ = columns(baseline=baseline, reasons=reasons)
    selecting.print_tables(found, columns_, notes, as_markdown=markdown)
