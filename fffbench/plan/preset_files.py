"""How is a folder of presets read, each a TOML file of blocks? Those of layers and those of whole models alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

from fffbench.errors import UserError, one_of
from fffbench.tomlfiles import named, read_toml


class PresetFile(BaseModel):
    """What every preset may say; ``includes`` names others whose blocks come first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    summary: str
    order: int = 100
    processes: int = 6
    sample_seconds: float
    budget_seconds: float | None = None
    includes: list[str] = []
    block: Sequence[Any] = []


File = TypeVar("File", bound=PresetFile)
Block = TypeVar("Block")


def read_folder(
    folder: Path, kind: type[File], block: Callable[[Any, File], Block]
) -> dict[str, tuple[File, tuple[Block, ...]]]:
    """Every preset in ``folder`` with its blocks, by name in reading order; ``UserError`` naming file and key.

    ``block`` makes a block of what a file says of it.
    """
    files: dict[str, File] = {}
    own: dict[str, tuple[Block, ...]] = {}
    for path in sorted(folder.glob("*.toml")):
        with named(f"preset {path.name}"):
            files[path.stem] = file = kind.model_validate(read_toml(path))
            own[path.stem] = tuple(block(written, file) for written in file.block)
    for name, file in files.items():
        for other in file.includes:
            if other not in own:
                raise UserError(f"preset {name}.toml: {one_of('preset in includes', other, own)}")
    return {
        name: (file, tuple(one for part in (*file.includes, name) for one in own[part]))
        for name, file in sorted(files.items(), key=lambda item: (item[1].order, item[0]))
    }
