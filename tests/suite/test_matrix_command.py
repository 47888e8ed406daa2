"""``pytest benchmarks/matrix`` as a pytest user expects it: collecting plans, selecting selects, every run measures."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fffbench
from fffbench import _cpu
from fffbench.measure import lock

ROOT = Path(__file__).parents[2]
CELL = "fff_cpu@d768-n4095-t1x12-b1-fp32-uniform-cpu-1th-s0@cold-kernel"
OTHER = "fff_cpu@d768-n4095-t1x12-b1-fp32-uniform-cpu-1th-s0@warm-kernel"


def suite(results, *arguments, python=(sys.executable, "-m", "pytest"), node="benchmarks/matrix", cwd=ROOT, **rest):
    return subprocess.run(
        [*python, str(node), "-p", "no:cacheprovider", "--results", str(results), *arguments],
        capture_output=True, text=True, check=False, cwd=cwd, **rest,
    )  # fmt: skip


def test_collecting_plans_and_measures_nothing_even_while_somebody_measures(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # where the lock lies, here and in the subprocesses
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with lock.machine("fffbench run --preset full"):
        done = suite(
            tmp_path / "results", "--collect-only", "-q", "-k", "b1-fp32-uniform-cpu-1th and fff_cpu and kernel"
        )
        assert done.returncode == 0, done.stdout
        assert done.stdout.splitlines()[:2] == [
            f"benchmarks/matrix/test_cells.py::test_cell[{c}]" for c in (CELL, OTHER)
        ]
        nothing = suite(tmp_path / "results", "--collect-only", "-q", "-k", "nothing")
        assert nothing.returncode == 5
        refused = suite(tmp_path / "results", node=f"benchmarks/matrix/test_cells.py::test_cell[{CELL}]")
    assert not (tmp_path / "results" / "matrix").exists() or not list((tmp_path / "results").glob("matrix/*/*.journal"))
    assert refused.returncode == 4
    assert "another run is measuring on this machine" in refused.stdout + refused.stderr


def samples(path):
    benches = json.loads(path.read_text())["benchmarks"]
    infos = [bench["extra_info"]["fffbench"] for bench in benches]
    return {info["cell"]: [sample for process in info["processes"] for sample in process] for info in infos}


def test_what_is_selected_is_measured_and_a_second_run_measures_anew(tmp_path):
    results, effort = tmp_path / "results", ("--processes", "1", "--seconds", "0.02")
    own = tmp_path / "own.json"
    node = f"benchmarks/matrix/test_cells.py::test_cell[{CELL}]"
    first = suite(results, *effort, f"--benchmark-json={own}", node=node)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "1 passed" in first.stdout
    [one] = results.glob("matrix/*/*.json")
    assert str(one) in first.stdout
    assert set(samples(one)) == {CELL}
    assert samples(own)[CELL] == pytest.approx(samples(one)[CELL], rel=1e-5)  # the result file keeps six digits
    second = suite(results, *effort, "-k", "b1-fp32 and fff_cpu and 1th and kernel", "--deselect", node)
    assert second.returncode == 0, second.stdout + second.stderr
    assert "continuing" not in second.stderr
    [two] = set(results.glob("matrix/*/*.json")) - {one}
    assert set(samples(two)) == {OTHER}
    third = suite(results, *effort, node=node)
    [three] = set(results.glob("matrix/*/*.json")) - {one, two}
    assert third.returncode == 0
    assert samples(three)[CELL] != samples(one)[CELL]
    assert not list(results.glob("matrix/*/*.journal"))
    assert not list(results.glob("matrix/*/*.draft"))


@pytest.mark.parametrize(
    "options",
    [
        ["--benchmark-min-rounds=5"],  # the default's value, but somebody wanted it
        ["--benchmark-disable", "--benchmark-timer=time.process_time"],
        ["--processes=0"],
        ["--preset=no-such-preset"],
    ],
)
def test_an_option_that_cannot_apply_is_refused_in_one_line(tmp_path, options):
    done = suite(tmp_path / "results", *options)
    assert done.returncode == 4, done.stdout
    [line] = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    assert line.startswith("ERROR: ")
    assert options[0].split("=")[-1 if "preset" in options[0] else 0] in line
    assert not (tmp_path / "results").exists()


def test_an_option_that_cannot_apply_is_refused_from_the_environment_too(tmp_path):
    environment = {**os.environ, "PYTEST_ADDOPTS": "--benchmark-max-time=9"}
    done = suite(tmp_path / "results", env=environment)
    assert done.returncode == 4
    assert "--benchmark-max-time cannot apply" in done.stdout + done.stderr


def test_xdist_is_refused_in_one_line():
    from fffbench.suite import options

    class Config:
        class option:  # noqa: N801
            benchmark_min_rounds = 5

        def getoption(self, name, default=None):
            return {"numprocesses": 2}.get(name, default)

    with pytest.raises(pytest.UsageError, match=r"cannot run under pytest-xdist \(-n\)"):
        options.refuse(Config())


@pytest.mark.parametrize("installed", [True, False], ids=["with an installed package", "with none"])
def test_a_checkout_in_front_of_the_installed_package_uses_that_or_says_so_in_one_line(tmp_path, installed):
    checkout, site, others = tmp_path / "checkout", tmp_path / "site", tmp_path / "others"
    ignored = shutil.ignore_patterns("__pycache__", "*.so")
    shutil.copytree(ROOT / "benchmarks" / "matrix", checkout / "benchmarks" / "matrix", ignore=ignored)
    shutil.copytree(Path(fffbench.__file__).parent, checkout / "fffbench", ignore=ignored)
    site.mkdir()
    if installed:
        shutil.copytree(checkout / "fffbench", site / "fffbench")
        shutil.copy(_cpu.__file__, site / "fffbench")
    others.mkdir()
    for other in Path(pytest.__file__).parents[1].iterdir():  # what this suite needs, less this package itself
        if not other.name.startswith("fffbench"):
            (others / other.name).symlink_to(other)
    # without site's hooks: an editable installation finds itself before any path does
    paths = ["", str(site), str(others)]
    start = f"import sys; sys.path[:0] = {paths!r}; import pytest; sys.exit(pytest.main(sys.argv[1:]))"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    done = suite(
        tmp_path / "results", "--collect-only",
        python=(sys.executable, "-S", "-c", start), cwd=checkout, env=environment,
    )  # fmt: skip
    if installed:
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"measures {site / 'fffbench'}" in done.stdout
    else:
        assert done.returncode == 4, done.stdout + done.stderr
        [line] = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        assert f"{checkout / 'fffbench'} has no compiled kernels" in line
