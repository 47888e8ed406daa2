"""Does it make whole models faster? A table for each machine and work, and what was published elsewhere.

Given rows that ``analysis.models`` made; whoever builds the page places what this returns.
"""

from __future__ import annotations

from collections.abc import Sequence

from fffbench.analysis.model_text import COLUMNS, cells_of
from fffbench.analysis.models import ModelRow, by_work, work_title
from fffbench.claims.model_claims import Figure, ModelVerdict, pattern
from fffbench.report.model_cards import ModelCards
from fffbench.report.view import Cell, Table

CSV, ELSEWHERE_CSV, CLAIMS_CSV = "models.csv", "elsewhere.csv", "model-claims.csv"
NUMERIC = {"time", "p90", "p99", "tokens/s", "gain", "of possible", "weights", "peak", "J/1000 tokens"}
CAPTION = (
    "Whole models from their configurations, with random weights. Time is that of one forward pass at the best of the "
    "modes measured, the median over fresh processes. Gain is against the model as it is at its own best mode; of "
    "possible is (dense - x) / (dense - none), where none is the same model without feedforward layers."
)


def tables(rows: Sequence[ModelRow], names: dict[str, str], cards: ModelCards | None = None) -> list[Table]:
    """A table for each machine and work; ``names`` says what machines are, ``cards`` where a figure comes from."""
    return [
        Table(
            f"models-{number}",
            ("Feedforward layers", *COLUMNS[1:]),
            tuple(name in NUMERIC for name in COLUMNS),
            tuple(_line(row, cards) for row in group),
            CSV,
            f"{work_title(work)}, on {names.get(machine, machine)}. {CAPTION}",
        )
        for number, (machine, work, group) in enumerate(by_work(rows), start=1)
    ]


def _line(row: ModelRow, cards: ModelCards | None) -> tuple[Cell, ...]:
    """A row's cells; the time and the gain have cards, which the other figures of the row share with them."""
    time, gain = (cards.time(row), cards.gain(row)) if cards else ("", "")
    of_gain = ("gain", "of possible")
    found = []
    for name, text in zip(COLUMNS, cells_of(row), strict=True):
        link = "" if name not in NUMERIC or not text else gain if name in of_gain else time
        found.append(Cell(text, link=link, quantity=link if name in ("time", "gain") else ""))
    return tuple(found)


def claims_table(verdicts: Sequence[ModelVerdict], names: dict[str, str], cards: ModelCards | None = None) -> Table:
    """What was published about whole models, and what was measured."""
    head = ("What was published", "Figure", "Machine", "Verdict", "Why")
    rows = tuple(
        (
            Cell(one.statement, one.source),
            Cell(one.shown),
            Cell(names.get(one.machine or "", one.machine or "none")),
            Cell(one.verdict),
            Cell(one.reason, link=cards.verdict(one) if cards else ""),
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
    caption = f"What others published of conditional computation; none of it was measured here. {pattern(figures)}"
    return Table("elsewhere", head, (False,) * len(head), rows, ELSEWHERE_CSV, caption)
