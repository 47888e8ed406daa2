"""The command of a study that writes parts of the documentation from results, or says which of them are stale."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from fffbench.errors import UserError


def main(name: str, about: str, stale: Callable[[Path, Path], dict[Path, str]], given: Sequence[str] | None) -> int:
    """Write what ``stale(root, results)`` gives, with ``--check`` only name it; the exit status."""
    program = f"python -m benchmarks.studies.{name}"
    parser = argparse.ArgumentParser(prog=program, description=about.split("\n", maxsplit=1)[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 and name what is stale")
    parser.add_argument("--root", type=Path, default=Path(), help="the folder of the repository (default: this one)")
    parser.add_argument("--results", type=Path, help="the folder of results (default: results in the root)")
    asked = parser.parse_args(given)
    try:
        found = stale(asked.root, asked.results or asked.root / "results")
        for path, text in found.items():
            if asked.check:
                sys.stderr.write(f"{path.relative_to(asked.root).as_posix()} is stale: run {program}\n")
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
    except (UserError, OSError) as error:
        sys.stderr.write(f"fffbench: {error}\n")
        return 2
    return 1 if asked.check and found else 0
