"""Which cells does each preset ask for?

One TOML file per preset in this folder. A preset is a list of blocks; a block is a product of axes over the
implementations that make sense there:

* ``implementations`` are names, or ``family:fff`` for all of a family; ``without`` are those of a family that are left
  out. ``family:dense`` is every dense layer that can be the fastest (``plan.candidates``), those of other packages
  included.
* ``shapes`` are written as in the id of a cell, such as ``d768-n4095-t1x12``. ``threads`` are counts, ``all`` or
  ``physical``, resolved against the machine by ``plan.matrix``.
* an axis may name one of the file's ``[lists]``; an axis that is left out has the default of ``Block``.
* ``includes`` names presets whose blocks come first.
* ``visits`` above 1: the processes of a cell are spread over so many runs, at least an hour apart (``runs.release``).

Dense layers do their work whatever the routing, so they are measured under ``uniform`` only and serve as baseline for
every routing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from fffbench.devices import DEVICES, HOST
from fffbench.errors import UserError, one_of
from fffbench.plan.candidates import NEVER_BEST
from fffbench.plan.preset_files import PresetFile, read_folder
from fffbench.plan.workload import CACHES, CALLS, DTYPES, ROUTINGS, Shape
from fffbench.problems import parse_problem

FOLDER = Path(__file__).parent
PUBLISHED = Shape.tree(768, trees=1, levels=12)  # UltraFastBERT-1x11: 12 of 4095 neurons, of every published figure
FAMILY = "family:"


def family_of(name: str) -> str:
    """The family of one of this package's implementations, which are named after it (a test sees to that)."""
    return name.partition("_")[0]


@dataclass(frozen=True)
class Block:
    """A product of axes; see the module's docstring."""

    implementations: tuple[str, ...]
    shapes: tuple[Shape, ...] = (PUBLISHED,)
    batches: tuple[int, ...] = (1, 128, 16384)
    dtypes: tuple[str, ...] = ("fp32",)
    routings: tuple[str, ...] = ("uniform",)
    # two threads per core may be slower than one, on either side; where cores have one each, these are the same cells
    threads: tuple[int | str, ...] = (1, "physical", "all")
    devices: tuple[str, ...] = (HOST,)
    caches: tuple[str, ...] = ("cold",)
    calls: tuple[str, ...] = ("kernel",)
    keep: bool = False  # what the preset is for: these have all their processes before others have one
    without: tuple[str, ...] = ()

    def resolve(self, families: Mapping[str, str]) -> list[str]:
        """The implementations of the block; ``families`` has the family of every registered one by its name."""
        found = dict.fromkeys(name for pattern in self.implementations for name in resolve(pattern, families))
        return [name for name in found if name not in self.without or name in self.implementations]

    def asks(self, name: str) -> bool:
        """Whether the block measures the implementation ``name``, or at least one of a ``family:``."""
        family = name.removeprefix(FAMILY)
        if family != name:
            return any(own == name or family_of(own) == family for own in self.implementations)
        of_family = f"{FAMILY}{family_of(name)}" in self.implementations and name not in (*self.without, *NEVER_BEST)
        return name in self.implementations or of_family


def resolve(pattern: str, families: Mapping[str, str]) -> list[str]:
    """The implementation called ``pattern``, or all of a ``family:`` but dense layers that cannot be the fastest."""
    if pattern.startswith(FAMILY):
        wanted = pattern.removeprefix(FAMILY)
        return [name for name, family in families.items() if family == wanted and name not in NEVER_BEST]
    if pattern not in families:
        raise one_of("implementation", pattern, families)
    return [pattern]


@dataclass(frozen=True)
class Preset:
    """A named set of blocks, with how thoroughly it is measured by default."""

    name: str
    summary: str
    blocks: tuple[Block, ...]
    processes: int = 6
    sample_seconds: float = 0.25
    budget_seconds: float | None = None
    visits: int = 1  # of the machine, at least an hour apart, over which the processes are spread
    parts: tuple[str, ...] = ()  # the presets that it includes, where it is measured part by part
    models: Mapping[str, str] = field(default_factory=dict)  # a preset of whole models by device; ``after`` which part


class _Block(BaseModel):
    """A block as it is written; None where an axis is left out."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    implementations: list[str] | str
    shapes: list[str] | str | None = None
    batches: list[int] | str | None = None
    dtypes: list[str] | str | None = None
    routings: list[str] | str | None = None
    threads: list[int | str] | str | None = None
    devices: list[str] | str | None = None
    caches: list[str] | str | None = None
    calls: list[str] | str | None = None
    without: list[str] | str | None = None
    keep: bool = False


class _File(PresetFile):
    model_config = ConfigDict(strict=True)

    sample_seconds: float = 0.25
    visits: int = 1
    models: dict[str, str] = Field({})
    lists: dict[str, list[str | int]] = Field({})
    block: list[_Block] = Field([])


CLOSED = {"dtypes": DTYPES, "routings": ROUTINGS, "devices": DEVICES, "caches": CACHES, "calls": CALLS}


def _block(written: _Block, file: _File) -> Block:
    lists: Mapping[str, list[Any]] = file.lists
    given: dict[str, Any] = {"keep": written.keep}
    for axis, value in written:
        if value is None or axis == "keep":
            continue
        if isinstance(value, str) and value not in lists:
            raise one_of(f"list in {axis}", value, lists)
        values = lists[value] if isinstance(value, str) else value
        for item in values:
            if axis in CLOSED and item not in CLOSED[axis]:
                raise one_of(f"value in {axis}", item, CLOSED[axis])
        given[axis] = tuple(map(shape_of, values)) if axis == "shapes" else tuple(values)
    return Block(**given)


def shape_of(text: str) -> Shape:
    """The shape written as in the id of a cell; ``UserError`` if it is none."""
    try:
        return parse_problem(text)
    except UserError as error:
        raise UserError(f"not a shape: {text!r}; one looks like {PUBLISHED.id}") from error


def read_presets(folder: Path) -> dict[str, Preset]:
    """Every preset in ``folder`` by its name, in reading order; ``UserError`` naming file and key if one is wrong."""
    return {
        name: Preset(
            name,
            file.summary,
            blocks,
            file.processes,
            file.sample_seconds,
            file.budget_seconds,
            file.visits,
            tuple(file.includes) if file.visits > 1 else (),
            file.models,
        )
        for name, (file, blocks) in read_folder(folder, _File, _block).items()
    }


@cache
def presets() -> dict[str, Preset]:
    """The presets of this package by name, in reading order."""
    return read_presets(FOLDER)
