"""Does it make whole models faster? A table for each machine and work, its sentence, and what was published elsewhere.

Given rows that ``analysis.models`` made; whoever builds the page places what this returns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fffbench.analysis.model_claims import Figure, ModelVerdict
from fffbench.analysis.models import COLUMNS, ModelRow, by_work, cells_of, sentence, work_title
from fffbench.report.view import Cell, Table

CSV, ELSEWHERE_CSV, CLAIMS_CSV = "models.csv", "elsewhere.csv", "model-claims.csv"
NUMERIC = {"time", "p90", "p99", "tokens/s", "gain", "of possible", "weights", "peak", "J/1000 tokens"}
CAPTION = (
    "Whole models from their configurations, with random weights. Time is that of one forward pass at the best of the "
    "modes measured, the median over fresh processes. Gain is against the model as it is at its own best mode; of "
    "possible is (dense - x) / (dense - none), where none is the same model without feedforward layers."
)


def sentences(rows: Sequence[ModelRow]) -> list[str]:
    """One for each machine and work that has trees and the model as it is."""
    return [said for _, _, group in by_work(rows) if (said := sentence(group))]


def tables(rows: Sequence[ModelRow], names: dict[str, str]) -> list[Table]:
    """A table for each machine and work; ``names`` says what machines are."""
    return [
        Table(
            f"models-{number}",
            ("Feedforward layers", *COLUMNS[1:]),
            tuple(name in NUMERIC for name in COLUMNS),
            tuple(tuple(Cell(text) for text in cells_of(row)) for row in group),
            CSV,
            f"{work_title(work)}, on {names.get(machine, machine)}. {CAPTION}",
        )
        for number, (machine, work, group) in enumerate(by_work(rows), start=1)
    ]


def claims_table(verdicts: Sequence[ModelVerdict], names: dict[str, str]) -> Table:
    """What was published about whole models, and what was measured."""
    head = ("What was published", "Figure", "Machine", "Verdict", "Why")
    rows = tuple(
        (
            Cell(one.statement, one.source),
            Cell(one.shown),
            Cell(names.get(one.machine or "", one.machine or "none")),
            Cell(one.verdict),
            Cell(one.reason),
        )
        for one in verdicts
    )
    return Table("model-claims", head, (False,) * len(head), rows, CLAIMS_CSV, "Judged by the rule of all claims.")


def elsewhere_table(figures: Sequence[Figure]) -> Table:
    """Others' figures, on others' hardware, against others' baselines."""
    head = ("Work", "Figure", "About", "Against", "How it is known")
    known = {"read": "read in the source", "secondary": "from a text about it", "recalled": "recalled, unchecked"}
    rows = tuple(
        (
            Cell(one.work, one.source),
            Cell(one.figure),
            Cell(one.kind),
            Cell(one.against, one.note),
            Cell(known[one.known]),
        )
        for one in figures
    )
    caption = "How fast is conditional computation elsewhere? None of this was measured here."
    return Table("elsewhere", head, (False,) * len(head), rows, ELSEWHERE_CSV, caption)


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
