"""A whole run, in a private repository, from a hostile shell: its file names the project's commit and nobody else."""

import json
import os
import subprocess
import sys

import pytest

from fffbench import sources

AXES = (
    *("--implementations", "dense_linear,fff_planted", "--batches", "1", "--levels", "5", "--d", "64"),
    *("--threads", "1", "--seconds", "0.02", "--routing", "uniform", "--cache", "hot", "--call", "kernel"),
)
PLANTED = '''"""A kernel whose preparation fails and says where."""
FAMILY, DEVICES, DTYPES = "fff", ("cpu",), ("fp32",)
def unsupported(workload):
    return None
def prepare(weights, workload):
    open("/home/acme-user/weights/secret.bin")
'''
SECRETS = ("acme", "private-branch", "secret-project", "jane@acme", "/home", "/root", "/opt")


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """The text of the result file, and its value."""
    pytest.importorskip("torch")
    home = tmp_path_factory.mktemp("acme-home")
    project = home / "secret-project"
    plugin = home / "plugin"
    for folder in (project, plugin / "planted-1.0.dist-info"):
        folder.mkdir(parents=True)
    (plugin / "planted-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: planted\nVersion: 1.0\n")
    points = "[fffbench.implementations]\nfff_planted = planted_kernel\n"
    (plugin / "planted-1.0.dist-info/entry_points.txt").write_text(points)
    (plugin / "planted_kernel.py").write_text(PLANTED)
    git = ["git", "-c", "user.name=jane", "-c", "user.email=jane@acme", "-C", str(project)]
    for arguments in (
        ("init", "-q", "-b", "private-branch"),
        ("remote", "add", "origin", "git@acme:secret.git"),
        ("commit", "-q", "--allow-empty", "-m", "acme"),
    ):
        subprocess.run([*git, *arguments], check=True)
    shell = {
        "HOME": str(home),
        "PYTHONPATH": str(plugin),
        "OMP_TOOL_LIBRARIES": str(home / "libtool.so"),
        "OMP_DYNAMIC": "true",
        "LD_LIBRARY_PATH": str(home / "lib"),
        "USER": "acme-user",
        "LOGNAME": "acme-user",
    }
    done = subprocess.run(
        [sys.executable, "-m", "fffbench", "run", *AXES, "--processes", "1", "--results", "results"],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **shell},
    )
    assert done.returncode == 0, done.stderr
    text = (project / done.stdout.strip()).read_text()
    return text, json.loads(text)


def test_nothing_in_it_names_the_user_the_folder_or_the_repository(stored):
    text, _ = stored
    for secret in (*SECRETS, str(sys.prefix)):
        where = text.find(secret)
        assert where < 0, text[max(0, where - 100) : where + 100]


def test_a_reason_keeps_what_helps(stored):
    [skipped] = stored[1]["fffbench"]["skipped"]
    assert "secret.bin" in skipped["reason"]


def test_it_has_the_projects_commit_and_whether_it_was_changed(stored):
    run, beside = stored[1]["fffbench"], stored[1]["commit_info"]
    mine = sources.current()
    assert (run["commit"], run["dirty"]) == (mine.shown, mine.dirty)
    assert run["sources"] == f"{mine.shipped}-{mine.compiled}"
    assert (beside["id"], beside["project"], beside["branch"]) == (
        mine.shown.removesuffix("-dirty"),
        "fffbench",
        "(unknown)",
    )


def test_what_was_taken_out_of_the_shell_and_the_threads_that_ran_are_there(stored):
    observed = stored[1]["fffbench"]["machine"]["observed"]
    assert "OMP_DYNAMIC=true" in observed["variables removed"]
    assert observed["plugin fff_planted"].startswith("planted 1.0 ")
    [benchmark] = stored[1]["benchmarks"]
    [ran] = benchmark["extra_info"]["fffbench"]["threads_ran"]
    assert 0.5 < ran < 1.3
