"""What does one process report about one cell of a whole model? Plain data that crosses a pipe as a line of JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cache
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from fffbench.anonymity import neutral
from fffbench.measure.outcome import NEVER, NEXT_RUN, NOW, plain
from fffbench.plan.models import ModelCell
from fffbench.results.models import Check, Routing, Seconds, Share

__all__ = ["NEVER", "NEXT_RUN", "NOW", "ModelOutcome", "failed", "outcome_from_json"]

_Count = Annotated[int, Field(ge=0, lt=2**53)]


@dataclass(frozen=True)
class ModelOutcome:
    """One cell in one process: samples (seconds per forward pass) with their check, or the failure in words.

    ``prepare_seconds``: compiling and capturing, as far as this mode needs it. ``joules`` of one forward pass, where
    the device says. ``wall``: what the cell took in all.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    cell: Annotated[str, Field(max_length=300)]
    process: Annotated[int, Field(ge=0, lt=10_000)]
    samples: tuple[Seconds, ...] = ()
    check: Check | None = None
    routing: tuple[Routing, ...] = ()
    weights_bytes: _Count = 0
    peak_bytes: _Count = 0
    build_seconds: Share = 0.0
    prepare_seconds: Share = 0.0
    joules: Share | None = None
    notes: tuple[Annotated[str, Field(max_length=2000)], ...] = ()
    failure: Annotated[str, Field(max_length=2000)] | None = None
    wall: Share = 0.0
    retry: Annotated[str, Field(pattern=f"^({NEVER}|{NEXT_RUN}|{NOW})$")] = NEVER

    def to_json(self) -> dict[str, Any]:
        """As a JSON object, which is stored: its texts name no folder, account or host."""
        found = asdict(self)
        found["check"] = None if self.check is None else self.check.model_dump()
        found["routing"] = [one.model_dump() for one in self.routing]
        found["notes"] = [neutral(note) for note in self.notes]
        found["failure"] = self.failure and neutral(self.failure)
        return found


@cache
def _adapter() -> TypeAdapter[ModelOutcome]:
    return TypeAdapter(ModelOutcome)


def outcome_from_json(entry: object) -> ModelOutcome:
    """The outcome that a worker or a journal wrote; ``ValueError``, in one line, where it cannot be stored as one."""
    if not isinstance(entry, dict):
        raise ValueError("an outcome must be a JSON object")  # noqa: TRY004 - of a foreign file, not of the caller
    try:
        outcome = _adapter().validate_json(json.dumps(entry))  # as JSON: strict, and lists are tuples
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc'])) or 'outcome'}: {first['msg']}") from error
    if outcome.failure is None and (not outcome.samples or outcome.check is None):
        raise ValueError("samples: there are none, or no check, and no failure")
    return outcome


def failed(cell: ModelCell, process: int, reason: str, wall: float = 0.0, retry: str = NEVER) -> ModelOutcome:
    """The outcome of a cell that could not be measured."""
    return ModelOutcome(cell.id, process, failure=str(plain(reason)), wall=wall, retry=retry)
