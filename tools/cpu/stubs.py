"""What do the compiled modules hold? ``python -m tools.cpu.stubs`` writes their stubs anew, by nanobind's generator.

``--check`` writes nothing and exits with 1 where a stub is not what its module would have.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import subprocess
import sys
from pathlib import Path

from nanobind.stubgen import StubGen

ROOT = Path(__file__).parents[2]
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
MODULES = ("_cpu", "_cpu_faults")
HELD = "    tensors: object  # free for the caller: what the addresses belong to\n"  # in the objects' own dictionary


def stub(name: str) -> str:
    """The stub of ``fffbench.<name>``."""
    module = importlib.import_module(f"fffbench.{name}")
    generator = StubGen(module, include_docstrings=False, quiet=True)
    generator.put(module)
    lines = [f'"""{module.__doc__}"""\n']
    for line in generator.get().splitlines(keepends=True):
        lines.append(line)
        if line.startswith("class ") and "run_on" in vars(getattr(module, line[6:].split(":")[0].split("(")[0])):
            lines.append(HELD)
    command = ["ruff", "format", "--stdin-filename", f"fffbench/{name}.pyi", "-"]
    environment = {**os.environ, "PATH": PATH}
    text = "".join(lines)
    done = subprocess.run(command, input=text, text=True, capture_output=True, check=True, cwd=ROOT, env=environment)
    return done.stdout


def main() -> int:
    """Write or compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only")
    given, wrong = parser.parse_args(), 0
    for name in MODULES:
        path, text = ROOT / "fffbench" / f"{name}.pyi", stub(name)
        if given.check:
            difference = difflib.unified_diff(path.read_text(encoding="utf-8").splitlines(), text.splitlines())
            shown = list(difference)[:20]
            sys.stderr.writelines(f"{line}\n" for line in shown)
            wrong += bool(shown)
        else:
            path.write_text(text, encoding="utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
