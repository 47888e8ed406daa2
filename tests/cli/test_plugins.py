"""A plugin that breaks is its own line: ``list``, ``run`` and ``check`` go on with everybody else."""

import json
import os
import subprocess
import sys

import plugins
import pytest

from fffbench import checking
from fffbench.cli.implementations import NOT_SEEN
from fffbench.implementations import _plugin, registry

HONEST = """
"Somebody's kernel."
from fffbench.implementations import fff_cpu
FAMILY, DEVICES, DTYPES = "fff", ("cpu",), ("fp32",)
unsupported, prepare = fff_cpu.unsupported, fff_cpu.prepare
"""
BROKEN_IMPORTS = {
    "exits": ("import sys\nsys.exit(0)", "SystemExit"),
    "leaves": ("import os\nos._exit(0)", "exited"),
    "interrupts": ("raise KeyboardInterrupt('now')", "KeyboardInterrupt"),
    "raises": ("raise BaseException('so\\nthere')", "BaseException: so there"),
    "crashes": ("import os\nos.kill(os.getpid(), 11)", "segmentation fault"),
    "eats": ("hoard = bytearray(2**34)", "MemoryError"),
    "lacks": ("'Nothing.'", "lacks FAMILY"),
    "counts": (HONEST + "DEVICES = 7", "DEVICES must be a tuple of names"),
    "invents": (HONEST + "DTYPES = ('fp7',)", "not fp7"),
    "calls": (HONEST + "prepare = 'no function'", "prepare must be a function"),
    "maps": (HONEST + "VARIANTS = ['a']", "VARIANTS must be"),
    "family": (HONEST + "FAMILY = ('fff',)", "FAMILY"),
}
NOISY = HONEST + "print('hello from an import')\nimport os\nos.fork() or os._exit(0)\n"
FAULTS = {
    "raises_when_asked": (HONEST + "def unsupported(w): raise SystemExit(0)", "SystemExit: 0"),
    "answers_oddly": (HONEST + "def unsupported(w): return 3", "neither None nor a sentence"),
}
IN_CHECK = {
    "raises_in_prepare": (HONEST + "def prepare(*a): raise SystemExit(0)", "SystemExit: 0"),
    "crashes_in_prepare": (HONEST + "import os\ndef prepare(*a): os.kill(os.getpid(), 11)", "segmentation fault"),
    "leaves_in_prepare": (HONEST + "import os\ndef prepare(*a): os._exit(0)", "exited without reporting a result"),
    "eats_in_prepare": (
        HONEST + "def prepare(*a):\n    hoard = bytearray(2**34)\n    return fff_cpu.prepare(*a)",
        "MemoryError",
    ),
    "returns_no_layer": (HONEST + "def prepare(*a): return 5", "not a Layer"),
}


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install modules given by their sources, for this process and the command line."""

    def put(**sources):
        for name, source in sources.items():
            (tmp_path / f"{name}.py").write_text(source)
        plugins.install(tmp_path, {name: name for name in sources}, monkeypatch)

    yield put
    registry._plugins.cache_clear()


def fffbench(tmp_path, *arguments):
    command = [sys.executable, "-m", "fffbench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)


def test_each_broken_import_is_a_line_of_its_own_and_the_others_are_there(install):
    install(honest=HONEST, **{name: source for name, (source, _) in BROKEN_IMPORTS.items()})
    assert "honest" in registry.implementations()
    broken = registry.broken()
    assert set(broken) == set(BROKEN_IMPORTS)
    for name, (_, said) in BROKEN_IMPORTS.items():
        assert said in broken[name], name
        assert name in broken[name]
        assert "\n" not in broken[name]
    assert not set(BROKEN_IMPORTS) & set(sys.modules)


MEDDLES = """
import os
from pathlib import Path
asker = int(Path(f"/proc/{os.getppid()}/stat").read_text().rpartition(")")[2].split()[1])
os.sched_setaffinity(asker, {min(os.sched_getaffinity(0))})
"""


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor: nothing to be bound to")
def test_an_import_that_binds_its_asker_to_one_processor_is_named_and_undone(install):
    before = os.sched_getaffinity(0)
    install(honest=HONEST, meddles=MEDDLES + HONEST)
    assert "honest" in registry.implementations()
    assert set(registry.broken()) == {"meddles"}
    assert "changed the cpus" in registry.broken()["meddles"]
    assert os.sched_getaffinity(0) == before


def test_an_import_that_sleeps_is_stopped_at_its_limit(install, monkeypatch):
    source = "from fffbench import apart\nfrom fffbench.implementations import _plugin\n"
    source += "apart.serve(_plugin.answered, seconds=1.0)\n"
    command = [sys.executable, "-P", "-c", source]
    install(sleeps="import time\ntime.sleep(1000)")
    question = json.dumps({"value": "sleeps", "variant": "", "workloads": [], "asked by": os.getpid()})
    done = subprocess.run(command, input=question, capture_output=True, text=True, check=False, timeout=60)
    assert json.loads(done.stdout) == {"error": "took longer than 1 s to import and answer"}


def test_list_shows_the_broken_with_their_reason_and_exits_with_0(install, tmp_path):
    install(noisy=NOISY, exits=BROKEN_IMPORTS["exits"][0], **{name: source for name, (source, _) in FAULTS.items()})
    done = fffbench(tmp_path, "list", "--json")
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert done.returncode == 0
    assert rows["noisy"]["unsupported"] is None
    assert "SystemExit" in rows["exits"]["unsupported"]
    assert "fff_cpu" in rows
    for name, (_, said) in FAULTS.items():
        assert said in rows[name]["unsupported"]


def test_check_goes_on_after_each_fault_and_never_exits_with_0(install, tmp_path):
    install(exits=BROKEN_IMPORTS["exits"][0], **{name: source for name, (source, _) in IN_CHECK.items()})
    done = fffbench(tmp_path, "check", "--json", "--implementations", ",".join(("exits", *IN_CHECK)))
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert done.returncode == 1
    assert done.stderr == f"fffbench: {NOT_SEEN}\n"
    assert "SystemExit" in rows["exits"]["failure"]
    for name, (_, said) in IN_CHECK.items():
        assert said in rows[name]["failure"]


def test_a_case_of_check_that_hangs_is_stopped_and_named(install, monkeypatch):
    monkeypatch.setattr(checking, "CASE_SECONDS", 1.0)
    monkeypatch.setattr(checking, "MOST_DEATHS", 1)
    install(hangs=HONEST + "import time\ndef prepare(*a): time.sleep(1000)")
    [row] = checking.rows(["hangs"], ["fp32"], ["cpu"])
    assert "stopped after 1 s" in row["failure"]


def test_what_hangs_once_is_waited_for_less_in_all_its_other_cases_and_rows(install, monkeypatch):
    monkeypatch.setattr(checking, "CASE_SECONDS", 3.0)
    monkeypatch.setattr(checking, "AGAIN_SECONDS", 0.5)
    body = HONEST.replace('("fp32",)', '("fp32", "bf16")') + "import time\ndef prepare(*a): time.sleep(1000)"
    install(hangs=body)
    rows = list(checking.rows(["hangs"], [], ["cpu"]))
    said = [fault["failure"] for row in rows for fault in row["faults"]]
    assert len(rows) == 2
    assert said[0] == "stopped after 3 s"
    assert len(said) == 2 * checking.MOST_DEATHS
    assert set(said[1:]) == {f"stopped after {0.5:.0f} s"}


def test_nothing_checked_and_nothing_to_measure_are_errors(install, tmp_path):
    install(refuses=HONEST + "def unsupported(w): return 'not on Tuesdays'")
    for command in (("check", "--dtypes", "fp32"), ("run", "--batches", "1", "--levels", "3")):
        done = fffbench(tmp_path, *command, "--implementations", "refuses")
        assert done.returncode == 2
        assert "not on Tuesdays" in done.stderr


def test_a_plan_leaves_broken_plugins_out_and_refuses_them_by_name(install, tmp_path):
    install(exits=BROKEN_IMPORTS["exits"][0], honest=HONEST)
    done = fffbench(tmp_path, "run", "--plan", "--batches", "1", "--levels", "3")
    assert done.returncode == 0
    assert "honest" in done.stdout
    done = fffbench(tmp_path, "run", "--plan", "--implementations", "exits")
    assert done.returncode == 2
    assert "SystemExit" in done.stderr


def test_a_question_is_answered_without_importing_the_module_here(install):
    install(noisy=NOISY)
    assert _plugin.ask("noisy")["family"] == "fff"
    assert "noisy" not in sys.modules
