"""Is it slower than it was? The regression checks of every machine: the newest in full, the earlier ones in a line."""

from __future__ import annotations

from collections.abc import Sequence

from fffbench.report.view import Cell, Table
from fffbench.results.regressions import Check
from fffbench.units import number, seconds

CSV = "regressions.csv"
MAX_CHECKS = 20  # of a machine, in the table; all are in the CSV
CSV_COLUMNS = ("machine", "started", "base", "head", "check", "case", "answer", "ratio", "low", "high", "blocks")


def table(checks: Sequence[Check], names: dict[str, str]) -> Table | None:
    """One row for each case of a machine's newest check and each earlier check; ``names`` says what machines are."""
    if not checks:
        return None
    rows: list[tuple[Cell, ...]] = []
    for machine in sorted({check.machine for check in checks}):
        here = [check for check in checks if check.machine == machine][-MAX_CHECKS:]
        title = names.get(machine, machine)
        rows += _newest(here[-1], title)
        rows += [_line(check, title) for check in reversed(here[:-1])]
    return Table(
        "regressions",
        ("What", "Machine", "Answer", "Head over base", "Blocks"),
        (False, False, False, True, True),
        tuple(rows),
        CSV,
        "Two revisions whose fresh processes take turns, block by block (fffbench regress). Regression: slower than "
        "the margin is shown. None: a slow-down of the tolerance is excluded. The bounds are one-sided, each at the "
        "level of one look. The newest check of each machine case by case with its controls, earlier ones in a line.",
        filterable=True,
    )


def _newest(check: Check, title: str) -> list[tuple[Cell, ...]]:
    rows = [_line(check, title)]
    rows += [
        (
            Cell(row.case, f"base {seconds(row.base_seconds)}"),
            Cell(title),
            Cell(row.answer),
            Cell(f"{number(row.ratio)}x", f"[{number(row.low)}, {number(row.high)}]", CSV, f"{row.ratio:.6g}"),
            Cell(str(len(row.blocks))),
        )
        for row in check.cases
    ]
    for control in check.controls:
        passed = Cell("passed" if control.passed else "failed", control.said)
        rows.append((Cell(control.name, "control"), Cell(title), passed, Cell(), Cell(str(len(control.blocks)))))
    return rows


def _line(check: Check, title: str) -> tuple[Cell, ...]:
    return (
        Cell(f"{check.head} against {check.base}", check.started),
        Cell(title),
        Cell(check.answer, check.reason),
        Cell(),
        Cell(str(max((len(row.blocks) for row in check.cases), default=0))),
    )


def csv_rows(checks: Sequence[Check]) -> list[dict[str, object]]:
    """Every case of every check, for ``regressions.csv``."""
    return [
        {
            "machine": check.machine,
            "started": check.started,
            "base": check.base,
            "head": check.head,
            "check": check.answer,
            "case": row.case,
            "answer": row.answer,
            "ratio": row.ratio,
            "low": row.low,
            "high": row.high,
            "blocks": row.blocks,
        }
        for check in checks
        for row in check.cases
    ]
