"""What did the regression checks say? Reads ``results/regress/<machine>/*.json``.

Format history (key ``format``): 1 is the first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import FailFast, Field

from fffbench.results.documents import Document, read_documents
from fffbench.results.listing import Refusal
from fffbench.results.record import Count, Duration, Facts, Seconds, Text, _Plain

REGRESS = "regress"
FORMAT = 1

Finite = Annotated[float, Field(ge=-1e18, le=1e18, allow_inf_nan=False)]
Ratio = Annotated[float, Field(ge=1e-9, le=1e9, allow_inf_nan=False)]  # as logarithms and percentages are made of it
LogRatio = Annotated[float, Field(ge=-20, le=20, allow_inf_nan=False)]
Blocks = Annotated[list[LogRatio], Field(max_length=10_000), FailFast()]  # a check has 40 at most
MAX_ROWS = 1000  # a check has 12 cases and 6 controls
UNCHANGED = "unchanged"  # both sides have the same sources: nothing was measured, and nothing of it is stored
Answer = Annotated[str, Field(pattern=r"^(regression|none|inconclusive)$")]


class Compared(_Plain):
    """One case: its answer, head over base with the bounds of the last look, and the block log-ratios behind them."""

    case: Text
    answer: Answer
    ratio: Ratio
    low: Ratio
    high: Ratio
    base_seconds: Seconds
    blocks: Blocks


class ControlRow(_Plain):
    """One control: whether it did what it must, and what it did."""

    name: Text
    passed: bool
    said: Text
    blocks: Blocks


class Check(Document):
    """One regression check, whole."""

    machine: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,79}$")]
    started: Text
    base: Text
    head: Text
    answer: Annotated[str, Field(pattern=rf"^(regression|none|inconclusive|{UNCHANGED})$")]
    reason: Text
    seconds: Duration
    plan: Annotated[dict[Text, Finite | Annotated[list[Count], Field(max_length=64)]], Field(max_length=MAX_ROWS)]
    cases: Annotated[list[Compared], Field(max_length=MAX_ROWS), FailFast()]
    controls: Annotated[list[ControlRow], Field(max_length=MAX_ROWS), FailFast()]
    skipped: Facts


def read_checks(root: Path) -> tuple[list[Check], list[Refusal]]:
    """Every check under ``root``, by machine and time, and what could not be read."""
    checks, refused = read_documents(root, REGRESS, Check, FORMAT, _misplaced)
    return sorted(checks, key=lambda check: (check.machine, check.started, check.head)), refused


def _misplaced(check: Check, path: Path) -> tuple[str, str] | None:
    if path.parent.name == check.machine:
        return None
    return "machine", f"{check.machine!r} lies in another machine's folder"
