"""Each room imports only the rooms that the table gives it; reading rooms load neither torch nor an implementation.

The table is the map of the package: a room is a folder or a module of ``fffbench/``, in the order in which data comes
through them, and each lists what it may use. Two wings share the ground floor (``plan``) and meet in ``runs``:

    devices, plan -> implementations -> measure ──────┐
                                                     runs -> suite, fleet, cli
    devices, plan -> results -> analysis -> claims -> report
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import fffbench

ROOT = Path(fffbench.__file__).parent
# used by any room; they know no room, only each other
COMMON = (
    *(
        "errors",
        "anonymity",
        "apart",
        "collector",
        "contain",
        "extensions",
        "files",
        "parent",
        "sources",
        "surroundings",
        "text",
    ),
    "timed",
    "tomlfiles",
    "units",
)
KERNELS = ("_cpu", "_cpu_faults")  # compiled
ROOMS = {
    "blaslib": "",
    "devices": "blaslib",
    "identity": "devices",
    "problems": "",
    "plan": "devices problems",
    # the measuring wing
    "implementations": "blaslib devices identity problems plan",
    "measure": "blaslib devices identity problems plan implementations",
    "checking": "blaslib devices identity problems plan implementations measure",
    # the reading wing, which renders a page on a laptop
    "results": "devices identity problems plan",
    "analysis": "devices identity problems plan results",
    "claims": "devices identity problems plan results analysis",
    "report": "devices identity problems plan results analysis claims",
    # where both meet
    "runs": "blaslib devices identity problems plan implementations measure results analysis claims",
    "regress": "blaslib devices identity problems plan implementations measure results analysis",
    # the kernels for users of PyTorch
    "operators": "blaslib devices identity problems plan implementations",
    "ops": "blaslib devices identity problems plan implementations operators",
    "nn": "blaslib devices identity problems plan operators",
    "swapping": "blaslib devices identity problems plan nn",
    "scaffold": "",  # what `new` writes
    "models": "blaslib devices identity problems plan implementations measure results runs operators nn swapping",
    # the ways in
    "suite": "blaslib devices identity problems plan measure results runs",
    "fleet": "blaslib devices identity problems plan implementations measure results runs",
    "cli": "blaslib devices identity problems plan implementations measure checking results analysis claims report "
    "runs regress suite fleet models scaffold",
    "__main__": "cli",
    "__init__": "ops nn swapping",  # handed out when first used
}
READING = ("results", "analysis", "claims", "report")
MODULES = sorted(ROOT.rglob("*.py"))


def room_of(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported_rooms(text):
    """The rooms that a module's text imports, at its top, in a function or for the type checker alone."""
    for node in ast.walk(ast.parse(text)):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [node.module] if node.module != "fffbench" else [f"fffbench.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            names = [str(item.value) for item in node.args if isinstance(item, ast.Constant)]
        for name in names:
            if name.startswith("fffbench."):
                yield name.split(".")[1]


def forbidden(room, text):
    """The rooms that a module of ``room`` with this text imports and may not."""
    allowed = {room, *COMMON, *KERNELS, *ROOMS.get(room, "").split()}
    return {other for other in imported_rooms(text) if other not in allowed}


def test_every_room_stands_in_the_table():
    folders = {path.relative_to(ROOT).parts[0] for path in MODULES if path.parent != ROOT}
    modules = {path.stem for path in MODULES if path.parent == ROOT}
    assert folders | modules == {*ROOMS, *COMMON}


def test_a_room_uses_only_rooms_that_stand_above_it_in_the_table_so_there_is_no_circle():
    order = list(ROOMS)
    for room, used in ROOMS.items():
        for other in used.split():
            assert order.index(other) < order.index(room) or room == "__init__", (room, other)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_what_the_table_gives_its_room(path):
    room = room_of(path)
    if room in COMMON:
        assert set(imported_rooms(path.read_text())) <= set(COMMON)
    else:
        assert not forbidden(room, path.read_text())


def test_nobody_imports_the_command_line():
    for room, used in ROOMS.items():
        assert "cli" not in used.split() or room == "__main__"


@pytest.mark.parametrize(
    "line",
    [
        "from fffbench.cli import tables",
        "from fffbench import runs",
        "import fffbench.report",
        "def f():\n import fffbench.regress",
        "importlib.import_module('fffbench.suite.matrix')",
    ],
)
def test_an_import_in_the_wrong_direction_is_seen(line):
    assert forbidden("measure", line)
    assert forbidden("results", line)


@pytest.mark.parametrize("room", READING)
def test_a_reading_room_names_no_implementation_and_nothing_that_measures(room):
    wing = {"plan", room, *ROOMS[room].split()}
    assert wing <= {"devices", "identity", "problems", "plan", "claims", *READING}
    for path in (ROOT / room).rglob("*.py"):
        assert not set(KERNELS) & set(imported_rooms(path.read_text())), path


@pytest.mark.parametrize(
    "module", ["fffbench", "fffbench.plan.matrix", "fffbench.results.store", "fffbench.report", "fffbench.cli"]
)
def test_importing_it_loads_no_torch(module):
    code = f"import sys, {module}; print(sorted({{'torch', 'triton', 'cuda'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
