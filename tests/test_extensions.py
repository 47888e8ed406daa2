"""A package that adds a device, a kind of layer or of claim is part of the judge; a broken one ends no command."""

import json
import os
import subprocess
import sys

import plugins
import pytest

from fffbench import apart, extensions
from fffbench.claims import kinds as claim_kinds
from fffbench.devices import DEVICES
from fffbench.errors import UserError
from fffbench.problems import PROBLEMS

SLEEPING = "import subprocess\nsubprocess.Popen(['sleep', '200'])"
HONEST = "from fffbench.devices.cpu import DEVICE\n"


@pytest.mark.parametrize("known", [DEVICES, PROBLEMS, claim_kinds.KINDS], ids=["device", "problem", "kind of claim"])
@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import sys\nsys.exit(0)", "SystemExit: 0"),
        ("raise BaseException('so\\nthere')", "BaseException: so there"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("import nothing_of_that_name", "ModuleNotFoundError"),
        ("import os\nos._exit(0)", "its import or declarations exited"),
        ("import os\nos.abort()", "ended by SIGABRT"),
        ("import threading, time\nthreading.Thread(target=time.sleep, args=(200,)).start()", "leaves 1 thread running"),
        ("import _thread, time\n_thread.start_new_thread(time.sleep, (200,))", "leaves 1 thread running"),
        (SLEEPING, "leaves a process behind"),
        ("import os, time\nos.fork() or time.sleep(200)", "leaves a process behind"),
        ("DEVICE = PROBLEM = KIND = 5", "must be a"),
        ("", "AttributeError"),
    ],
)
def test_one_that_breaks_in_any_way_is_refused_by_name_and_the_rest_is_there(
    known, source, said, tmp_path, monkeypatch, capsys
):
    # what stays is said only where the rest is right
    declared = "" if "DEVICE" in source or not source else "\nDEVICE = PROBLEM = KIND = 5"
    (tmp_path / "theirs.py").write_text(f"print('hello from an import')\n{source}{declared}\n")
    group = known._group.partition(".")[2]
    plugins.install(tmp_path, {}, monkeypatch, **{group: {"zoo": "theirs"}})
    monkeypatch.delitem(extensions.sys.modules, "theirs", raising=False)
    try:
        assert "zoo" in known
        with pytest.raises(UserError, match="'zoo'") as refused:
            known["zoo"]
        assert said in str(refused.value)
        assert "\n" not in str(refused.value)
        assert set(known.usable()) == set(known.own)
        assert capsys.readouterr().out == ""
    finally:
        plugins.forget()
        monkeypatch.delitem(extensions.sys.modules, "theirs", raising=False)


def test_an_import_that_hangs_is_stopped_at_its_limit(tmp_path):
    (tmp_path / "theirs.py").write_text("import time\ntime.sleep(1000)")
    serve = "from fffbench import apart, extensions\napart.serve(extensions.tried, seconds=1.0)"
    question = json.dumps({"value": "theirs", "attribute": "DEVICE", "asked by": os.getpid()})
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", serve], input=question, env=environment, capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip
    assert json.loads(done.stdout) == {"error": "took longer than 1 s to import and answer"}


def test_one_that_hangs_is_refused_by_name_though_nobody_stops_it(tmp_path, monkeypatch):
    (tmp_path / "theirs.py").write_text("import time\ntime.sleep(1000)")
    plugins.install(tmp_path, {}, monkeypatch, devices={"zoo": "theirs"})
    monkeypatch.setattr(apart, "SECONDS", 1.0)  # of this process, which gives up before the other does
    monkeypatch.setattr(apart, "GRACE_SECONDS", 0.5)
    try:
        with pytest.raises(UserError, match=r"'zoo'.*timed out"):
            DEVICES["zoo"]
    finally:
        plugins.forget()


def fffbench(folder, *arguments):
    command = [sys.executable, "-P", "-m", "fffbench", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("group", ["devices", "problems", "claim_kinds"])
def test_a_list_names_one_whose_import_ends_its_process_and_has_all_others(group, tmp_path, monkeypatch):
    (tmp_path / "theirs.py").write_text("import os\nos._exit(0)")
    plugins.install(tmp_path, {}, monkeypatch, **{group: {"zoo": "theirs"}})
    try:
        done = fffbench(tmp_path, "list", "--json")
        rows = {row["name"]: row for row in json.loads(done.stdout)}
        assert done.returncode == 0
        assert "its import or declarations exited" in rows["zoo"]["unsupported"]
        assert "fff_cpu" in rows
    finally:
        plugins.forget()


def test_a_command_that_asks_all_devices_names_the_broken_one_and_answers(tmp_path, monkeypatch):
    from synthetic import quick_cells, write_run

    (tmp_path / "theirs.py").write_text("import os\nos._exit(0)")
    write_run(tmp_path / "results", cells=quick_cells())
    plugins.install(tmp_path, {}, monkeypatch, devices={"zoo": "theirs"})
    try:
        done = fffbench(tmp_path, "report")
        assert done.returncode == 0
        assert (tmp_path / "reports" / "index.html").is_file()
        assert done.stderr.startswith("fffbench: left out device 'zoo' (theirs) cannot be imported: its import")
        assert done.stderr.count("\n") == 1
    finally:
        plugins.forget()


def test_an_honest_one_is_used_after_it_was_tried_elsewhere(tmp_path, monkeypatch):
    (tmp_path / "theirs.py").write_text(HONEST)
    sys.modules.pop("theirs", None)
    plugins.install(tmp_path, {}, monkeypatch, devices={"zoo": "theirs"})
    try:
        assert DEVICES["zoo"] is DEVICES["cpu"]
        assert DEVICES.broken() == {}
    finally:
        plugins.forget()
        monkeypatch.delitem(extensions.sys.modules, "theirs", raising=False)
