"""What did the regression checks say? Reads ``results/regress/<machine>/*.json``.

Format history (key ``format``): 1 is the first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from fffbench.results.reader import Refusal, parse_json, shown_path, why
from fffbench.results.record import Text, _Plain

REGRESS = "regress"
FORMAT = 1

Finite = Annotated[float, Field(allow_inf_nan=False)]
Answer = Annotated[str, Field(pattern=r"^(regression|none|inconclusive)$")]


class Compared(_Plain):
    """One case: its answer, head over base with the bounds of the last look, and the block log-ratios behind them."""

    case: Text
    answer: Answer
    ratio: Finite
    low: Finite
    high: Finite
    base_seconds: Finite
    blocks: list[Finite]


class ControlRow(_Plain):
    """One control: whether it did what it must, and what it did."""

    name: Text
    passed: bool
    said: Text
    blocks: list[Finite]


class Check(_Plain):
    """One regression check, whole."""

    format: Annotated[int, Field(ge=1)]
    machine: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,79}$")]
    started: Text
    base: Text
    head: Text
    answer: Answer
    reason: Text
    seconds: Finite
    plan: dict[str, Finite | list[int]]
    cases: list[Compared]
    controls: list[ControlRow]
    skipped: dict[Text, Text]


def read_checks(root: Path) -> tuple[list[Check], list[Refusal]]:
    """Every check under ``root``, by machine and time, and what could not be read."""
    checks: list[Check] = []
    refused: list[Refusal] = []
    for path in sorted((root / REGRESS).glob("*/*.json")):
        shown = shown_path(path, root)
        try:
            check = Check.model_validate(parse_json(path))
        except ValidationError as error:  # a ValueError too, with the field
            refused.append(Refusal(shown, *why(error)))
        except (ValueError, OSError) as error:
            refused.append(Refusal(shown, "", str(error)))
        else:
            if check.format > FORMAT:
                refused.append(Refusal(shown, "format", f"{check.format} is newer than this fffbench reads ({FORMAT})"))
            elif path.parent.name != check.machine:
                refused.append(Refusal(shown, "machine", f"{check.machine!r} lies in another machine's folder"))
            else:
                checks.append(check)
    return sorted(checks, key=lambda check: (check.machine, check.started, check.head)), refused
