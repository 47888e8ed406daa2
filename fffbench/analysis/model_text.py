"""How are the rows of whole models put in words: a sentence for each, a table, notes, and lines of a CSV file?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fffbench.analysis.models import DENSE, NONE, ModelRow, work_title
from fffbench.plan.models import Variant
from fffbench.units import number, percent, ratio, seconds, size


def sentence(rows: Sequence[ModelRow]) -> str:
    """What a reader should know of one work: rows of one machine and work. Empty without the model as it is."""
    known = {row.variant: row for row in rows}
    dense, none = known.get(DENSE), known.get(NONE)
    trees = [row for row in rows if Variant.parse(row.variant).kind == "fff" and row.gain is not None]
    if dense is None or not trees:
        return ""
    parts = [f"{work_title(dense.work)}: {seconds(dense.time)} as it is."]
    for row in trees:
        of_gain = (
            ""
            if row.share is None
            else f", {percent(row.share)}{_percents(row.share_interval)} of what could be gained"
        )
        parts.append(f"{row.title}: {_gain(row)}{of_gain}.")
    if none is not None and none.gain is not None:
        parts.append(
            f"Without any feedforward layer it is {_gain(none)}, which no replacement can pass "
            f"(multiply-adds alone would allow {number(dense.work.bound)}x)."
        )
    others = [
        f"{row.title} {_gain(row)}"
        for row in rows
        if Variant.parse(row.variant).kind in ("masked", "int8", "moe", "small") and row.gain is not None
    ]
    if others:
        parts.append(f"Instead of trees: {'; '.join(others)}.")
    slower = [f"{row.title} ({mode})" for row in trees for mode, gain in row.same_mode.items() if gain.value < 1]
    if slower:
        parts.append(f"Slower than the model as it is in the same mode: {', '.join(slower)}.")
    return " ".join(parts)


def _gain(row: ModelRow) -> str:
    assert row.gain is not None
    low, high = row.gain_interval or (None, None)
    return ratio(row.gain, low, high)


def _percents(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f" [{number(100 * interval[0])}, {number(100 * interval[1])}]"


COLUMNS = (
    "layers",
    "mode",
    "time",
    "p90",
    "p99",
    "tokens/s",
    "gain",
    "of possible",
    "weights",
    "peak",
    "J/1000 tokens",
)


def cells_of(row: ModelRow) -> tuple[str, ...]:
    """The row as texts, one for each of ``COLUMNS``."""
    share = "" if row.share is None else f"{percent(row.share)}{_percents(row.share_interval)}"
    return (
        row.title,
        row.mode,
        seconds(row.time) + (" (provisional)" if row.provisional else ""),
        seconds(row.p90),
        seconds(row.p99),
        number(row.tokens_per_second),
        "" if row.gain is None else _gain(row),
        share,
        size(row.weights_bytes),
        size(row.peak_bytes),
        "" if row.joules_per_1000_tokens is None else number(row.joules_per_1000_tokens),
    )


def footnotes(row: ModelRow) -> list[str]:
    """What belongs to a row beside its numbers: where its tokens went, and which plain layer takes as long."""
    said = []
    if row.effective_leaves is not None:
        said.append(
            f"{row.title}: the tokens of a layer are spread as over {number(row.effective_leaves)} "
            f"equally used leaves of {row.leaves}"
        )
    if row.equal_time_neurons is not None:
        said.append(f"{row.title}: a plain layer of about {number(row.equal_time_neurons)} neurons takes as long")
    return said + [f"{row.title}: {note}" for note in row.notes]


def notes_of(rows: Sequence[ModelRow]) -> list[str]:
    """The sentence of one machine and work, and what stands below its table."""
    said = sentence(rows)
    return [*([said] if said else []), *(note for row in rows for note in footnotes(row))]


def csv_rows(rows: Sequence[ModelRow]) -> list[dict[str, Any]]:
    """The rows as the CSV has them: numbers in SI units, intervals in columns of their own."""
    found = []
    for row in rows:
        gain, share = row.gain_interval or (None, None), row.share_interval or (None, None)
        found.append(
            {
                "machine": row.machine,
                "work": row.work.id,
                "variant": row.variant,
                "mode": row.mode,
                "seconds": row.time,
                "seconds_low": row.interval[0],
                "seconds_high": row.interval[1],
                "p50": row.p50,
                "p90": row.p90,
                "p99": row.p99,
                "tokens_per_second": row.tokens_per_second,
                "gain": row.gain,
                "gain_low": gain[0],
                "gain_high": gain[1],
                "share": row.share,
                "share_low": share[0],
                "share_high": share[1],
                "weights_bytes": row.weights_bytes,
                "peak_bytes": row.peak_bytes,
                "joules_per_1000_tokens": row.joules_per_1000_tokens,
                "effective_leaves": row.effective_leaves,
                "equal_time_neurons": row.equal_time_neurons,
            }
        )
    return found
