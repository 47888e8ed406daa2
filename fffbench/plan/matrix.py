"""How do a preset's blocks and the axes of the command line make cells?

Options on the command line replace an axis in every block of a preset (``fffbench.plan.presets``). Thread counts are
resolved against the machine (``all``, ``physical``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

from fffbench.devices import DEVICES
from fffbench.errors import UserError, one_of
from fffbench.plan.presets import Block, Preset, presets, resolve
from fffbench.plan.workload import Cell, Protocol, Shape, Workload

MAX_CELLS = 100_000  # before duplicates fall away; `full` has 2000, and 100,000 take a week of measuring


@dataclass(frozen=True)
class Axes:
    """Values given on the command line; an empty tuple leaves a preset's own axis alone."""

    implementations: tuple[str, ...] = ()
    shapes: tuple[Shape, ...] = ()
    d: tuple[int, ...] = ()
    batches: tuple[int, ...] = ()
    levels: tuple[int, ...] = ()
    trees: tuple[int, ...] = ()
    dtypes: tuple[str, ...] = ()
    routings: tuple[str, ...] = ()
    threads: tuple[int | str, ...] = ()
    devices: tuple[str, ...] = ()
    caches: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()


@dataclass(frozen=True)
class Names:
    """The registered implementations, as the planner needs them (it knows no implementation itself)."""

    family: dict[str, str] = field(default_factory=dict)
    devices: dict[str, tuple[str, ...]] = field(default_factory=dict)  # a name that is missing runs everywhere
    kinds: dict[str, tuple[str, ...]] = field(default_factory=dict)  # and computes every kind of layer

    def computes(self, name: str, workload: Workload) -> bool:
        """Whether ``name`` has code for the device and the kind of layer at all."""
        device, kind = workload.device, workload.shape.seen_by(self.family[name]).kind
        return device in self.devices.get(name, (device,)) and kind in self.kinds.get(name, (kind,))

    def resolve(self, pattern: str) -> list[str]:
        """The implementation called ``pattern``, or all of a ``family:``."""
        return resolve(pattern, self.family)


def preset(name: str) -> Preset:
    """The preset called ``name``; ``UserError`` listing all if there is none."""
    if name not in presets():
        raise one_of("preset", name, presets())
    return presets()[name]


def cells(chosen: Preset, axes: Axes, names: Names, all_threads: int, physical: int | None = None) -> dict[Cell, bool]:
    """The cells of a preset with the given axes replaced, each once, in a stable order; True for those to keep.

    ``physical`` is how many of ``all_threads`` have a core of their own (None: all).
    """
    counts = {"all": all_threads, "physical": physical or all_threads}
    found: dict[Cell, bool] = {}
    blocks = _on_devices(chosen.blocks, axes.devices)
    wanted = sum(_count(block, axes, names) for block in blocks)
    if wanted > MAX_CELLS:
        raise UserError(
            f"preset {chosen.name} with these axes has {wanted} cells; give fewer values: {MAX_CELLS} at most"
        )
    for block in blocks:
        for cell in _block_cells(_override(block, axes), names, counts):
            # what the user named, not a whole family, is planned even where it cannot run, so that the reason is stored
            if cell.implementation in axes.implementations or names.computes(cell.implementation, cell.workload):
                found[cell] = found.get(cell, False) or block.keep
    if not found:
        raise UserError(f"preset {chosen.name} with these axes has no cell; leave an axis out or widen it")
    return found


def _on_devices(blocks: Sequence[Block], wanted: tuple[str, ...]) -> list[Block]:
    """The blocks for the ``wanted`` devices; where a preset has none for them, all its blocks, moved there."""
    if not wanted:
        return list(blocks)
    kept = [block for block in blocks if set(block.devices) & set(wanted)]
    return kept or [replace(block, devices=wanted) for block in blocks]


def _count(block: Block, axes: Axes, names: Names) -> int:
    """How many cells ``block`` makes at most, without making one."""
    shapes = len(axes.shapes or block.shapes) * math.prod(
        len(values) or 1 for values in (axes.d, axes.trees, axes.levels)
    )
    patterns = axes.implementations or block.implementations
    implementations = sum(len(names.resolve(pattern)) for pattern in patterns)
    others = (
        axes.batches or block.batches,
        axes.dtypes or block.dtypes,
        axes.routings or block.routings,
        axes.threads or block.threads,
        axes.caches or block.caches,
        axes.calls or block.calls,
        block.devices,
    )
    return shapes * implementations * math.prod(len(values) for values in others)


def _override(block: Block, axes: Axes) -> Block:
    changed: dict[str, object] = {
        name: getattr(axes, name)
        for name in ("implementations", "batches", "dtypes", "routings", "threads", "caches", "calls")
        if getattr(axes, name)
    }
    if axes.implementations:
        changed["without"] = ()
    if axes.shapes or axes.d or axes.levels or axes.trees:
        changed["shapes"] = tuple(dict.fromkeys(_shapes(axes.shapes or block.shapes, axes)))
    return replace(block, **changed)  # type: ignore[arg-type]  # the names above are Block's fields


def _shapes(shapes: Iterable[Shape], axes: Axes) -> Iterable[Shape]:
    for shape in shapes:
        for d in axes.d or (shape.d,):
            for trees, levels in product(axes.trees or (None,), axes.levels or (None,)):
                yield shape.resized(d, trees, levels)


def _block_cells(block: Block, names: Names, words: dict[str, int]) -> Iterable[Cell]:
    counts = _threads(block.threads, words)
    axes = (block.shapes, block.batches, block.dtypes, block.routings, block.devices, block.caches, block.calls)
    for name, shape, batch, dtype, routing, device, cache, call in product(block.resolve(names.family), *axes):
        if names.family[name] == "dense" and routing != "uniform":
            routing = "uniform"  # noqa: PLW2901  (dense work does not depend on it; the duplicate falls away)
        for count in counts if DEVICES[device].threaded else (1,):
            yield Cell(name, Workload(shape, batch, dtype, routing, count, device), Protocol(cache, call))


def _threads(wanted: Sequence[int | str], words: dict[str, int]) -> list[int]:
    counts, all_threads = [], words["all"]
    for value in wanted:
        if value not in words and not isinstance(value, int):
            raise UserError(
                f"unknown thread count {value!r}; allowed: all, physical, or a number from 1 to {all_threads}"
            )
        count = value if isinstance(value, int) else words[value]
        if not 1 <= count <= all_threads:
            raise UserError(f"{count} threads asked for; this machine allows 1 to {all_threads}")
        counts.append(count)
    return list(dict.fromkeys(counts))
