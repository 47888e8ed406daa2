"""What exactly is computed in one cell, and what is it called?

A ``Shape`` is the layer (``problems.Problem``), a ``Workload`` the layer with its batch, dtype,
routing, threads, device and seed, a ``Protocol`` the way the call is timed and
a ``Cell`` all of these for one implementation. Every one of them has an id
that reads, sorts and parses back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache

from fffbench.devices import DEVICES, HOST, Device
from fffbench.errors import UserError, one_of
from fffbench.problems import Data, Problem, parse_problem

Shape = Problem  # the layer of a workload
DTYPES = ("fp32", "tf32", "bf16", "fp16")
DTYPE_BYTES = {"fp32": 4, "tf32": 4, "bf16": 2, "fp16": 2}
# Each value with the sentence that describes it, from which the page, the README and --help are rendered: whoever
# changes a protocol changes its description.
ROUTING_MEANING = {
    "uniform": "random data, so that tokens spread evenly over the leaves",
    "single-path": "every token takes one path, as in the published benchmark",
    "zipf": "few leaves get most tokens",
    "trained": "the weights and inputs of a tree that was trained on MNIST-1D, of that one shape",
}
CACHE_MEANING = {
    "cold": (
        "every line of weights, inputs and outputs is flushed from the caches before each call (where the processor "
        "cannot flush, by reading a buffer of 3 times the last-level cache; on a GPU by overwriting one of 3 times the "
        "L2); the inputs rotate"
    ),
    "warm": "nothing is flushed; one layer's weights, and inputs that rotate over at least as many tokens as leaves",
    "hot": "nothing is flushed; the same input again and again, as published",
}
CALL_MEANING = {
    "kernel": "the bare kernel, with everything allocated beforehand",
    "torch": "what a user calls, allocation of the result included",
    "graph": "the bare kernel inside a CUDA graph",
}
ROUTINGS, CACHES, CALLS = tuple(ROUTING_MEANING), tuple(CACHE_MEANING), tuple(CALL_MEANING)
PROCESS_MEANING = (
    "Each round starts a new worker and goes through all cells in a new random order; on a CPU a process of its own is "
    f"forked for every cell, on a GPU for every {max(item.cells_per_process for item in DEVICES.own.values())} cells."
)


def meanings(values: dict[str, str]) -> str:
    """``cold: every line ...; warm: ...`` for a line of help."""
    return "; ".join(f"{name}: {text}" for name, text in values.items())


FAULTY = "faulty"  # the family of what repeats a published benchmark with its mistakes


@dataclass(frozen=True, order=True)
class Workload:
    """A layer on a batch: the work that every implementation in a comparison must do alike."""

    shape: Shape
    batch: int
    dtype: str = "fp32"
    routing: str = "uniform"
    threads: int = 1
    device: str = HOST
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse values outside the closed sets and counts below their minimum."""
        for what, value, allowed in (
            ("dtype", self.dtype, DTYPES),
            ("routing", self.routing, ROUTINGS),
            ("device", self.device, DEVICES),
        ):
            if value not in allowed:
                raise one_of(what, value, allowed)
        if self.batch < 0 or self.threads < 1 or self.seed < 0:
            raise UserError(
                f"workload batch={self.batch}, threads={self.threads}, seed={self.seed}: "
                "batch and seed must be at least 0 and threads at least 1"
            )
        if (reason := self.shape.refuses(self.routing)) is not None:
            raise UserError(f"routing {self.routing} on {self.shape.id}: {reason}")
        if self.batch % self.shape.together:
            raise UserError(f"batch {self.batch} of {self.shape.id}: must be a multiple of {self.shape.together}")

    @property
    def tokens(self) -> int:
        """Distinct tokens of a pool of inputs: at least one batch, and at least as many tokens as leaves."""
        return max(1, -(-self.shape.leaves // max(1, self.batch))) * self.batch

    def draw(self, tokens: int) -> Data:
        """The weights, and ``tokens`` rows of inputs."""
        return self.shape.draw(self.routing, self.seed, tokens)

    def operations(self, family: str) -> int:
        """Useful floating-point operations of what an implementation of ``family`` computes."""
        return self.shape.seen_by(family).operations(self.batch)

    def bytes(self, family: str, distinct_rows: float | None = None) -> float:
        """Bytes that must move for it at the workload's dtype: x read, y written, each distinct row of weights read.

        ``distinct_rows`` is what the run visited (from its record); without it what is expected.
        """
        problem = self.shape.seen_by(family)
        rows = problem.distinct_rows(self.batch, self.routing) if distinct_rows is None else distinct_rows
        return DTYPE_BYTES[self.dtype] * problem.elements(self.batch, rows)

    @property
    def place(self) -> Device:
        """What is declared of its device."""
        return DEVICES[self.device]

    @property
    def id(self) -> str:
        """``d768-n4095-t1x12-b16384-fp32-uniform-cpu-2th-s0``."""
        return f"{self.shape.id}-b{self.batch}-{self.dtype}-{self.routing}-{self.device}-{self.threads}th-s{self.seed}"


@dataclass(frozen=True, order=True)
class Protocol:
    """How a call is timed: the state of the caches before it, and how much of the software stack is inside it."""

    cache: str = "cold"
    call: str = "kernel"

    def __post_init__(self) -> None:
        """Refuse values outside the closed sets."""
        for what, value, allowed in (("cache protocol", self.cache, CACHES), ("call", self.call, CALLS)):
            if value not in allowed:
                raise one_of(what, value, allowed)

    @property
    def id(self) -> str:
        """``cold-kernel``."""
        return f"{self.cache}-{self.call}"


@dataclass(frozen=True, order=True)
class Cell:
    """One workload x one implementation x one protocol; with a machine, one entry of the results."""

    implementation: str
    workload: Workload
    protocol: Protocol = Protocol()

    def __hash__(self) -> int:
        """By the id, whose hash is kept: every table of a report is looked up by cells, and the fields are twelve."""
        return hash(self.id)

    @cached_property
    def id(self) -> str:
        """``fff_cpu@d768-n4095-t1x12-b1-fp32-uniform-cpu-1th-s0@cold-kernel``."""
        return f"{self.implementation}@{self.workload.id}@{self.protocol.id}"

    @cached_property
    def columns(self) -> tuple[str, int, int, int, int, int, int, str, str, int, str, str]:
        """What tables say of it, from the layer's id to the call."""
        work, shape = self.workload, self.workload.shape
        return (
            *(shape.id, shape.d, shape.n, shape.trees, shape.levels, shape.leaf_width),
            *(work.batch, work.dtype, work.routing, work.threads, self.protocol.cache, self.protocol.call),
        )


def faulty_name(implementation: str) -> bool:
    """Whether an implementation of that name is one of the family ``faulty``: never a baseline, never sped up."""
    return implementation.startswith(f"{FAULTY}_")


_CELL = re.compile(
    r"(?P<implementation>\w+)@(?P<shape>[\w-]+?)"
    r"-b(?P<batch>\d+)-(?P<dtype>\w+)-(?P<routing>[a-z-]+)-(?P<device>\w+)-(?P<threads>\d+)th-s(?P<seed>\d+)"
    r"@(?P<cache>\w+)-(?P<call>\w+)"
)
_IDS_KEPT = 20_000  # some 20 MB: a file's validation, its reader and a claim's plan ask for the same ones
_LONGEST_ID = 300  # a real id has about 70 characters; the bound keeps hostile text out of the parser


@lru_cache(maxsize=_IDS_KEPT)
def parse_cell(text: str) -> Cell:
    """The cell whose id is ``text``; ``UserError`` if it is not an id or its counts contradict each other."""
    match = _CELL.fullmatch(text) if len(text) <= _LONGEST_ID else None
    if match is None:
        raise UserError(
            f"not a cell id: {text[:80]!r}; "
            "one looks like fff_cpu@d768-n4095-t1x12-b1-fp32-uniform-cpu-1th-s0@cold-kernel"
        )
    part = match.groupdict()
    workload = Workload(
        shape=parse_problem(part["shape"]),
        batch=int(part["batch"]),
        dtype=part["dtype"],
        routing=part["routing"],
        threads=int(part["threads"]),
        device=part["device"],
        seed=int(part["seed"]),
    )
    cell = Cell(part["implementation"], workload, Protocol(part["cache"], part["call"]))
    if cell.id != text:  # 0768, or digits of another script: one cell, one id
        raise UserError(f"cell id {text!r} must be written {cell.id}")
    return cell
