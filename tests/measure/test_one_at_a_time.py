"""Is everything that measures refused, in one line, while somebody measures on this machine?"""

import importlib.util
import sys
from pathlib import Path

import pytest

from benchmarks.studies import agreement, calibrate
from fffbench import cli
from fffbench.measure import lock

ROOT = Path(__file__).parents[2]


@pytest.fixture
def taken(tmp_path, monkeypatch):
    """The machine is held by another run."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with lock.machine("fffbench run --preset full"):
        yield


def said(capsys):
    line = capsys.readouterr().err.strip()
    assert "another run is measuring on this machine" in line
    assert "fffbench run --preset full" in line
    assert "\n" not in line
    return line


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_regression_check_and_its_calibration_are_refused(taken, capsys, device):
    assert cli.run(["regress", "main", "--devices", device]) == 2
    said(capsys)
    assert calibrate.main(["--device", device, "--results", "results"]) == 2
    said(capsys)


def test_the_comparison_of_clocks_is_refused(taken, capsys):
    assert agreement.main(["--device", "cpu"]) == 2
    said(capsys)


@pytest.fixture
def plugin():
    pytest.importorskip("asv")
    spec = importlib.util.spec_from_file_location("asv_machine", ROOT / "benchmarks" / "asv_machine.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("command", [["run", "HEAD^!"], ["--config", "x.json", "continuous", "main", "HEAD"]])
def test_asv_is_refused_before_it_measures(taken, monkeypatch, plugin, command):
    from asv.util import UserError

    monkeypatch.setattr(sys, "argv", ["asv", *command])
    with pytest.raises(UserError, match="another run is measuring") as refused:
        plugin.setup()
    assert "\n" not in str(refused.value)


def test_what_only_reads_asvs_results_needs_no_lock(plugin):
    assert plugin.command_of(["compare", "run", "HEAD"]) == "compare"
    assert plugin.command_of(["-v", "publish"]) not in plugin.MEASURING
    assert plugin.command_of([]) == ""


def test_asvs_files_of_an_existing_environment_have_no_path_in_their_names(plugin, monkeypatch):
    from asv.environment import ExistingEnvironment

    class Conf:
        project, repo_subdir, env_dir, build_cache_size = "p", "", "e", 1
        matrix, exclude, include, install_command, build_command, uninstall_command = {}, [], [], None, None, None
        default_benchmark_timeout, conf_dir, repo, branches = 60, ".", ".", ["main"]

        def __getattr__(self, _name):
            return None

    monkeypatch.setattr(ExistingEnvironment, "__init__", ExistingEnvironment.__init__)
    monkeypatch.setattr(ExistingEnvironment, "name", ExistingEnvironment.name)
    assert "_bin_" in ExistingEnvironment(Conf(), sys.executable, {}, {}).name, "what asv does by itself"
    plugin._keep_paths_out()
    plugin._keep_paths_out()
    made = ExistingEnvironment(Conf(), sys.executable, {}, {})
    version = ".".join(map(str, sys.version_info[:2]))
    assert (made.name, made.python) == (f"existing-py{version}", version)


def test_a_home_that_asv_cannot_write_is_named_in_one_line(monkeypatch, plugin, tmp_path):
    from asv.util import UserError

    monkeypatch.setattr(sys, "argv", ["asv", "show"])
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    with pytest.raises(UserError, match="set HOME to a folder that can"):
        plugin.setup()
