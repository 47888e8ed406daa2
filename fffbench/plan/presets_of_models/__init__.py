"""Which cells of whole models does each preset ask for?

One TOML file per preset in this folder, as for layers (``plan.presets``). A block is a product of sizes (batch x
sequence) of one model in one phase, variants of its feedforward layers, types and modes; ``variants`` may name one of
the file's ``[lists]``. Every block has the model as it is and the one without feedforward layers: no variant is shown
without them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from fffbench.devices import HOST
from fffbench.devices import device as device_of
from fffbench.errors import UserError, one_of
from fffbench.plan.models import ModelCell, Variant, Work
from fffbench.plan.preset_files import PresetFile, read_folder

FOLDER = Path(__file__).parent
ALWAYS = ("dense", "none")
# torch's dynamic int8 has no compiled form, and the published program was run as it is
EAGER_ONLY = ("int8", "int8-fff", "masked")


class ModelBlock(BaseModel):
    """A product; ``threads`` are resolved on the machine, and ``variants`` may be the name of a list as written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    phase: str
    sizes: tuple[tuple[int, int], ...]
    variants: tuple[str, ...] | str
    dtypes: tuple[str, ...] = ("fp32",)
    device: str = HOST
    modes: tuple[str, ...] = ("eager", "compiled")


class _File(PresetFile):
    sample_seconds: float = 1.0
    lists: dict[str, list[str]] = Field({})
    block: list[ModelBlock] = Field([])


@dataclass(frozen=True)
class ModelPreset:
    """A named set of blocks, with how thoroughly it is measured by default."""

    name: str
    summary: str
    blocks: tuple[ModelBlock, ...]
    processes: int
    sample_seconds: float
    budget_seconds: float | None


def read_model_presets(folder: Path) -> dict[str, ModelPreset]:
    """Every preset in ``folder`` by its name, in reading order; ``UserError`` naming the file if one is wrong."""
    return {
        name: ModelPreset(name, file.summary, blocks, file.processes, file.sample_seconds, file.budget_seconds)
        for name, (file, blocks) in read_folder(folder, _File, _block).items()
    }


def _block(written: ModelBlock, file: _File) -> ModelBlock:
    """``written`` with its list of variants; ``UserError`` where it has no comparison or names what there is not."""
    if isinstance(written.variants, str) and written.variants not in file.lists:
        raise one_of("list in variants", written.variants, file.lists)
    variants = file.lists[written.variants] if isinstance(written.variants, str) else written.variants
    missing = [text for text in ALWAYS if text not in variants]
    if missing:
        raise UserError(f"block {written.model} {written.phase}: variants must have {missing[0]}, their comparison")
    for text in variants:
        Variant.parse(text)
    for batch, sequence in written.sizes:
        for dtype in written.dtypes:
            work = Work(written.model, written.phase, batch, sequence, dtype, written.device)
            for mode in written.modes:
                ModelCell(work, Variant.parse(ALWAYS[0]), mode)
    return written.model_copy(update={"variants": tuple(variants)})


@cache
def model_presets() -> dict[str, ModelPreset]:
    """The presets of this package by name, in reading order."""
    return read_model_presets(FOLDER)


def model_preset(name: str) -> ModelPreset:
    """The preset of that name; ``UserError`` listing them."""
    if name not in model_presets():
        raise one_of("preset of whole models", name, model_presets())
    return model_presets()[name]


@dataclass(frozen=True)
class ModelAxes:
    """What the user asks of a preset; empty leaves the preset's own values. ``threads`` are counts, or ``all``."""

    devices: tuple[str, ...] = ()
    threads: tuple[int | str, ...] = ()
    batches: tuple[int, ...] = ()
    dtypes: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()


def model_cells(preset: ModelPreset, axes: ModelAxes, usable_cores: int) -> list[ModelCell]:
    """The cells of ``preset`` within ``axes``, without repetition; ``UserError`` where none is left."""
    for text in axes.variants:
        Variant.parse(text)
    found: dict[ModelCell, None] = {}
    for block in preset.blocks:
        if axes.devices and block.device not in axes.devices:
            continue
        if axes.models and block.model not in axes.models:
            continue
        counts = _threads(axes.threads, usable_cores) if device_of(block.device).threaded else (1,)
        for batch, sequence in block.sizes:
            for dtype in block.dtypes:
                if (axes.batches and batch not in axes.batches) or (axes.dtypes and dtype not in axes.dtypes):
                    continue
                for threads in counts:
                    work = Work(block.model, block.phase, batch, sequence, dtype, block.device, threads)
                    found |= dict.fromkeys(_cells(block, work, axes))
    if not found:
        raise UserError(f"preset {preset.name} has no cell with these values")
    return list(found)


def _cells(block: ModelBlock, work: Work, axes: ModelAxes) -> list[ModelCell]:
    found = []
    for text in block.variants:
        variant = Variant.parse(text)
        if axes.variants and text not in axes.variants:
            continue
        for mode in block.modes:
            if "compiled" in mode and variant.kind in EAGER_ONLY:
                continue
            if not axes.modes or mode in axes.modes:
                found.append(ModelCell(work, variant, mode))
    return found


def _threads(asked: tuple[int | str, ...], usable: int) -> tuple[int, ...]:
    counts = [usable if count == "all" else int(count) for count in asked or ("all",)]
    too_many = [count for count in counts if count > usable]
    if too_many:
        raise UserError(f"threads {too_many[0]}: {usable} cores can be used here")
    return tuple(dict.fromkeys(counts))
