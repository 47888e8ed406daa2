"""What does the compiled module hold? ``python -m tools.cpu.stubs`` writes its stub anew, by nanobind's generator."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

from nanobind.stubgen import StubGen

ROOT = Path(__file__).parents[2]
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
STUB = ROOT / "fffbench" / "_cpu.pyi"
HELD = "    tensors: object  # free for the caller: what the addresses belong to\n"  # in the objects' own dictionary


def stub() -> str:
    """The stub of ``fffbench._cpu`` as it is built here."""
    module = importlib.import_module("fffbench._cpu")
    generator = StubGen(module, include_docstrings=False, quiet=True)
    generator.put(module)
    lines = [f'"""{module.__doc__}"""\n']
    for line in generator.get().splitlines(keepends=True):
        lines.append(line)
        if line.startswith("class ") and "run_on" in vars(getattr(module, line[6:].split(":")[0].split("(")[0])):
            lines.append(HELD)
    command = ["ruff", "format", "--stdin-filename", "fffbench/_cpu.pyi", "-"]
    environment = {**os.environ, "PATH": PATH}
    text = "".join(lines)
    done = subprocess.run(command, input=text, text=True, capture_output=True, check=True, cwd=ROOT, env=environment)
    return done.stdout


if __name__ == "__main__":
    STUB.write_text(stub(), encoding="utf-8")
