"""What has been published about the speed of FFF, and how would one check it?

One TOML file per claim in ``fffbench/claims``. A file holds what was claimed
and under which conditions, never a verdict.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from fffbench.devices import DEVICES
from fffbench.errors import UserError
from fffbench.files import read_plain
from fffbench.plan.workload import CALLS, Shape

FOLDER = Path(__file__).parent.parent / "claims"
BERT_WIDTH = 3072
MAX_BYTES = 2**20  # of one claim: the longest has 2 kB
FACTOR = 1.25  # a figure counts as reached from published / FACTOR on: other hardware, same order of merit

Line = Annotated[str, Field(min_length=1, max_length=1000)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

# What a claim about counts can be about; each is arithmetic on the layer's shape.
FORMULAS: dict[str, Callable[[Shape], float]] = {
    "active": lambda shape: float(shape.active),
    "active_share": lambda shape: shape.active / shape.n,
    "ceiling": lambda shape: shape.ceiling,
    "saving_if_ceiling": lambda shape: 1 - 1 / shape.ceiling,
    "width_over_bert": lambda shape: shape.n / BERT_WIDTH,
}


NEEDED = {
    "ratio": ("subject", "workload", "conditions.fair"),
    "count": ("formula", "workload"),
    "untestable": ("untestable",),
}


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Subject(_Strict):
    """Whose speed is claimed: named implementations, or a family; the fastest of them counts."""

    family: Literal["dense", "cmm", "fff"] | None = None
    implementations: tuple[Line, ...] = ()

    @model_validator(mode="after")
    def _one_of_both(self) -> Subject:
        if (self.family is None) == (not self.implementations):
            raise ValueError("give either family or implementations")
        return self


class Conditions(_Strict):
    """Under which protocol and against which baseline; ``call`` lists what will do, the first measured one counts.

    ``threads`` is a number, ``fastest`` (each side at its own best) or ``any`` (every thread count measured, the
    same on both sides; the one nearest to the published figure decides, because the publication gives none).
    ``or_batch`` are batches that will do as well, for sides that treat one token after the other.
    """

    baseline: Literal["published", "same-primitive", "bert", "best-dense", "wider"]
    cache: Literal["cold", "warm", "hot"]
    call: tuple[Literal["kernel", "torch", "graph"], ...] = Field(min_length=1, max_length=len(CALLS))
    routing: Literal["uniform", "single-path"]
    threads: Literal["fastest", "any"] | Annotated[int, Field(ge=1)] = "fastest"
    or_batch: tuple[Annotated[int, Field(ge=1)], ...] = ()
    subject: Subject | None = None


def _known_devices(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in DEVICES:
            raise ValueError(f"unknown device {name!r}; allowed: {', '.join(DEVICES)}")
    return names


class Selector(_Strict):
    """The work the claim is about: a tree, or with ``trees = 0`` a dense layer of ``n`` neurons."""

    d: Annotated[int, Field(ge=1)]
    n: Annotated[int, Field(ge=1)] | None = None
    trees: Annotated[int, Field(ge=0)] = 1
    levels: Annotated[int, Field(ge=0, le=24)] = 0
    leaf_width: Annotated[int, Field(ge=0)] = 0
    batch: Annotated[int, Field(ge=1)] | None = None
    dtype: Literal["fp32", "tf32", "bf16", "fp16"] | None = None
    devices: Annotated[tuple[str, ...], AfterValidator(_known_devices)] = tuple(DEVICES.own)

    @model_validator(mode="after")
    def _tree_or_width(self) -> Selector:
        if (self.n is None) != bool(self.trees) or bool(self.trees) != bool(self.levels):
            raise ValueError("give either levels (with trees) or n with trees = 0")
        return self

    @property
    def shape(self) -> Shape:
        """The layer."""
        if self.n is not None:
            return Shape.dense(self.d, self.n)
        if self.leaf_width:
            return Shape.leaf(self.d, self.trees, self.levels, self.leaf_width)
        return Shape.tree(self.d, self.trees, self.levels)


class Claim(_Strict):
    """One published figure. ``band`` replaces the factor of 1.25 and must say why."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,59}$")]
    order: int = 100
    statement: Line
    source: Line
    confidence: Literal["confirmed", "secondary", "recalled", "derived"]
    kind: Literal["ratio", "count", "untestable"]
    published: Positive
    shown: Annotated[str, Field(min_length=1, max_length=40)]
    short: Annotated[str, Field(max_length=40)] = ""
    note: Annotated[str, Field(max_length=1000)] = ""
    chart: bool = True  # whether the figure belongs to the first chart
    formula: Literal["active", "active_share", "ceiling", "saving_if_ceiling", "width_over_bert"] | None = None
    subject: Subject | None = None
    workload: Selector | None = None
    conditions: dict[Literal["published", "fair"], Conditions] = {}
    untestable: Annotated[str, Field(max_length=1000)] = ""
    band: Annotated[float, Field(gt=1, le=10)] = FACTOR
    why_this_band: Annotated[str, Field(max_length=1000)] = ""

    @model_validator(mode="after")
    def _complete(self) -> Claim:
        given = {name: getattr(self, name) for name in type(self).model_fields}
        given["conditions.fair"] = self.conditions.get("fair")
        missing = [name for name in NEEDED[self.kind] if not given[name]]
        if missing:
            raise ValueError(f"a claim of kind {self.kind!r} needs {', '.join(missing)}")
        if self.kind == "ratio" and self.workload and not (self.workload.batch and self.workload.dtype):
            raise ValueError("a claim of kind 'ratio' needs workload.batch and workload.dtype")
        if self.band != FACTOR and not self.why_this_band:
            raise ValueError("a band other than 1.25 needs why_this_band")
        return self


def _first(error: ValidationError) -> str:
    """Field and reason of the first complaint."""
    first = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    given = "" if isinstance(first["input"], dict | list) else f", not {str(first['input'])[:60]!r}"
    return f"{where + ': ' if where else ''}{first['msg']}{given}"


def read_claim(path: Path) -> Claim:
    """The claim in the TOML file ``path``; ``UserError`` naming file and field if it is not one."""
    try:
        data = tomllib.loads(read_plain(path, MAX_BYTES, links=True).decode("utf-8"))
        claim = Claim.model_validate(data)
    except OSError as error:
        raise UserError(f"claim {path.name}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise UserError(f"claim {path.name}: {_first(error)}") from error
    except (ValueError, RecursionError) as error:  # not TOML, not UTF-8, a number of thousands of digits, too large
        raise UserError(f"claim {path.name}: not valid TOML: {error}") from error
    except UserError as error:
        raise UserError(f"claim {path.name}: {error}") from error
    if claim.id != path.stem:
        raise UserError(f"claim {path.name}: id: {claim.id!r} differs from the file's name")
    return claim


def load_claims(folder: Path = FOLDER) -> list[Claim]:
    """Every claim of the ledger in reading order."""
    claims = [read_claim(path) for path in sorted(folder.glob("*.toml"))]
    if not claims:
        raise UserError(f"no claims (*.toml) in {str(folder)!r}")
    return sorted(claims, key=lambda claim: (claim.order, claim.id))
