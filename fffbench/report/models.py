"""What do whole models gain? The page's table, its sentence for the first screen, and the tables of the archive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fffbench.analysis.models import ModelRow, by_work, model_rows, work_title
from fffbench.claims.model_claims import ModelVerdict, judge_models
from fffbench.plan.models import Variant
from fffbench.report import model_section
from fffbench.report.view import Cell, Table
from fffbench.results.models import load_models
from fffbench.units import number, percent, ratio, seconds

MOST = 12  # works on the page; the archive has all
KINDS = ("fff", "none", "small", "int8")  # a column each: the best of its kind


@dataclass(frozen=True)
class Models:
    """Everything about whole models, computed once."""

    rows: tuple[ModelRow, ...]
    verdicts: tuple[ModelVerdict, ...]
    names: dict[str, str]


def models(folder: Path | None, names: dict[str, str]) -> Models | None:
    """What lies under ``folder`` of whole models; None where nothing does."""
    rows = model_rows(load_models(folder)) if folder is not None else []
    return Models(tuple(rows), tuple(judge_models(rows)), names) if rows else None


def _best(rows: Sequence[ModelRow], kind: str) -> ModelRow | None:
    """The fastest replacement of one kind that is compared with the model as it is."""
    found = [row for row in rows if Variant.parse(row.variant).kind == kind and row.gain is not None]
    return max(found, key=lambda row: row.gain or 0, default=None)


def sentence(found: Models) -> str:
    """What a model gains, for the first screen: over all works that have trees and the model as it is."""
    gains, limits = [], []
    for _, _, rows in by_work(found.rows):
        best, none = _best(rows, "fff"), _best(rows, "none")
        if best is not None and best.gain is not None:
            gains.append(best.gain)
            limits += [none.gain] if none is not None and none.gain is not None else []
    if not gains:
        return ""
    which = " and ".join(dict.fromkeys(row.work.architecture.title for row in found.rows))
    bound = f", where leaving those layers out altogether gives {_range(limits)}" if limits else ""
    return f"a whole model ({which}) becomes {_range(gains)} faster{bound}"


def _range(values: Sequence[float]) -> str:
    low, high = f"{number(min(values))}x", f"{number(max(values))}x"
    return low if low == high else f"{low} to {high}"


def table(found: Models) -> Table | None:
    """A line per machine and work: the best replacement of each kind over the model as it is."""
    lines = []
    for machine, work, rows in by_work(found.rows)[:MOST]:
        dense = next((row for row in rows if Variant.parse(row.variant).kind == "dense"), None)
        if dense is None:
            continue
        name = found.names.get(machine, machine)
        cells = [_gain(_best(rows, kind)) for kind in KINDS]
        lines.append((Cell(work_title(work), name), Cell(seconds(dense.time)), *cells))
    if not lines:
        return None
    left = len(by_work(found.rows)) - len(lines)
    more = f" {left} more in all.html." if left else ""
    return Table(
        "models",
        ("Model and work", "As it is", "FFF", "No feedforward at all", "Small dense", "int8"),
        (False, True, True, True, True, True),
        tuple(lines),
        model_section.CSV,
        "Whole models from their configurations with random weights, each side in its best mode (eager, compiled or "
        "graph): times as fast as the model as it is, with 95 % intervals. No feedforward at all is the most that any "
        f"replacement can give; the share of that which FFF realises stands under its figure.{more}",
    )


def _gain(row: ModelRow | None) -> Cell:
    if row is None or row.gain is None:
        return Cell("not measured", words=True)
    low, high = row.gain_interval or (None, None)
    share = "" if row.share is None else f"{percent(row.share)} of the possible"
    return Cell(ratio(row.gain, low, high), "; ".join(filter(None, (row.title, share))))


def archived(found: Models | None) -> tuple[Table, ...]:
    """Every table of whole models, and what others published."""
    if found is None:
        return ()
    tables = model_section.tables(found.rows, found.names)
    return (*tables, model_section.claims_table(found.verdicts, found.names))
