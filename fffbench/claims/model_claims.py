"""What do measurements of whole models say about what was published of whole models?

One TOML file per figure in ``fffbench/claims/models``. A ``slowdown`` is the time of the variant over that of the model
as it is, both run eagerly, as published. ``at-most`` asks whether a model can gain the figure at all: its interval is
that of the model without feedforward layers, each side at its best mode, and what falls short is excluded for every
replacement. The rule is that of all claims (``rule``); verdicts are computed each time and never stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from fffbench.analysis.models import ModelRow, work_title
from fffbench.analysis.stats import Estimate
from fffbench.claims.base import FACTOR
from fffbench.claims.ledger import FOLDER as LEDGER
from fffbench.claims.rule import NOT_MEASURED, OF_POSITION, position
from fffbench.devices import device
from fffbench.errors import UserError
from fffbench.plan.models import Variant
from fffbench.tomlfiles import named, read_toml
from fffbench.units import number, ratio

FOLDER, ELSEWHERE = LEDGER / "models", LEDGER / "elsewhere" / "figures.toml"
COMMAND = "fffbench run --preset models"

Line = Annotated[str, Field(min_length=1, max_length=1000)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelClaim(_Strict):
    """One published figure about whole models."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,59}$")]
    order: int
    statement: Line
    source: Line
    confidence: Literal["confirmed", "secondary", "recalled", "derived"]
    published: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    shown: Annotated[str, Field(min_length=1, max_length=40)]
    model: Line
    phase: Literal["encode", "prefill", "decode"]
    variant: Line
    quantity: Literal["slowdown", "at-most"]
    devices: tuple[Line, ...] = ()  # all where none is named
    note: Annotated[str, Field(max_length=1000)] = ""
    band: Annotated[float, Field(gt=1, le=10)] = FACTOR


class Figure(_Strict):
    """What somebody published about other conditional computation, on other hardware, against another baseline."""

    work: Line
    source: Line
    figure: Line
    kind: Literal["whole-model", "layer", "training", "accuracy"]
    against: Line
    known: Literal["read", "secondary", "recalled"]
    factor: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    note: Annotated[str, Field(max_length=1000)] = ""


@dataclass(frozen=True)
class ModelVerdict:
    """One claim on one work of one machine; ``measured`` with its interval is what ``published`` is held against."""

    id: str
    statement: str
    source: str
    confidence: str
    published: float
    shown: str
    machine: str | None
    work: str | None
    measured: float | None
    low: float | None
    high: float | None
    verdict: str
    reason: str
    records: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As the command line prints it."""
        return asdict(self)


def load_model_claims(folder: Path = FOLDER) -> list[ModelClaim]:
    """Every claim about whole models, in reading order; ``UserError`` naming file and field where one is none."""
    claims = []
    for path in sorted(folder.glob("*.toml")):
        with named(f"claim {path.name}"):
            claim = ModelClaim.model_validate(read_toml(path))
            Variant.parse(claim.variant)
            for name in claim.devices:
                device(name)
            if claim.id != path.stem:
                raise UserError(f"id: {claim.id!r} differs from the file's name")
        claims.append(claim)
    return sorted(claims, key=lambda claim: (claim.order, claim.id))


def load_figures(path: Path = ELSEWHERE) -> list[Figure]:
    """What was published elsewhere, whole models first, by factor."""
    with named(f"claim {path.name}"):
        figures = [Figure.model_validate(entry) for entry in read_toml(path).get("figure", [])]
    kinds = ("whole-model", "layer", "training", "accuracy")
    return sorted(figures, key=lambda one: (kinds.index(one.kind), one.factor or 0.0))


def judge_models(rows: Sequence[ModelRow], claims: Sequence[ModelClaim] | None = None) -> list[ModelVerdict]:
    """Every claim on every work that was measured; one line that says what to run where none was."""
    found: list[ModelVerdict] = []
    for claim in load_model_claims() if claims is None else claims:
        own = [verdict for row in rows if (verdict := _judged(claim, row)) is not None]
        reason = f"No machine has results for it; `{COMMAND}` measures it."
        found += own or [_verdict(claim, None, None, NOT_MEASURED, reason)]
    return found


def _judged(claim: ModelClaim, row: ModelRow) -> ModelVerdict | None:
    work = row.work
    about = (work.model, work.phase, row.variant) == (claim.model, claim.phase, claim.variant)
    if not about or (claim.devices and work.device not in claim.devices):
        return None
    if claim.quantity == "slowdown":
        gain = row.same_mode.get("eager")
        if gain is None:
            return None
        value = Estimate(1 / gain.value, 1 / gain.high, 1 / gain.low, gain.coverage, gain.provisional)
        said = f"{work_title(work)}: it takes {ratio(value.value, value.low, value.high)} the time"
    else:
        if row.gain_estimate is None:
            return None
        value = row.gain_estimate
        said = (
            f"{work_title(work)}: without any feedforward layer {ratio(value.value, value.low, value.high)}, "
            f"which is {number(claim.published / value.value)} times less than {claim.published:g}x"
        )
    verdict = OF_POSITION[position(claim, value.low, value.high, value.coverage)]
    return _verdict(claim, row, value, verdict, f"{said}.")


def _verdict(
    claim: ModelClaim, row: ModelRow | None, value: Estimate | None, verdict: str, reason: str
) -> ModelVerdict:
    return ModelVerdict(
        claim.id,
        claim.statement,
        claim.source,
        claim.confidence,
        claim.published,
        claim.shown,
        None if row is None else row.machine,
        None if row is None else row.work.id,
        None if value is None else value.value,
        None if value is None else value.low,
        None if value is None else value.high,
        verdict,
        reason,
        () if row is None else row.records,
    )


def pattern(figures: Sequence[Figure]) -> str:
    """What the figures of whole models have in common, in one sentence made from them."""
    factors = sorted(one.factor for one in figures if one.kind == "whole-model" and one.factor is not None)
    if len(factors) < 3:
        return ""
    middle = [factor for factor in factors if factor <= 2]
    return (
        f"Of {len(factors)} published figures for whole models with conditional computation, {len(middle)} lie between "
        f"{number(middle[0])}x and {number(middle[-1])}x; the largest is {number(factors[-1])}x."
    )
