"""What the user's shell sets for OpenMP and the BLAS reaches no measurement, and is stored."""

import json
import os
import subprocess
import sys

import pytest

from fffbench.errors import UserError
from fffbench.measure import environment, fingerprint

HOSTILE = {
    "OMP_THREAD_LIMIT": "1", "OMP_DYNAMIC": "true", "OMP_PROC_BIND": "true", "OMP_NUM_THREADS": "1",
    "GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0", "MKL_NUM_THREADS": "1", "OPENBLAS_CORETYPE": "Prescott",
    "ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "DNNL_MAX_CPU_ISA": "SSE41",
    "VECLIB_MAXIMUM_THREADS": "1", "NVIDIA_TF32_OVERRIDE": "1", "MALLOC_ARENA_MAX": "1",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _apart(monkeypatch):
    """No trace of a test is left in the process."""
    monkeypatch.setattr(environment, "_inherited", {})


def test_a_childs_environment_has_none_of_them_and_all_else():
    found = environment.cleaned({**HOSTILE, "PATH": "/bin", "HOME": "/h", "TORCH_HOME": "/t"})
    assert found == {"PATH": "/bin", "HOME": "/h", "TORCH_HOME": "/t", **environment.ADDED}


def test_they_leave_this_process_and_what_they_were_is_kept(monkeypatch):
    for name, value in HOSTILE.items():
        if name not in environment.BINDING:
            monkeypatch.setenv(name, value)
    environment.clean()
    assert not set(HOSTILE) & set(os.environ)
    assert "OMP_THREAD_LIMIT=1" in environment.inherited()
    environment.clean()
    assert "OMP_THREAD_LIMIT=1" in environment.inherited(), "a second look forgets nothing"


LOADED = """
from fffbench import __main__ as command
import sys
from fffbench import cli
from fffbench.measure import outcome
from fffbench.measure.processes import Round
print("theirs" in sys.modules)
with Round():
    pass
"""


def test_what_a_package_registers_with_other_libraries_is_not_imported_by_the_run_nor_by_a_worker(tmp_path):
    pytest.importorskip("torch")
    (tmp_path / "theirs.py").write_text(f"open({str(tmp_path / 'seen')!r}, 'a').write('imported')\n")
    metadata = tmp_path / "theirs-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    groups = ("torch.backends", "pydantic", "fffbench.implementations")
    (metadata / "entry_points.txt").write_text("".join(f"[{group}]\ntheirs = theirs\n\n" for group in groups))
    done = subprocess.run(
        [sys.executable, "-P", "-c", LOADED],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("False\n", 0), done.stderr
    assert not (tmp_path / "seen").exists()


def test_a_binding_that_was_read_already_is_refused(monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setenv("OMP_PROC_BIND", "true")
    with pytest.raises(UserError, match="OMP_PROC_BIND was set when torch was loaded"):
        environment.clean()


def test_paths_in_them_are_stored_without_their_folders():
    stored = environment.remaining({"LD_PRELOAD": "/home/someone/lib/libjemalloc.so", "PATH": "/x"})
    assert stored == "LD_PRELOAD=.../libjemalloc.so"
    assert environment.remaining({}) == "none"


ASK = """
import json, os, pathlib
from fffbench.runs import planning as bench
from fffbench.measure import fingerprint
from fffbench.measure.processes import Round
bench.expected(bench.Options("quick"), pathlib.Path("results"))
import torch
facts = fingerprint.stable()
with Round() as worker:
    pid = worker._process.pid
    seen = open(f"/proc/{pid}/environ").read().split("\\0")
    affinity = len(os.sched_getaffinity(pid))
print(json.dumps({"id": fingerprint.machine_id(facts), "affinity": affinity, "seen": seen}))
"""


def ask(extra):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(environment.REMOVED)}
    done = subprocess.run(
        [sys.executable, "-c", ASK], env={**kept, **extra}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_hostile_shell_moves_no_machine_and_binds_no_worker():
    found, facts = ask(HOSTILE), fingerprint.stable()
    assert {line.partition("=")[0] for line in found["seen"]} & set(HOSTILE) == set()
    assert found["id"] == fingerprint.machine_id(facts)
    assert found["affinity"] == len(os.sched_getaffinity(0))
