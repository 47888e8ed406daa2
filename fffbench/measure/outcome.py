"""What does one process report about one cell? Plain data that crosses a pipe as a line of JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cache
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from fffbench.anonymity import neutral
from fffbench.plan.workload import Cell
from fffbench.units import LONGEST_SECONDS, SHORTEST_SECONDS

# When a cell that failed is tried again. ``NEVER``: the failure is the cell's own. The others are passing: of the
# machine at that moment, not of the code.
NEVER, NEXT_RUN, NOW = "never", "next run", "now"

LONGEST_TEXT = 2000  # characters of a note or reason; what a result file takes

_Seconds = Annotated[float, Field(ge=SHORTEST_SECONDS, lt=LONGEST_SECONDS, allow_inf_nan=False)]
_Share = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=0, lt=2**53)]
_Text = Annotated[str, Field(max_length=LONGEST_TEXT)]


@dataclass(frozen=True)
class Outcome:
    """One cell in one process: either samples with their check, or the failure in words.

    ``samples`` are seconds per call. ``process`` counts the fresh processes of a cell from 0. ``wall`` is what
    the whole job took, for the forecast. ``retry`` says when a failed cell is worth another attempt. ``threads_ran`` is
    on how many threads the calls ran (0: not observed).
    """

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    cell: Annotated[str, Field(max_length=300)]
    process: Annotated[int, Field(ge=0, lt=10_000)]
    samples: tuple[_Seconds, ...] = ()
    error: _Share = 0.0
    tolerance: _Share = 0.0
    tokens: _Count = 0
    diverged: _Count = 0
    diverged_cap: _Count = 0
    distinct_rows: _Share = 0.0
    prepare_seconds: _Share = 0.0
    extra_bytes: _Count = 0
    notes: tuple[_Text, ...] = ()
    failure: _Text | None = None
    wall: _Share = 0.0
    retry: Annotated[str, Field(pattern=f"^({NEVER}|{NEXT_RUN}|{NOW})$")] = NEVER
    threads_ran: _Share = 0.0

    def to_json(self) -> dict[str, Any]:
        """As a JSON object, which is stored: its texts name no folder, account or host."""
        texts = {"notes": [neutral(note) for note in self.notes], "failure": self.failure and neutral(self.failure)}
        return asdict(self) | texts


@cache
def _adapter() -> TypeAdapter[Outcome]:
    return TypeAdapter(Outcome)


def outcome_from_json(entry: object) -> Outcome:
    """The outcome a worker or a journal wrote; ``ValueError``, in one line, where it cannot be stored as one."""
    if not isinstance(entry, dict):
        raise ValueError("an outcome must be a JSON object")  # noqa: TRY004 - of a foreign file, not of the caller
    cleaned = dict(entry)
    if isinstance(entry.get("notes"), list):
        cleaned["notes"] = [plain(note) for note in entry["notes"]]
    if "failure" in entry:
        cleaned["failure"] = plain(entry["failure"])
    try:
        outcome = _adapter().validate_json(json.dumps(cleaned))  # as JSON: strict, and lists are tuples
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc'])) or 'outcome'}: {first['msg']}") from error
    if not outcome.samples and not outcome.failure:
        raise ValueError("samples: there are none, and no failure")
    if outcome.samples and outcome.failure is not None:
        raise ValueError("failure: there are samples too")
    return outcome


def plain(text: object) -> object:
    """``text`` as one line that every file and terminal takes: no control characters or lone surrogates, not too long.

    What is no string is returned as it is.
    """
    if not isinstance(text, str):
        return text
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 2 * LONGEST_TEXT]).split())
    line = line.encode("utf-8", "backslashreplace").decode()
    return line if len(line) <= LONGEST_TEXT else f"{line[: LONGEST_TEXT - 3]}..."


def failed(cell: Cell, process: int, reason: str, wall: float = 0.0, retry: str = NEVER) -> Outcome:
    """The outcome of a cell that could not be measured."""
    return Outcome(cell.id, process, failure=str(plain(reason)), wall=wall, retry=retry)
