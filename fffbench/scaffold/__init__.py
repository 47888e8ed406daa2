"""What does a package with a kernel of one's own look like? Written by ``fffbench new``, ready to be installed.

The files beside this one are its templates: ``NAME`` stands for the implementation's name.
"""

from __future__ import annotations

import re
from pathlib import Path

from fffbench.errors import UserError
from fffbench.files import write_plain

NAME = "NAME"
FILES = {  # template to the file it becomes
    "pyproject.toml.in": "pyproject.toml",
    "kernel.py.in": f"{NAME}.py",
    "test_kernel.py.in": f"tests/test_{NAME}.py",
    "workflow.yml.in": ".github/workflows/fffbench.yml",
    "README.md.in": "README.md",
}
_ALLOWED = re.compile(r"[a-z][a-z0-9_]{1,59}")
_RESERVED = ("faulty_", "test")


def write(name: str, folder: Path) -> list[Path]:
    """Write the package ``name`` into ``folder``, which must be empty or not there; the files, in their order."""
    if not _ALLOWED.fullmatch(name) or name.startswith(_RESERVED):
        raise UserError(
            f"{name!r} cannot be the name of an implementation: allowed are 2 to 60 lower-case letters, digits and _, "
            f"beginning with a letter, but not with {' or '.join(_RESERVED)}"
        )
    try:
        taken = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    except OSError as error:
        raise UserError(f"folder {str(folder)!r} cannot be read: {error.strerror}") from error
    if taken:
        raise UserError(f"{str(folder)!r} is there already and not empty; name another folder with --folder")
    templates, written = Path(__file__).parent, []
    for template, target in FILES.items():
        path = folder / target.replace(NAME, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_plain(path, (templates / template).read_text(encoding="utf-8").replace(NAME, name))
        written.append(path)
    return written
