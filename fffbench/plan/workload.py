"""What exactly is computed in one cell, and what is it called?

A ``Shape`` is the layer, a ``Workload`` the layer with its batch, dtype,
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

DTYPES = ("fp32", "tf32", "bf16", "fp16")
DTYPE_BYTES = {"fp32": 4, "tf32": 4, "bf16": 2, "fp16": 2}
# Each value with the sentence that describes it, from which the page, the README and --help are rendered: whoever
# changes a protocol changes its description.
ROUTING_MEANING = {
    "uniform": "random data, so that tokens spread evenly over the leaves",
    "single-path": "every token takes one path, as in the published benchmark",
    "zipf": "few leaves get most tokens",
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

MAX_LEVELS = 24  # 2**24 - 1 neurons of 768 fp32 weights, twice, are 103 GB: no machine at hand holds more
MAX_ELEMENTS = 2**38  # of one weight matrix: 1.1 TB in fp32


@dataclass(frozen=True, order=True)
class Shape:
    """A feedforward layer: ``d`` inputs and outputs, ``n`` neurons, and the tree over them if there is one.

    ``trees`` complete binary trees of ``levels`` levels (``n = trees * (2**levels - 1)``), or with
    ``leaf_width > 0`` the leaf form: ``levels`` levels of routing nodes above ``2**levels`` leaf blocks of
    ``leaf_width`` neurons a tree. ``trees == 0`` is a plain dense layer.
    """

    d: int
    n: int
    trees: int = 0
    levels: int = 0
    leaf_width: int = 0

    def __post_init__(self) -> None:
        """Refuse what no memory holds, before anything is computed from it."""
        if self.d * self.n > MAX_ELEMENTS:
            raise UserError(f"shape d={self.d}, n={self.n}: d * n must be at most 2**38, 1.1 TB of fp32 weights")

    @classmethod
    def tree(cls, d: int, trees: int, levels: int) -> Shape:
        """The tree FFF of ``trees * (2**levels - 1)`` neurons."""
        if d < 1 or trees < 1 or not 1 <= levels <= MAX_LEVELS:
            raise UserError(
                f"shape d={d}, trees={trees}, levels={levels}: "
                f"d and trees must be at least 1 and levels from 1 to {MAX_LEVELS}"
            )
        return cls(d, trees * (2**levels - 1), trees, levels)

    @classmethod
    def leaf(cls, d: int, trees: int, levels: int, leaf_width: int) -> Shape:
        """The leaf FFF of 2023: ``levels`` levels of routers, then one block of ``leaf_width`` neurons a token."""
        if d < 1 or trees < 1 or leaf_width < 1 or not 0 <= levels <= MAX_LEVELS:
            raise UserError(
                f"leaf shape d={d}, trees={trees}, levels={levels}, leaf_width={leaf_width}: "
                f"d, trees and leaf_width must be at least 1 and levels from 0 to {MAX_LEVELS}"
            )
        return cls(d, trees * leaf_width * 2**levels, trees, levels, leaf_width)

    @classmethod
    def dense(cls, d: int, n: int) -> Shape:
        """A plain layer of ``n`` neurons."""
        if d < 1 or n < 1:
            raise UserError(f"shape d={d}, n={n}: both must be at least 1")
        return cls(d, n)

    @property
    def is_tree(self) -> bool:
        """Whether conditional implementations can run it."""
        return self.trees > 0

    @property
    def routers(self) -> int:
        """Inner nodes of the leaf form, which only route; 0 in every other form, whose nodes are neurons."""
        return int(self.trees * (2**self.levels - 1)) if self.leaf_width else 0

    @property
    def turns(self) -> int:
        """Turns that decide a token's path through one tree; below the last level of the tree form lies nothing."""
        return self.levels if self.leaf_width else max(0, self.levels - 1)

    @property
    def active(self) -> int:
        """Neurons that one token evaluates: the path of every tree, or the routers and the leaf block."""
        if not self.is_tree:
            return self.n
        return self.trees * (self.levels + self.leaf_width)

    @property
    def leaves(self) -> int:
        """Paths through one tree."""
        return int(2**self.turns)

    @property
    def ceiling(self) -> float:
        """The operation-count bound on speed-up, n / (trees * levels); 341.25 at 4095/12."""
        return self.n / self.active

    @property
    def id(self) -> str:
        """``d768-n4095-t1x12``, ``d768-n3072``, or ``d768-n1024-t1x5l32`` with leaf blocks."""
        base = f"d{self.d}-n{self.n}"
        if not self.is_tree:
            return base
        return f"{base}-t{self.trees}x{self.levels}" + (f"l{self.leaf_width}" if self.leaf_width else "")


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
        if self.routing == "zipf" and self.shape.turns > self.shape.d:
            raise UserError(
                f"routing zipf on {self.shape.id}: {self.shape.turns} turns need at least as many inputs, "
                f"d={self.shape.d} has too few; use uniform or single-path"
            )

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

    @cached_property
    def id(self) -> str:
        """``fff_cpu@d768-n4095-t1x12-b1-fp32-uniform-cpu-1th-s0@cold-kernel``."""
        return f"{self.implementation}@{self.workload.id}@{self.protocol.id}"


def faulty_name(implementation: str) -> bool:
    """Whether an implementation of that name is one of the family ``faulty``: never a baseline, never sped up."""
    return implementation.startswith(f"{FAULTY}_")


_CELL = re.compile(
    r"(?P<implementation>\w+)@d(?P<d>\d+)-n(?P<n>\d+)(-t(?P<trees>\d+)x(?P<levels>\d+)(l(?P<leaf_width>\d+))?)?"
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
    d, n = int(part["d"]), int(part["n"])
    trees, levels, leaf_width = (int(part[name] or 0) for name in ("trees", "levels", "leaf_width"))
    if leaf_width:
        shape = Shape.leaf(d, trees, levels, leaf_width)
    elif part["trees"] is not None:
        shape = Shape.tree(d, trees, levels)
    else:
        shape = Shape.dense(d, n)
    if shape.n != n:
        raise UserError(f"cell id {text!r}: n={n} contradicts its tree, which has {shape.n} neurons")
    workload = Workload(
        shape=shape,
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
