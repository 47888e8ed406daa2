"""Open to others: a package with an entry point is listed, checked, timed and tabled without a change here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import plugins
import pytest

from fffbench.implementations import fff_cpu, registry

PACKAGE = Path(__file__).parents[2] / "docs" / "examples" / "my_kernel"
NAME = "example_einsum"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The example package, installed beside this environment: no network, nothing left behind."""
    pytest.importorskip("setuptools", reason="building the example package needs setuptools")
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("target")
    for path in PACKAGE.iterdir():  # a build writes into its source tree
        if path.is_file():
            (source / path.name).write_bytes(path.read_bytes())
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
    options = ["--no-deps", "--no-build-isolation", "--target", str(target), str(source)]
    done = subprocess.run([*pip, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture
def fffbench(installed, tmp_path):
    """The command line with the example package on its path, run in an empty folder."""
    path = os.pathsep.join(filter(None, (str(installed), os.environ.get("PYTHONPATH"))))

    def run(*arguments):
        command = [sys.executable, "-m", "fffbench", *arguments]
        environment = {**os.environ, "PYTHONPATH": path}
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_it_is_listed_with_its_own_words(fffbench):
    [row] = [row for row in json.loads(fffbench("list", "--json")) if row["name"] == NAME]
    assert row["family"] == "fff"
    assert row["summary"].startswith("An example of somebody else's kernel")


def test_it_is_checked(fffbench):
    rows = json.loads(fffbench("check", "--implementations", NAME, "--json"))
    assert rows
    assert all(row["failure"] is None for row in rows)


def test_it_is_timed_and_tabled_against_the_dense_layers(fffbench, tmp_path):
    axes = ["--batches", "16", "--d", "64", "--levels", "5", "--threads", "1", "--cache", "hot", "--call", "kernel"]
    effort = ["--seconds", "0.02", "--processes", "2", "--routing", "uniform", "--results", str(tmp_path / "results")]
    fffbench("run", "--implementations", f"{NAME},dense_linear", *axes, *effort)
    rows = json.loads(fffbench("speedup", "--results", str(tmp_path / "results"), "--json"))
    own = [row for row in rows if row["implementation"] == NAME]
    assert {"published", "best-dense"} <= {row["baseline"] for row in own if row["speedup"]}
    assert all(row["time"] > 0 for row in own)


def test_a_preset_that_asks_for_the_family_measures_it_too(fffbench):
    assert NAME in fffbench("run", "--plan", "--batches", "1", "--levels", "3")


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """Register an entry point and give what is said of it."""

    def register(name, value):
        (tmp_path / "theirs.py").write_text("raise ImportError('libtheirs.so.1:\\n cannot open shared object file')")
        (tmp_path / "ours.py").write_text(Path(fff_cpu.__file__).read_text())
        plugins.install(tmp_path, {name: value}, monkeypatch)
        return registry.broken()

    yield register
    registry._plugins.cache_clear()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("their_kernel", "theirs", "libtheirs.so.1: cannot open"),
        ("their_kernel", "ours:FAMILY", "must name a module"),
        ("their_kernel", "json", "lacks FAMILY"),
        ("Their_Kernel", "ours", "lower-case"),
        ("fff_cpu", "ours", "exists already"),
    ],
)
def test_an_entry_point_that_does_not_keep_the_contract_is_named_in_one_line(broken, name, value, said):
    [(named, reason)] = broken(name, value).items()
    assert named in (name, f"{name} ({value})")  # a name that is taken already takes none away
    assert name in reason
    assert said in reason
    assert "\n" not in reason


@pytest.mark.parametrize("text", ["[", "a line without a value", "[fffbench.implementations]\nfff_theirs"])
def test_a_package_whose_entry_points_cannot_be_parsed_is_named_and_hides_no_other(tmp_path, monkeypatch, text):
    (tmp_path / "ours.py").write_text(Path(fff_cpu.__file__).read_text())
    damaged = tmp_path / "damaged-1.dist-info"
    damaged.mkdir()
    (damaged / "METADATA").write_text("Metadata-Version: 2.1\nName: damaged\nVersion: 1\n")
    (damaged / "entry_points.txt").write_text(f"[fffbench.implementations]\n{text}\n")
    plugins.install(tmp_path, {"their_kernel": "ours"}, monkeypatch)
    try:
        assert "their_kernel" in registry.implementations()
        assert "metadata cannot be read" in registry.broken()["damaged"]
    finally:
        registry._plugins.cache_clear()


def test_nobody_imports_a_plugin_for_a_process_that_has_ended_meanwhile(tmp_path):
    (tmp_path / "theirs.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w').close()")
    question = {"value": "theirs", "variant": "", "workloads": [], "asked by": 2**22 + 1}  # no process has this id
    command = [sys.executable, "-P", "-m", "fffbench.implementations._plugin"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    subprocess.run(command, input=json.dumps(question), text=True, env=environment, check=False)
    assert not (tmp_path / "imported").exists()
    question["asked by"] = os.getpid()
    subprocess.run(command, input=json.dumps(question), text=True, env=environment, check=False)
    assert (tmp_path / "imported").exists()


def test_a_check_asks_a_plugin_for_the_reasons_of_all_its_shapes_at_once(tmp_path, monkeypatch):
    from fffbench.measure import conformance

    (tmp_path / "ours.py").write_text(Path(fff_cpu.__file__).read_text())
    plugins.install(tmp_path, {"their_kernel": "ours"}, monkeypatch)
    try:
        chosen, asked, ask = registry.implementation("their_kernel"), [], registry._plugin.ask
        monkeypatch.setattr(registry._plugin, "ask", lambda *given: asked.append(given) or ask(*given))
        edges = list(conformance.workloads(registry.implementation("fff_cpu"), "fp32", "cpu"))
        assert {conformance._reason(chosen, edge) for edge in edges} == {None}
        assert len(asked) == 1
    finally:
        registry._plugins.cache_clear()
        conformance._foreign_reasons.cache_clear()
