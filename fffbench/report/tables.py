"""How do rows become the page's tables?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from fffbench.analysis.headline import PUBLISHED_SHAPE, shape_of
from fffbench.analysis.rivals import provisional, tried_text
from fffbench.analysis.rows import Speedup
from fffbench.analysis.stats import Estimate
from fffbench.devices import DEVICES
from fffbench.plan.workload import CACHES, CALLS
from fffbench.problems import parse_problem
from fffbench.report.anchors import Anchors
from fffbench.report.view import Cell, Table
from fffbench.results.record import Record
from fffbench.units import percent, ratio, seconds

HEAD = ("Implementation", "Layer", "Type", "Batch", "Threads", "Time")
PROTOCOL_HEAD = ("Protocol",)
BASELINE_HEAD = (
    "over best dense, fastest threads",
    "over best dense, same threads",
    "over published dense",
    "over same primitive",
    "over BERT width",
    "over best dense with TF32",
)
COLUMNS = (
    ("best-dense", "fastest"),
    ("best-dense", "same"),
    ("published", "same"),
    ("same-primitive", "same"),
    ("bert", "same"),
    ("best-dense-tf32", "same"),
)


def layer(row: Speedup) -> str:
    """``768→4095, 1x12``: width in, neurons, trees x levels."""
    return parse_problem(row.shape).label.replace(" to ", "→")


def speed_cell(row: Speedup | None, anchors: Anchors) -> Cell:
    """A speed-up with its interval and its baseline under it, or the reason why there is none."""
    if row is None:
        return Cell()
    if row.speedup is None:
        return Cell(row.reason or "", words=True)
    threads = "" if row.baseline_thread_count == row.threads else f", {row.baseline_thread_count} threads"
    tried = "" if row.tried is None else f", {tried_text(row.tried, row.not_measured)}"
    thin = f", {provisional(row)}" if row.provisional else ""
    small = f"{row.baseline_implementation}{threads}{tried}{thin}"
    link, beside = anchors.get(row.record or "", ""), anchors.get(row.baseline_record or "", "")
    quantity = anchors.quantity(row.record, row.baseline_record)
    value = ratio(row.speedup, row.low, row.high)
    return Cell(value, small, link, f"{row.speedup:.6g}", quantity=quantity, beside=beside)


def time_cell(row: Speedup, anchors: Anchors) -> Cell:
    """The time with error and share of the roofline under it."""
    if row.time is None:
        return Cell("not measured", words=True)
    return Cell(
        seconds(row.time),
        quality(row.error, row.roofline_share),
        anchors.get(row.record or "", ""),
        f"{row.time:.6g}",
        quantity=anchors.quantity(row.record),
    )


def quality(error: float | None, share: float | None) -> str:
    """``error 2e-7, 61 % of bound``."""
    parts = [] if error is None else [f"error {error:.0e}".replace("e-0", "e-")]
    if share is not None:
        parts.append(f"{percent(share)} of bound")
    return ", ".join(parts)


def speedup_table(
    rows: Sequence[Speedup], anchors: Anchors, table_id: str, caption: str, *, protocols: bool
) -> Table | None:
    """One line per conditional cell, one column per baseline that any line has; ``protocols`` adds theirs."""
    lines: dict[tuple[object, ...], dict[tuple[str, str], Speedup]] = defaultdict(dict)
    for row in rows:
        lines[_line_key(row)][row.baseline, row.baseline_threads] = row
    threaded = any(DEVICES[row.device].threaded for row in rows)
    columns = [
        column
        for column in COLUMNS
        if column == COLUMNS[0]
        or (
            any(column in line and line[column].speedup for line in lines.values())
            and (threaded or column != COLUMNS[1])
        )
    ]
    body = tuple(_line(line, columns, anchors, protocols=protocols) for _, line in sorted(lines.items()))
    if not body:
        return None
    left = HEAD + (PROTOCOL_HEAD if protocols else ())
    head = left + tuple(BASELINE_HEAD[COLUMNS.index(column)] for column in columns)
    numeric = (False, False, False, True, True, True) + (False,) * (len(left) - len(HEAD)) + (True,) * len(columns)
    return Table(table_id, head, numeric, body, "speedup.csv", caption, filterable=True)


CALL_HEAD = {
    "kernel": "bare kernel, launched",
    "torch": "torch call",
    "graph": "inside a CUDA graph",
}


def calls_table(rows: Sequence[Speedup], anchors: Anchors, table_id: str) -> Table | None:
    """What the call costs: a line per cell measured through several calls, a column per call; cold, uniform."""
    lines: dict[tuple[object, ...], dict[str, Speedup]] = defaultdict(dict)
    for row in rows:
        fits = (row.cache, row.routing, row.baseline, row.baseline_threads) == ("cold", "uniform", *COLUMNS[1])
        if fits and row.time is not None:
            key = (*_line_key(row._replace(call="kernel")),)
            lines[key][row.call] = row
    lines = {key: line for key, line in lines.items() if len(line) > 1}
    if not lines:
        return None
    calls = [call for call in CALLS if any(call in line for line in lines.values())]
    body = []
    for _, line in sorted(lines.items()):
        row = next(iter(line.values()))
        body.append(
            (
                Cell(row.implementation, row.family),
                Cell(layer(row)),
                Cell(row.dtype),
                Cell(str(row.batch)),
                Cell(str(row.threads)),
                *(_call_cell(line.get(call), anchors) for call in calls),
            )
        )
    return Table(
        table_id,
        (*HEAD[:5], *(CALL_HEAD[call] for call in calls)),
        (False, False, False, True, True, *(True for _ in calls)),
        tuple(body),
        "speedup.csv",
        "The same cell through different calls, cold caches, uniform routing: its time and, smaller, the speed-up over "
        "the best dense layer through the same call at the same thread count.",
        filterable=True,
    )


def _call_cell(row: Speedup | None, anchors: Anchors) -> Cell:
    if row is None or row.time is None:
        return Cell("not measured", words=True)
    small = ratio(row.speedup, row.low, row.high) if row.speedup is not None else row.reason or ""
    link = anchors.get(row.record or "", "")
    return Cell(seconds(row.time), small, link, f"{row.time:.6g}", quantity=anchors.quantity(row.record))


def _line_key(row: Speedup) -> tuple[object, ...]:
    return (
        row.routing != "uniform",
        CACHES.index(row.cache),
        CALLS.index(row.call),
        shape_of(row) != PUBLISHED_SHAPE,
        row.dtype,
        row.d,
        row.n,
        row.trees,
        row.levels,
        row.leaf_width,
        row.shape,
        -row.batch,
        row.family != "fff",
        row.implementation,
        row.threads,
    )


def _line(
    line: Mapping[tuple[str, str], Speedup],
    columns: Sequence[tuple[str, str]],
    anchors: Anchors,
    *,
    protocols: bool,
) -> tuple[Cell, ...]:
    row = next((row for (_, mode), row in line.items() if mode == "same"), None) or next(iter(line.values()))
    cells = [speed_cell(line.get(column), anchors) for column in columns]
    if row.time is None:
        cells = [Cell(row.reason or "", words=True), *[Cell()] * (len(columns) - 1)]
    elif COLUMNS[0] not in line:  # that row stands on the line of the thread count that is fastest
        cells[0] = Cell("", "faster at another thread count")
    protocol = (Cell(f"{row.routing}, {row.cache}, {row.call}"),) if protocols else ()
    return (
        Cell(row.implementation, row.family),
        Cell(layer(row)),
        Cell(row.dtype),
        Cell(str(row.batch)),
        Cell(str(row.threads)),
        time_cell(row, anchors),
        *protocol,
        *cells,
    )


CELL_COLUMNS = (
    "record", "machine", "run", "cell", "implementation", "family", "device", "d", "n", "trees", "levels",
    "leaf_width", "batch", "dtype", "routing", "threads", "cache", "call", "time", "low", "high", "roofline_share",
    "error", "tolerance", "tokens_checked", "diverged", "diverged_cap", "distinct_rows", "prepare_seconds",
    "extra_bytes", "processes", "samples", "notes",
)  # fmt: skip


def cell_rows(
    records: Iterable[Record], shares: Mapping[str, float | None], times: Mapping[str, Estimate]
) -> Iterator[tuple[object, ...]]:
    """Every record as one flat row, for ``cells.csv``."""
    for record in records:
        cell, info, check = record.cell, record.info, record.info.check
        time = times[record.id]
        yield (
            *(record.id, record.machine, record.run, cell.id, cell.implementation, info.family),
            *(cell.workload.device, *cell.columns[1:]),
            *(time.value, time.low, time.high, shares[record.id]),
            *(check.error, check.tolerance, check.tokens, check.diverged, check.diverged_cap, info.distinct_rows),
            *(info.prepare_seconds, info.extra_bytes, len(info.processes), record.samples, "; ".join(info.notes)),
        )
