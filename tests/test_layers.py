"""The corridor: each room imports only from rooms before it; reading rooms load neither torch nor an implementation."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import fffbench

ROOT = Path(fffbench.__file__).parent
CORRIDOR = ["devices", "identity", "plan", "implementations", "measure", "results", "analysis", "report"]
# what stands at the corridor's end and may use all of it
ENDS = {
    "__main__",
    "checking",
    "cli",
    "suite",
    "bench",
    "runs",
    "fleet",
    "regress",
    "ops",
    "operators",
    "nn",
    "swapping",
}
COMMON = {"anonymity", "blaslib", "collector", "contain", "errors", "extensions", "files", "parent", "sources", "text"}
COMMON |= {"units", "_cpu", "_cpu_faults", "claims"}
MODULES = sorted(path for path in ROOT.rglob("*.py"))


def room_of(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported_rooms(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [node.module] if node.module != "fffbench" else [f"fffbench.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if name.startswith("fffbench."):
                yield name.split(".")[1]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_from_rooms_before_its_own(path):
    room = room_of(path)
    if room in ENDS or room == "__init__":
        return
    for other in imported_rooms(path):
        if other in COMMON:
            continue
        assert room in CORRIDOR, f"{room} is no room of the corridor and not one of its ends"
        assert other in CORRIDOR, f"{path} imports {other}, which stands at the corridor's end"
        assert CORRIDOR.index(other) <= CORRIDOR.index(room), f"{room} imports from {other}, a later room"


@pytest.mark.parametrize("room", ["results", "analysis", "report"])
def test_a_reading_room_names_no_implementation_and_nothing_that_measures(room):
    for path in (ROOT / room).rglob("*.py"):
        assert not ({"implementations", "measure", "_cpu"} | ENDS - {"__main__"}) & set(imported_rooms(path)), path


@pytest.mark.parametrize(
    "module", ["fffbench", "fffbench.plan.matrix", "fffbench.results.store", "fffbench.report", "fffbench.cli"]
)
def test_importing_it_loads_no_torch(module):
    code = f"import sys, {module}; print(sorted({{'torch', 'triton', 'cuda'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
