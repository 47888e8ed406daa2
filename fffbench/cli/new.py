"""The command that begins a kernel of one's own: ``new``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fffbench.cli import shared
from fffbench.errors import UserError


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="the implementation's name, such as fff_mine")],
    folder: Annotated[Path | None, shared.folder("--folder", "where; ./NAME if not given")] = None,
) -> None:
    """Write a package with a kernel, its contract, a test and a workflow; installed, it stands in every table."""
    from fffbench import scaffold
    from fffbench.implementations import registry

    if name in registry.implementations():
        raise UserError(f"there is an implementation {name!r} already; `fffbench list` names all")
    target = Path(name) if folder is None else folder
    for path in scaffold.write(name, target):
        print(path)
    print(f"next: python -m pip install -e {target}  and  fffbench check --implementations {name}")
