"""What does one process report about one cell? Plain data that crosses a pipe as a line of JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from fffbench.anonymity import neutral
from fffbench.plan.workload import Cell


@dataclass(frozen=True)
class Outcome:
    """One cell in one process: either samples with their check, or the failure in words.

    ``samples`` are seconds per call. ``process`` counts the fresh processes of a cell from 0. ``wall`` is what
    the whole job took, for the forecast. ``threads_ran`` is on how many threads the calls ran (0: not observed).
    """

    cell: str
    process: int
    samples: tuple[float, ...] = ()
    error: float = 0.0
    tolerance: float = 0.0
    tokens: int = 0
    diverged: int = 0
    diverged_cap: int = 0
    distinct_rows: float = 0.0
    prepare_seconds: float = 0.0
    extra_bytes: int = 0
    notes: tuple[str, ...] = ()
    failure: str | None = None
    wall: float = 0.0
    threads_ran: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """As a JSON object, which is stored: its texts name no folder, account or host."""
        texts = {"notes": [neutral(note) for note in self.notes], "failure": self.failure and neutral(self.failure)}
        return asdict(self) | texts


def outcome_from_json(entry: dict[str, Any]) -> Outcome:
    """The outcome a worker or a journal wrote; ``TypeError`` for foreign keys."""
    return Outcome(**{**entry, "samples": tuple(entry.get("samples", ())), "notes": tuple(entry.get("notes", ()))})


def failed(cell: Cell, process: int, reason: str, wall: float = 0.0) -> Outcome:
    """The outcome of a cell that could not be measured."""
    return Outcome(cell.id, process, failure=reason, wall=wall)
