"""What must be known of a published figure, whatever it is about?

A kind of claim is a subclass of ``Claim``: a model of its file, checked when it is read, with ``judge``, which compares
it with what was measured.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from fffbench.analysis.baselines import TABLE, WIDER
from fffbench.analysis.fidelity import Climb
from fffbench.analysis.rows import Speedup
from fffbench.devices import DEVICES
from fffbench.plan.workload import CALLS, Shape
from fffbench.results.store import Results
from fffbench.units import number

if TYPE_CHECKING:
    from fffbench.claims.rows import ClaimRow

FACTOR = 1.25  # a figure counts as reached from published / FACTOR on; fixed before any result was looked at

Line = Annotated[str, Field(min_length=1, max_length=1000)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Work = tuple[str, str]  # the id of the layer, dtype


class Strict(BaseModel):
    """A part of a claim's file; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class Evidence:
    """Everything a claim may be judged by: the records, and what the analysis made of them."""

    results: Results
    rows: dict[Work, list[Speedup]] = field(default_factory=dict)  # every speed-up, by layer and dtype
    ladders: dict[tuple[str, str, str], list[Climb]] = field(default_factory=dict)  # by claim, machine and device

    @classmethod
    def of(cls, results: Results, rows: Iterable[Speedup], ladders: Iterable[Climb] = ()) -> Evidence:
        """The evidence with rows and ladders sorted by what asks for them."""
        by_work: dict[Work, list[Speedup]] = defaultdict(list)
        for row in rows:
            by_work[row.shape, row.dtype].append(row)
        by_claim: dict[tuple[str, str, str], list[Climb]] = defaultdict(list)
        for item in ladders:
            by_claim[item.claim, item.machine, item.device].append(item)
        return cls(results, by_work, by_claim)


class Subject(Strict):
    """Whose speed is claimed: named implementations, or a family; the fastest of them counts."""

    family: Literal["dense", "cmm", "fff"] | None = None
    implementations: tuple[Line, ...] = ()

    @model_validator(mode="after")
    def _one_of_both(self) -> Subject:
        if (self.family is None) == (not self.implementations):
            raise ValueError("give either family or implementations")
        return self


def _known_baseline(name: str) -> str:
    if name not in (*TABLE, WIDER):
        raise ValueError(f"unknown baseline {name!r}; allowed: {', '.join((*TABLE, WIDER))}")
    return name


class Conditions(Strict):
    """Under which protocol and against which baseline; ``call`` lists what will do, the first measured one counts.

    ``threads`` is a number, ``fastest`` (each side at its own best) or ``any`` (every thread count measured, the
    same on both sides; the one nearest to the published figure decides, because the publication gives none).
    ``or_batch`` are batches that will do as well, for sides that treat one token after the other.
    """

    baseline: Annotated[str, AfterValidator(_known_baseline)]
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


class Selector(Strict):
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


class Claim(Strict):
    """One published figure. ``band`` replaces the factor of 1.25 and must say why."""

    needed: ClassVar[tuple[str, ...]] = ()  # of the keys that have a default, those that a kind cannot do without
    measurable: ClassVar[bool] = True  # whether machines decide it; else it is judged on paper
    # whether its rows about a machine rest on that machine's results alone, and where no machine answers, its rows
    # on skipped cells and on which devices there are: then machines can be judged apart
    of_each_machine: ClassVar[bool] = False

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,59}$")]
    order: int = 100
    statement: Line
    source: Line
    confidence: Literal["confirmed", "secondary", "recalled", "derived"]
    kind: str
    published: Positive
    shown: Annotated[str, Field(min_length=1, max_length=40)]
    short: Annotated[str, Field(max_length=40)] = ""
    note: Annotated[str, Field(max_length=1000)] = ""
    chart: bool = True  # whether the figure belongs to the first chart
    subject: Subject | None = None
    workload: Selector | None = None
    conditions: dict[Literal["published", "fair"], Conditions] = {}
    band: Annotated[float, Field(gt=1, le=10)] = FACTOR
    why_this_band: Annotated[str, Field(max_length=1000)] = ""

    @model_validator(mode="after")
    def _complete(self) -> Claim:
        given = {name: getattr(self, name) for name in type(self).model_fields}
        given["conditions.fair"] = self.conditions.get("fair")
        missing = [name for name in self.needed if not given[name]]
        if missing:
            raise ValueError(f"a claim of kind {self.kind!r} needs {', '.join(missing)}")
        if self.band != FACTOR and not self.why_this_band:
            raise ValueError("a band other than 1.25 needs why_this_band")
        return self

    @property
    def limits(self) -> tuple[float, float]:
        """Between which values the figure counts as reached."""
        return self.published / self.band, self.published * self.band

    @property
    def work(self) -> Work | None:
        """The layer and dtype that its rows are about; None where it is about no measured work."""
        want = self.workload
        if want is None or want.dtype is None:
            return None
        return want.shape.id, want.dtype

    @abstractmethod
    def judge(self, evidence: Evidence) -> Sequence[ClaimRow]:
        """Its rows: at least one, each with a verdict and a reason."""

    def written(self, value: float) -> str:
        """A value in the unit of the claim, as in ``1.45 ms`` or ``78.0x``."""
        return number(value)

    def command(self) -> str:
        """The command that measures what decides it; empty where no command line can name that."""
        return ""
