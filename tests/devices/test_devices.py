"""A device is one file: the other modules ask it, and compare its name with nothing."""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import plugins
import pytest
from synthetic import cell_id, write_run

import fffbench as package
from fffbench import extensions
from fffbench.analysis.speedup import speedups
from fffbench.devices import DEVICES, HOST, Device, cpu, cuda, device, main_device, threads_text
from fffbench.errors import UserError
from fffbench.identity import machine_id
from fffbench.plan.matrix import Axes
from fffbench.plan.workload import DTYPES, parse_cell
from fffbench.results.store import load
from fffbench.runs import planning as bench

ROOT = Path(package.__file__).parent
# What is written for certain devices, and says for which: implementations declare theirs, presets and the ladders of
# publications plan for some, and so does the list of candidates that stands for what dense layers declare.
DECLARATIONS = ("plan/presets*", "plan/fidelity.py", "plan/candidates.py", "implementations/*.py")
NOT_DECLARATIONS = {"registry.py", "torchlib.py", "_plugin.py"}
OTHER_MEANINGS = {
    "implementations/cuda/build.py": "the package cuda and a folder",
    "regress/cuda.py": "a part of a digest",
    "measure/cgroups.py": "a controller of cgroups",
}
DENSE = """
"A dense layer for the toy."
from fffbench.implementations import dense_linear
FAMILY, DEVICES, DTYPES = "dense", ("toy",), ("fp32",)
unsupported, prepare = dense_linear.unsupported, dense_linear.prepare
"""
TREE = """
"A tree for the toy."
from fffbench.implementations import cmm_gather_bmm
FAMILY, DEVICES, DTYPES = "fff", ("toy",), ("fp32",)
unsupported, prepare = cmm_gather_bmm.unsupported, cmm_gather_bmm.prepare
"""


def sources():
    """The modules in which no device is named."""
    for path in sorted(ROOT.rglob("*.py")):
        where = path.relative_to(ROOT)
        declares = any(where.match(pattern) for pattern in DECLARATIONS) and path.name not in NOT_DECLARATIONS
        if where.parts[0] != "devices" and not declares and str(where) not in OTHER_MEANINGS:
            yield path


def named(text, names):
    """The lines of ``text`` with a string that is one of ``names``."""
    nodes = ast.walk(ast.parse(text))
    return [node.lineno for node in nodes if isinstance(node, ast.Constant) and node.value in names]


def test_no_module_names_a_device_but_those_that_are_written_for_one():
    found = {str(path.relative_to(ROOT)): named(path.read_text(), {"cpu", "cuda"}) for path in sources()}
    assert {path: lines for path, lines in found.items() if lines} == {}
    assert named('if work.device == "cuda":\n    pass', {"cuda"}) == [1]


def test_every_exemption_is_needed():
    for path in OTHER_MEANINGS:
        assert named((ROOT / path).read_text(), {"cpu", "cuda"}), path


@pytest.mark.parametrize("name", tuple(DEVICES.own))
def test_a_device_of_ours_declares_everything(name):
    item = DEVICES[name]
    assert item.name == name
    assert item.headline_call in item.calls
    assert set(DTYPES) <= set(item.over_ceiling)
    for declared in ("label", "torch_type", "guessed_rate", "guessed_bandwidth", "fact_names"):
        assert getattr(item, declared)


def test_devices_are_declared_without_torch():
    code = "import sys, fffbench.devices as d; print(sorted(d.DEVICES)); print({'torch', 'pynvml'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["['cpu', 'cuda']", "set()"]


def test_an_unknown_device_is_refused_with_the_known_ones():
    with pytest.raises(UserError, match="unknown device 'tpu'; allowed: cpu, cuda"):
        device("tpu")
    with pytest.raises(UserError, match="unknown device 'tpu'"):
        parse_cell(cell_id("fff_cpu", device="tpu"))


def test_threads_are_said_where_they_are_a_condition():
    assert threads_text(HOST, 1, ", ") == ", 1 thread"
    assert threads_text(HOST, 2, " (", ")") == " (2 threads)"
    assert threads_text(cuda.NAME, 2, ", ") == ""


def test_a_machine_is_called_after_its_accelerator_where_it_has_one():
    facts = {"cpu": "A CPU", "architecture": "zen4", "cores": "2"}
    assert main_device(facts) == HOST
    assert main_device(facts | {"gpu 0": "NVIDIA H100"}) == cuda.NAME
    assert machine_id(facts).startswith("a-zen4-2c-")
    assert machine_id(facts | {"gpu 0": "NVIDIA H100"}).startswith("nvidia-h100-a-zen4-2c-")


def test_a_call_that_the_device_does_not_have_is_a_stored_reason():
    axes = Axes(implementations=("fff_cpu",), devices=("cpu",), batches=(1,), threads=(1,), calls=("graph", "kernel"))
    plan, skipped = bench.runnable(bench.Options("headline", axes))
    assert {cell.protocol.call for cell in plan.cells} == {"kernel"}
    assert {cell.protocol.call for cell, _ in skipped} == {"graph"}
    assert {reason for _, reason in skipped} == {"cpu has the calls kernel, torch, not graph"}


def test_the_headline_is_in_the_call_that_the_device_prefers(tmp_path):
    def main(*cells):
        folder = tmp_path / str(len(cells)) / cells[0].split("-")[0]
        write_run(folder, cells=dict.fromkeys(cells, 1e-3))
        return [row.call for row in speedups(load(folder)) if row.main and row.baseline == "best-dense"]

    on_gpu = [
        cell_id(name, device="cuda", call=call) for name in ("dense_linear", "fff_cuda") for call in ("kernel", "graph")
    ]
    assert set(main(*on_gpu[::2])) == {"kernel"}
    assert set(main(*on_gpu)) == {"graph"}
    on_cpu = [cell_id(name, call=call) for name in ("dense_linear", "fff_cpu") for call in ("kernel", "torch")]
    assert set(main(*on_cpu)) == {"kernel"}


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """The toy device with a dense layer and a tree."""
    shutil.copy(Path(__file__).parent / "toy_device.py", tmp_path)
    (tmp_path / "toy_dense.py").write_text(DENSE)
    (tmp_path / "toy_tree.py").write_text(TREE)
    names = {"toy_dense": "toy_dense", "toy_tree": "toy_tree"}
    plugins.install(tmp_path, names, monkeypatch, devices={"toy": "toy_device"})
    yield tmp_path
    monkeypatch.undo()
    plugins.forget()


def fffbench(*arguments):
    done = subprocess.run([sys.executable, "-m", "fffbench", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_device_of_one_file_goes_through_check_run_speedup_and_the_page(toy):
    ours = ("--implementations", "toy_dense,toy_tree", "--devices", "toy")
    checked = json.loads(fffbench("check", "--json", *ours))
    assert {row["name"]: row["failure"] for row in checked} == {"toy_dense": None, "toy_tree": None}
    results = ("--results", str(toy / "results"))
    small = ("--batches", "4", "--levels", "4", "--d", "32", "--threads", "1,2", "--routing", "uniform")
    timing = ("--cache", "cold", "--call", "kernel", "--processes", "2", "--seconds", "0.02")
    fffbench("run", *ours, *small, *timing, *results)
    [machine] = (toy / "results" / "matrix").iterdir()
    assert machine.name.startswith("wooden-toy-")
    rows = [row for row in json.loads(fffbench("speedup", "--json", *results)) if row["implementation"] == "toy_tree"]
    best = [row for row in rows if (row["baseline"], row["baseline_threads"]) == ("best-dense", "same")]
    assert {(row["device"], row["threads"]) for row in best} == {("toy", 1), ("toy", 2)}
    assert all(row["speedup"] > 0 and row["roofline_share"] > 0 for row in best)
    assert {row["baseline_implementation"] for row in best} == {"toy_dense"}
    fffbench("report", *results, "--out", str(toy / "page"))
    page = (toy / "page" / "index.html").read_text()
    assert "Wooden Toy" in page
    assert "toy_tree" in page


def test_a_broken_device_is_refused_by_name_and_stops_nobody(tmp_path, monkeypatch):
    (tmp_path / "broken_device.py").write_text("raise SystemError('so\\nthere')")
    (tmp_path / "odd_device.py").write_text("DEVICE = 3")
    points = {"broken": "broken_device", "odd": "odd_device"}
    plugins.install(tmp_path, {}, monkeypatch, devices=points)
    try:
        assert set(DEVICES) == {"cpu", "cuda", "broken", "odd"}
        assert set(DEVICES.usable()) == {"cpu", "cuda"}
        with pytest.raises(UserError, match=r"device 'broken' .*SystemError: so there"):
            device("broken")
        with pytest.raises(UserError, match="its DEVICE must be a Device"):
            device("odd")
    finally:
        monkeypatch.undo()
        plugins.forget()


def test_an_entry_point_takes_no_name_of_ours(tmp_path, monkeypatch):
    (tmp_path / "toy_device.py").write_text((Path(__file__).parent / "toy_device.py").read_text())
    plugins.install(tmp_path, {}, monkeypatch, devices={"cpu": "toy_device"})
    try:
        assert extensions.registered(extensions.DEVICES)[0]
        assert device("cpu") is cpu.DEVICE
    finally:
        monkeypatch.undo()
        plugins.forget()


def test_a_device_without_ceilings_is_none_and_says_what_it_lacks():
    with pytest.raises(TypeError, match="ceilings"):
        type("Halfway", (Device,), {"name": "halfway"})()
