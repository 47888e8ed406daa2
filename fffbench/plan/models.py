"""Which whole models are measured, with what in the place of their feedforward layers, and what is that called?

A ``Work`` is what is asked of a model (phase, batch, sequence, type, device, threads),
a ``ModelCell`` a work with a ``Variant`` of its feedforward layers in one mode of execution. Ids read, sort and parse
back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from fffbench.devices import HOST
from fffbench.devices import device as device_of
from fffbench.errors import UserError, one_of
from fffbench.plan.architectures import ARCHITECTURES, Architecture
from fffbench.plan.workload import Shape

DTYPES = ("fp32", "bf16", "fp16")
MODES = (  # of execution
    "eager",  # operation by operation, as PyTorch runs a model that nobody prepared
    "compiled",  # every layer compiled by torch.compile
    "graph",  # the whole forward pass captured in one CUDA graph
    "compiled-graph",
)

_TREE = r"(?P<trees>\d{1,5})x(?P<levels>\d{1,2})"
_VARIANTS = {
    "dense": re.compile("dense"),  # the model as it is
    "none": re.compile("none"),  # the feedforward layers left out: the most that any replacement can give
    "fff": re.compile(f"fff-{_TREE}"),  # trees in place of the feedforward layers, by the kernels here
    "masked": re.compile(f"masked-{_TREE}"),  # the same trees as the published model: all neurons, then a mask
    "small": re.compile(r"small-(?P<n>\d{1,6})"),  # feedforward layers of so few neurons
    # mixtures of experts of equal size, by torch's grouped product
    "moe": re.compile(r"moe-(?P<experts>\d{1,5})x(?P<width>\d{1,5})-top(?P<top>\d{1,3})"),
    "int8": re.compile("int8"),  # all linear layers in dynamic int8, with nothing replaced
    "int8-fff": re.compile(f"int8-fff-{_TREE}"),  # trees, and what is left in dynamic int8
}


@dataclass(frozen=True, order=True)
class Variant:
    """What is in the place of the feedforward layers: a kind, with the numbers that it has."""

    kind: str
    trees: int = 0
    levels: int = 0
    n: int = 0
    experts: int = 0
    width: int = 0
    top: int = 0

    @classmethod
    def parse(cls, text: str) -> Variant:
        """``dense``, ``none``, ``fff-1x12``, ``masked-1x12``, ``small-96``, ``moe-32x96-top1``, ``int8``."""
        for kind, pattern in _VARIANTS.items():
            match = pattern.fullmatch(text)
            if match is None:
                continue
            variant = cls(kind, **{name: int(value) for name, value in match.groupdict().items()})
            variant.check()
            return variant
        raise one_of("variant", text[:60], ("dense, none, fff-1x12, masked-1x12, small-96, moe-32x96-top1, int8",))

    def check(self) -> None:
        """``UserError`` for counts that make no layer."""
        if self.trees or self.levels:
            Shape.tree(1, self.trees, self.levels)
        counts = {"small": (self.n,), "moe": (self.experts, self.width, self.top)}.get(self.kind, (1,))
        if min(counts) < 1 or self.top > self.experts:
            raise UserError(
                f"variant {self.id}: counts must be at least 1, and no token has more experts than there are"
            )

    @property
    def id(self) -> str:
        """As ``parse`` takes it."""
        if self.kind == "small":
            return f"small-{self.n}"
        if self.kind == "moe":
            return f"moe-{self.experts}x{self.width}-top{self.top}"
        return f"{self.kind}-{self.trees}x{self.levels}" if self.trees else self.kind

    @property
    def is_tree(self) -> bool:
        """Whether tokens are routed through trees, so that a histogram of paths belongs to it."""
        return self.trees > 0

    def neurons(self, ffn: int) -> int:
        """Neurons in a layer that had ``ffn``."""
        of_tree = int(self.trees * (2**self.levels - 1))
        return {"dense": ffn, "int8": ffn, "small": self.n, "moe": self.experts * self.width}.get(self.kind, of_tree)

    def used(self, ffn: int) -> int:
        """Of these, how many one token is meant to use."""
        of_tree = self.trees * self.levels
        return {"dense": ffn, "int8": ffn, "small": self.n, "moe": self.top * self.width}.get(self.kind, of_tree)


@dataclass(frozen=True, order=True)
class Work:
    """What is asked of a model; what is compared has this in common."""

    model: str
    phase: str
    batch: int
    sequence: int
    dtype: str = "fp32"
    device: str = HOST
    threads: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what is no model, or cannot be asked of it."""
        for what, value, allowed in (
            ("model", self.model, tuple(ARCHITECTURES)),
            ("dtype", self.dtype, DTYPES),
        ):
            if value not in allowed:
                raise one_of(what, value, allowed)
        device_of(self.device)
        if self.phase not in self.architecture.phases:
            raise one_of(f"phase of {self.model}", self.phase, self.architecture.phases)
        longest = self.architecture.positions - (self.phase == "decode")
        if self.batch < 1 or not 1 <= self.sequence <= longest or self.threads < 1 or self.seed < 0:
            raise UserError(
                f"work batch={self.batch}, sequence={self.sequence}, threads={self.threads}, seed={self.seed}: "
                f"batch and threads must be at least 1, the sequence from 1 to {longest}"
            )

    @property
    def architecture(self) -> Architecture:
        """The model's shape."""
        return ARCHITECTURES[self.model]

    @property
    def new_tokens(self) -> int:
        """Tokens that pass through the layers in one forward pass."""
        return self.batch * (1 if self.phase == "decode" else self.sequence)

    @property
    def bound(self) -> float:
        """What a model gains at most by a feedforward layer that costs nothing, by its multiply-adds (Amdahl's law)."""
        return 1 / (1 - self.architecture.feedforward_share(self.phase, self.batch, self.sequence))

    @property
    def id(self) -> str:
        """``bert-base-encode-b1x128-fp32-cpu-2th-s0``."""
        shape = f"{self.model}-{self.phase}-b{self.batch}x{self.sequence}"
        return f"{shape}-{self.dtype}-{self.device}-{self.threads}th-s{self.seed}"


def modes_on(device: str) -> tuple[str, ...]:
    """The modes that a device has: no graphs where calls cannot be captured."""
    graphs = "graph" in device_of(device).calls
    return tuple(mode for mode in MODES if graphs or "graph" not in mode)


@dataclass(frozen=True, order=True)
class ModelCell:
    """One work x one variant x one mode; with a machine, one entry of the results."""

    work: Work
    variant: Variant
    mode: str = "eager"

    def __post_init__(self) -> None:
        """Refuse modes that the device does not have."""
        allowed = modes_on(self.work.device)
        if self.mode not in allowed:
            raise one_of(f"mode on {self.work.device}", self.mode, allowed)

    @property
    def id(self) -> str:
        """``fff-1x12@bert-base-encode-b1x128-fp32-cpu-2th-s0@eager``."""
        return f"{self.variant.id}@{self.work.id}@{self.mode}"


_CELL = re.compile(
    r"(?P<variant>[a-z0-9-]+)@(?P<model>[a-z0-9.-]+)-(?P<phase>encode|prefill|decode)-b(?P<batch>\d{1,7})x"
    r"(?P<sequence>\d{1,7})-(?P<dtype>\w+)-(?P<device>\w+)-(?P<threads>\d{1,5})th-s(?P<seed>\d{1,9})@(?P<mode>[a-z-]+)"
)
_LONGEST_ID = 200  # a real id has about 70 characters


@lru_cache(maxsize=20_000)
def parse_model_cell(text: str) -> ModelCell:
    """The cell whose id is ``text``; ``UserError`` if it is not one."""
    match = _CELL.fullmatch(text) if len(text) <= _LONGEST_ID else None
    if match is None:
        raise UserError(
            f"not the id of a model's cell: {text[:80]!r}; "
            "one looks like fff-1x12@bert-base-encode-b1x128-fp32-cpu-2th-s0@eager"
        )
    part = match.groupdict()
    numbers = {name: int(part[name]) for name in ("batch", "sequence", "threads", "seed")}
    work = Work(part["model"], part["phase"], dtype=part["dtype"], device=part["device"], **numbers)
    cell = ModelCell(work, Variant.parse(part["variant"]), part["mode"])
    if cell.id != text:
        raise UserError(f"{text!r} is not spelt as its id, {cell.id!r}")
    return cell
