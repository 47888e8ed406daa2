"""A folder of C++ and a Python file add an op: in a private build of a copy of the sources, nothing else changed."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import fffbench
from fffbench.regress import build, sources

ROOT = Path(fffbench.__file__).parents[1]
TOY = Path(__file__).with_name("toy_op")
CPU = Path("fffbench") / "implementations" / "cpu"
# an editable installation of fffbench finds itself before any path does, in every process that a run starts
IN_FRONT = """import sys
from importlib.machinery import PathFinder
sys.meta_path[:] = [f for f in sys.meta_path if f is PathFinder or f.find_spec("fffbench", None) is None]
"""
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
pytestmark = [
    pytest.mark.slow,  # two minutes: compiles everything, with ccache the toy only
    pytest.mark.skipif(shutil.which("cmake", path=build._path()) is None, reason="needs cmake"),
    pytest.mark.skipif(not (ROOT / CPU / "runtime" / "op.hpp").is_file(), reason="an installed package has no sources"),
]


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The copy with the toy, built; and what was in it before."""
    root = tmp_path_factory.mktemp("private")
    shutil.copytree(ROOT / "fffbench", root / "fffbench", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    shutil.copy(ROOT / "CMakeLists.txt", root)
    before = {path for path in root.rglob("*") if path.is_file()}
    shutil.copytree(TOY / "cpp", root / CPU / "ops" / "toy")
    shutil.copy(TOY / "fff_toy.py", root / "fffbench" / "implementations")
    added = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file() and path not in before}
    assert added == {
        "fffbench/implementations/fff_toy.py",
        *(f"{(CPU / 'ops' / 'toy').as_posix()}/{name}" for name in ("job.hpp", "kernel.cpp", "toy.cpp")),
    }
    launcher = ["-DCMAKE_CXX_COMPILER_LAUNCHER=ccache"] if shutil.which("ccache", path=build._path()) else []
    environment = {**os.environ, "PATH": build._path(), "CCACHE_NOHASHDIR": "1", "CCACHE_BASEDIR": str(root)}
    generator = ["-G", "Ninja"] if shutil.which("ninja", path=build._path()) else []
    configure = ["cmake", "-S", ".", "-B", "tree", *generator, "-DFFFBENCH_FAULTS=OFF", *launcher]
    for command in (
        [*configure, f"-DPython_EXECUTABLE={sys.executable}"],
        ["cmake", "--build", "tree", "--target", "_cpu", "--parallel", str(os.cpu_count() or 1)],
    ):
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    shutil.copy(root / "tree" / f"_cpu{SUFFIX}", root / "fffbench")
    (root / "sitecustomize.py").write_text(IN_FRONT)
    return root


def python(package, code, *arguments):
    """Run ``code`` with the package of ``package``."""
    environment = {**os.environ, "PYTHONPATH": str(package), "FFFBENCH_COMMIT": "0" * 40}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=package, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def command(package, *arguments):
    return python(package, "from fffbench.__main__ import main; main()", *arguments)


def test_the_module_binds_it_and_compiled_it_for_every_instruction_set(package):
    names = python(package, "from fffbench import _cpu; print(_cpu.__file__, _cpu.ToyCall, _cpu.FffCall)")
    assert str(package) in names
    assert len(list((package / "tree").rglob("toy/kernel.cpp.*"))) in (1, 4)  # portable, or what x86-64 has


def test_it_is_checked_measured_and_stands_on_the_page(package):
    [row] = json.loads(command(package, "check", "--implementations", "fff_toy", "--json"))
    assert row["failure"] is None
    assert row["passed"] > 20
    axes = ["--batches", "32", "--d", "64", "--levels", "5", "--threads", "1", "--cache", "warm", "--call", "kernel"]
    effort = ["--routing", "uniform", "--seconds", "0.01", "--processes", "2", "--results", "results"]
    command(package, "run", "--implementations", "fff_toy,dense_gemm", *axes, *effort)
    rows = json.loads(command(package, "speedup", "--results", "results", "--json"))
    assert any(row["implementation"] == "fff_toy" and row["speedup"] is not None for row in rows)
    command(package, "report", "--results", "results", "--out", "page")
    assert any("fff_toy" in path.read_text(errors="replace") for path in (package / "page").rglob("*.html"))


def test_regress_guards_it_and_its_source_decides(package):
    listed = python(
        package, "from fffbench.regress.suite import suite_of; print([c.name for c in suite_of('cpu').cases])"
    )
    assert "fff_toy fp32 batch 16" in listed
    held = dict(sources.read_working_tree(package).files)
    assert "fffbench/implementations/cpu/ops/toy/kernel.cpp" in held
