"""What does the journal of a run over whole models hold?"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fffbench.errors import UserError
from fffbench.models.outcome import ModelOutcome, outcome_from_json
from fffbench.results.journal import Journal
from fffbench.results.record import RunInfo

SUFFIX = ".journal"


class Header(BaseModel):
    """A journal's first line."""

    model_config = ConfigDict(frozen=True, strict=True)

    plan: str
    run: RunInfo
    processes: int = Field(ge=1, le=1000)
    cells: list[str]
    skipped: list[tuple[str, str]] = []
    timed_sources: str = ""


def read_journal(path: Path) -> tuple[Header, tuple[ModelOutcome, ...]]:
    """What a journal holds; lines that cannot be used are left out, and nothing replaces a success."""
    first, entries, _ = Journal.numbered(path)
    try:
        header = Header.model_validate_json(json.dumps(first))
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise UserError(f"journal {str(path)!r}: not a journal of this version ({where}); move it away") from error
    planned = set(header.cells)
    outcomes: dict[tuple[str, int], ModelOutcome] = {}
    for _, entry in entries:
        try:
            one = outcome_from_json(entry.get("outcome"))
        except ValueError:
            continue
        key = one.cell, one.process
        if one.cell in planned and one.process < header.processes and (key not in outcomes or outcomes[key].failure):
            outcomes[key] = one
    return header, tuple(outcomes.values())
