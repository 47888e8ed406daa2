"""The campaign's judges find planted faults and nothing else; a slice of the campaign itself finds nothing."""

import ctypes
import errno
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]
PR_SET_DUMPABLE = 4
hostile = pytest.importorskip("tools.hostile")

from tools.hostile import corpus, domains, mutation, oracle, server, stage  # noqa: E402
from tools.hostile.campaign import cases, table  # noqa: E402
from tools.hostile.case import Case, Result  # noqa: E402


def played(tmp_path, function, **limits):
    """What the judges say about a command that does ``function``."""
    place = stage.Stage(tmp_path)
    place.judge(place.child(function, **limits), ("claims",))
    return {name for name, _ in place.faults}


def printing(text, code=0, stream=sys.stdout):
    def function():
        (sys.stdout if stream is sys.stdout else sys.stderr).write(text)
        return code

    return function


def raising():
    raise RuntimeError("planted")


def hog():
    held = bytearray(1200 * 2**20)
    held[::4096] = b"x" * len(held[::4096])
    return 0


def leaving_a_child():
    subprocess.Popen(["sleep", "30"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return 0


def error(text, code=2):
    return printing(text, code, sys.stderr)


PLANTED = {
    "a traceback": (raising, "traceback"),
    "a printed traceback": (printing("Traceback (most recent call last):\n"), "traceback"),
    "an exit code nobody documented": (printing("", 7), "exit code"),
    "an abort": (os.abort, "crash"),
    "an escape sequence": (printing("\x1b[31mred\n"), "control characters"),
    "a line turned round": (printing("a\u202eb\n"), "control characters"),
    "bytes that are no text": (lambda: os.write(1, b"\xff\n") * 0, "control characters"),
    "a refusal of two lines": (error("fffbench: one thing\nfffbench: another thing\n"), "error line"),
    "a refusal without a word": (error(""), "error line"),
    "a refusal that says nothing": (error("fffbench: no\n"), "error line"),
    "a refusal that cannot be read": (error("fffbench: unknown value " + "x" * 5000 + "\n"), "error line"),
    "a memory hog": (hog, "memory"),
    "a child left behind": (leaving_a_child, "orphans"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_found(name, tmp_path, monkeypatch):
    monkeypatch.setattr(stage, "GRACE_SECONDS", 0.3)
    function, judge = PLANTED[name]
    assert judge in played(tmp_path, function)


def test_a_hang_is_ended_and_found(tmp_path):
    began = time.monotonic()
    assert played(tmp_path, lambda: time.sleep(60) or 0, seconds=0.5) == {"hang"}
    assert time.monotonic() - began < 10


def test_time_in_which_the_campaign_stood_still_is_no_hang(tmp_path, monkeypatch):
    passed = [0.0]

    def sleep(seconds):
        time.sleep(seconds)
        passed[0] += 500.0 if passed[0] == 0.0 else 0.0

    monkeypatch.setattr(stage, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + passed[0], sleep=sleep))
    assert played(tmp_path, lambda: time.sleep(0.3) or 0, seconds=5.0) == set()
    assert passed == [500.0]


@pytest.mark.parametrize(
    "function", [printing("fine é 日本\n"), error("fffbench: --d 'x': allowed are whole numbers from 1 to 9\n")]
)
def test_what_is_right_is_not_blamed(function, tmp_path):
    assert played(tmp_path, function) == set()


def test_what_a_child_inherits_is_not_its_own_memory(tmp_path):
    held = bytearray(1200 * 2**20)
    held[::4096] = b"x" * len(held[::4096])
    assert played(tmp_path, printing("fine\n")) == set()
    del held


def test_a_fault_of_a_domain_is_no_case_that_went_well(tmp_path):
    domain = SimpleNamespace(draw=lambda rng: {}, play=lambda spec, stage: 1 / 0)
    result = server.played(domain, Case("planted", 1, 1), tmp_path)
    assert result.faults[0][0] == "campaign"


@pytest.fixture
def honest_file():
    from synthetic import cell_id, run_json

    return run_json({cell_id("dense_linear"): 2.0, cell_id("fff_cpu"): 0.02}, run="r")


def rows_of(value, **changes):
    first, second = (benchmark["extra_info"]["fffbench"] for benchmark in value["benchmarks"])
    time_of = [sorted(sample for process in info["processes"] for sample in process)[7] for info in (first, second)]
    return [
        {
            "record": f"r/{second['cell']}",
            "baseline_record": f"r/{first['cell']}",
            "time": time_of[1],
            "baseline_time": time_of[0],
            "speedup": time_of[0] / time_of[1],
            "low": 90.0,
            "high": 110.0,
            **changes,
        }
    ]


WRONG_FIGURES = [
    {"time": 0.03},
    {"speedup": 101.0 * 1.2},
    {"low": 120.0},
    {"record": "r/other"},
    {"baseline_time": 1.0},
]


@pytest.mark.parametrize("changes", WRONG_FIGURES, ids=lambda changes: next(iter(changes)))
def test_a_silent_wrong_value_is_found(honest_file, changes):
    valid, _ = oracle.read(json.dumps(honest_file).encode())
    assert not list(oracle.speedup_faults(rows_of(honest_file), valid))
    assert list(oracle.speedup_faults(rows_of(honest_file, **changes), valid))


@pytest.mark.parametrize(
    "change",
    [
        ["set", ["processes"], [[5e-324] * 3] * 6],
        ["set", ["processes"], [[-1.0]]],
        ["set", ["check", "tokens"], 0],
        ["set", ["check", "tolerance"], 1e300],
        ["raw", ["processes", 0, 0], "NaN"],
    ],
    ids=str,
)
def test_figures_from_samples_that_cannot_be_are_wrong_figures(honest_file, change):
    start = ["benchmarks", 1, "extra_info", "fffbench"]
    data = mutation.mutated(honest_file, [[change[0], [*start, *change[1]], *change[2:]]])
    read = oracle.read(data)
    valid = read[0] if read else {}
    assert list(oracle.speedup_faults(rows_of(honest_file), valid))


def test_a_lost_outcome_is_found(tmp_path):
    from tools.hostile import measured

    outcome = {"cell": "c", "process": 0, "samples": [0.001234567, 0.0012]}
    journal = tmp_path / "matrix" / "m" / "r.journal"
    journal.parent.mkdir(parents=True)
    journal.write_text(json.dumps({"outcome": outcome}) + "\n")
    assert measured.lost(tmp_path, [outcome]) == []
    journal.unlink()
    assert measured.lost(tmp_path, [outcome]) == ["c process 0"]
    info = {"extra_info": {"fffbench": {"processes": [[0.00123457, 0.0012]]}}}
    journal.with_suffix(".json").write_text(json.dumps({"benchmarks": [info]}))  # six digits are kept
    assert measured.lost(tmp_path, [outcome]) == []


@pytest.mark.parametrize("shift", [0.0, 1e-3])
def test_a_wrong_value_of_the_python_api_is_found(monkeypatch, shift):
    import fffbench
    from tools.hostile import calls

    real = fffbench.fff
    monkeypatch.setattr(fffbench, "fff", lambda *given, **options: real(*given, **options) + shift)
    call = {
        "seed": 1,
        "function": "fff",
        "kind": "torch",
        "batch": 5,
        "d": 16,
        "levels": 4,
        "trees": 2,
        "values": "normal",
    }
    assert bool(list(calls.one(call))) == bool(shift)


@pytest.mark.parametrize(
    ("kind", "factor", "right"),
    [("fp16", 1.0, True), ("fp16", 1 + 2**-9, False), ("bf16", 1.0, True), ("bf16", 1 + 2**-6, False)],
)
def test_a_narrow_type_may_round_once_and_below_its_normal_numbers_by_their_spacing(monkeypatch, kind, factor, right):
    """Outputs of one token are some 1e-7 here, where fp16 has one digit; a factor of four units was no fault."""
    import fffbench
    from tools.hostile import calls

    real = fffbench.fff
    monkeypatch.setattr(fffbench, "fff", lambda *given, **options: real(*given, **options) * factor)
    call = {
        "seed": 86631958,
        "function": "fff",
        "kind": kind,
        "batch": 257,
        "d": 129,
        "levels": 1,
        "trees": 1,
        "values": "nan",
    }
    assert bool(list(calls.one(call))) != right


def test_a_wrong_path_is_found(monkeypatch):
    import fffbench
    from tools.hostile import calls

    real = fffbench.path
    call = {
        "seed": 1,
        "function": "path",
        "kind": "numpy",
        "batch": 5,
        "d": 16,
        "levels": 4,
        "trees": 2,
        "values": "normal",
    }
    assert not list(calls.one(call))
    monkeypatch.setattr(fffbench, "path", lambda *given, **options: real(*given, **options)[::-1])
    assert list(calls.one(call))


@pytest.mark.parametrize("name", domains.names())
def test_a_case_is_the_same_wherever_it_is_drawn(name):
    domain = domains.load(name)
    first, again = (json.dumps(domain.draw(Case(name, 5, 3).rng)) for _ in range(2))
    assert first == again
    assert len({json.dumps(domain.draw(Case(name, 5, index).rng)) for index in range(30)}) > 15


def test_what_was_wrong_once_is_kept_with_its_input_and_comes_first(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "FOLDER", tmp_path)
    wrong = [
        Result(Case("claims", 1, index), {"text": "\x7f\ud800'\"\n", "n": index}, [("hang", f"after {index} s")])
        for index in range(9)
    ]
    assert corpus.grow([*wrong, Result(Case("claims", 1, 99), {}, [])], tmp_path) == corpus.OF_A_KIND
    assert corpus.grow(wrong, tmp_path) == 0
    first = next(iter(cases(1, 10, ["claims"])))
    assert first.spec == wrong[0].spec
    assert first.id == "claims:1:0"


def test_the_table_names_every_wrong_case_with_its_command():
    results = [
        Result(Case("claims", 1, 2), {}, [("hang", "60 s")], 60.0, 2**20),
        Result(Case("claims", 1, 3), {}, [], 0.1, 2**21),
    ]
    text = table(results, 2)
    assert "python -m tools.hostile --case claims:1:2" in text
    assert "claims:1:3" not in text


def test_mutations_are_as_drawn(honest_file):
    rng = random.Random(1)
    for _ in range(300):
        one = mutation.draw(rng, honest_file)
        assert mutation.mutated(honest_file, [one]) == mutation.mutated(honest_file, [json.loads(json.dumps(one))])


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("user", [0, 65534])
def test_a_small_disk_needs_no_root(tmp_path, user):
    from tools.hostile.domains import disks

    def function():
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1)  # or /proc/self would stay root's
        reason = disks.mounted(open_folder, 16)
        room = os.statvfs(open_folder)
        sys.stdout.write(reason or f"{room.f_frsize * room.f_blocks // 1024} KiB")
        return 0

    with tempfile.TemporaryDirectory() as name:  # pytest's own are root's alone
        open_folder = Path(name)
        open_folder.chmod(0o777)
        done = stage.Stage(tmp_path).child(function)
    user_namespaces_are_not_allowed = os.strerror(errno.EPERM)
    assert done.out.decode().strip() in ("16 KiB", *([user_namespaces_are_not_allowed] if user else [])), done


def test_a_slice_of_the_campaign_finds_nothing_wrong(tmp_path):
    """Fast domains only; the whole of it is ``nox -s hostile``."""
    chosen = "command_line,result_files,history_files,claims,python_api,regress_gate"
    command = [
        sys.executable,
        "-m",
        "tools.hostile",
        "--cases",
        "150",
        "--seed",
        "11",
        "--domains",
        chosen,
        "--no-corpus",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=without_safe_path())
    assert done.returncode == 0, done.stdout


def without_safe_path():
    """The tests' environment keeps the current folder off the path; ``-m tools.hostile`` is found through it."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}


def test_the_corpus_names_no_folder_of_the_machine_that_found_a_fault():
    assert corpus._without_folders("'--results' '/tmp/a-1/b/results': wrong") == "'--results' '...': wrong"
    for path in Path(corpus.__file__).parent.glob("corpus/*.toml"):
        for line in path.read_text(encoding="utf-8").splitlines():
            assert not (line.startswith("said") and re.search(r"/(tmp|root|home|opt|work)/", line)), line[:200]


def test_the_notebook_says_how_many_of_the_cases_are_of_each_domain():
    weights = {name: domains.load(name).WEIGHT for name in domains.names()}
    page = (ROOT / "docs" / "notebook" / "trust.md").read_text()
    said = dict(re.findall(r"^- `(\w+)`, ([\d.]+) %:", page, re.MULTILINE))
    assert said == {name: f"{100 * weight / sum(weights.values()):.1f}" for name, weight in weights.items()}
