"""Does the summary of the GPU checks say what was found, keep what was done, and stay quiet where no GPU is?"""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
SCRIPT = Path(__file__).parents[2] / "tools" / "cuda" / "check.py"


@pytest.fixture
def check(monkeypatch):
    spec = importlib.util.spec_from_file_location("cuda_check", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "cuda_check", module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def on_a_gpu(check, monkeypatch):
    from fffbench.implementations import fff_cuda

    monkeypatch.setattr(fff_cuda, "machine_reason", lambda: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    return check


def run(check, monkeypatch, tmp_path, parts):
    monkeypatch.setattr(check, "CHECKS", parts)
    code = check.main(["--out", str(tmp_path), "--only", *parts])
    (table,) = tmp_path.glob("*.json")
    return code, json.loads(table.read_text()), table.with_suffix(".txt").read_text()


def test_without_a_gpu_it_says_so_and_writes_nothing(check, monkeypatch, tmp_path, capsys):
    from fffbench.implementations import fff_cuda

    monkeypatch.setattr(fff_cuda, "machine_reason", lambda: "no CUDA device here")
    assert check.main(["--out", str(tmp_path)]) == 0
    assert "no CUDA device here" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_parts_that_pass_or_are_skipped_end_well_and_stand_in_the_summary(on_a_gpu, monkeypatch, tmp_path):
    check = on_a_gpu
    parts = {
        "edges": lambda _: iter([check.Check("edges", check.PASSED, 12, 1.0, ("12 passed",))]),
        "memcheck": lambda _: iter([check.Check("memcheck", check.SKIPPED, 0, 0.0, ("not installed here",))]),
    }
    code, table, text = run(check, monkeypatch, tmp_path, parts)
    assert code == 0
    assert [part["outcome"] for part in table["checks"]] == ["passed", "skipped"]
    assert "12 passed" in text
    assert "not installed here" in text


def test_one_part_that_finds_something_fails_the_whole(on_a_gpu, monkeypatch, tmp_path):
    check = on_a_gpu
    parts = {
        "racecheck": lambda _: iter([check.Check("racecheck", check.FAILED, 3, 1.0, ("exit 99",))]),
        "edges": lambda _: iter([check.Check("edges", check.PASSED, 12, 1.0)]),
    }
    assert run(check, monkeypatch, tmp_path, parts)[0] == 1


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ("echo 'tile d768 ran'; echo '========= ERROR SUMMARY: 0 errors'", "passed"),
        ("echo 'tile d768 ran'; echo '========= ERROR SUMMARY: 1 error'; exit 99", "failed"),
        ("echo '========= ERROR SUMMARY: 0 errors'", "failed"),  # nothing ran
    ],
)
def test_compute_sanitizer_is_believed_only_when_kernels_ran_and_it_says_so(
    check, monkeypatch, tmp_path, body, outcome
):
    tool = tmp_path / "compute-sanitizer"
    tool.write_text(f"#!/bin/sh\n{body}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    [result] = check.sanitizer("memcheck", check.Wanted())
    assert result.outcome == outcome


def test_a_kernel_that_is_wrong_or_raises_fails_conformance_and_is_named(check, monkeypatch):
    from fffbench.measure import conformance as judge
    from fffbench.measure.check import Verdict

    verdicts = iter([Verdict(1.0, 0.1, 3, 0, 0, "3 of 3 tokens differ")])

    def conform(name, workload):
        try:
            return next(verdicts)
        except StopIteration:
            raise RuntimeError("illegal address") from None

    monkeypatch.setattr(judge, "conform", conform)
    *_, result = check.conformance(check.Wanted(("fff_cuda",)))
    assert result.outcome == check.FAILED
    assert "3 of 3 tokens differ" in result.details[0]
    assert "illegal address" in result.details[1]


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ("echo 'tile d768 ran'; sleep 60", "partly"),
        ("echo 'tile d768 ran'; echo '========= Invalid __global__ read of size 4 bytes'; sleep 60", "failed"),
        ("sleep 60", "failed"),  # nothing ran
    ],
)
def test_a_sanitizer_past_its_limit_is_stopped_and_says_what_it_left_out(check, monkeypatch, tmp_path, body, outcome):
    tool = tmp_path / "compute-sanitizer"
    tool.write_text(f'#!/bin/sh\n[ "$1" = --help ] && exit\n{body}\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    [result] = check.sanitizer("racecheck", check.Wanted(limit=0.5))
    assert result.outcome == outcome
    assert result.seconds < 20
    assert "left out for time" in result.details[0]


def test_the_sanitizer_looks_at_our_kernels_only_where_it_can_choose(check, monkeypatch, tmp_path):
    tool = tmp_path / "compute-sanitizer"
    tool.write_text(
        '#!/bin/sh\n[ "$1" = --help ] && echo "  --kernel-name arg" && exit\n'
        'case "$*" in *"--kernel-name kns=fff_"*) echo "x ran"; echo "ERROR SUMMARY: 0 errors";; esac\n'
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    [result] = check.sanitizer("racecheck", check.Wanted())
    assert result.outcome == check.PASSED


def test_conformance_past_its_limit_names_what_it_left_out(check, monkeypatch):
    from fffbench.measure import conformance as judge
    from fffbench.measure.check import Verdict

    monkeypatch.setattr(judge, "conform", lambda name, workload: Verdict(0.0, 1.0, 1, 0, 0))
    clock = iter(range(100000))
    monkeypatch.setattr(check.time, "perf_counter", lambda: float(next(clock)))
    *_, result = check.conformance(check.Wanted(("fff_cuda",), ("fp32", "bf16"), limit=30))
    assert result.outcome == check.PARTLY
    assert result.cases == 30
    assert any(detail.startswith("left out for time") and "fff_cuda in bf16" in detail for detail in result.details)


def test_edges_run_side_by_side_and_count_every_test(check, monkeypatch, tmp_path):
    edge = tmp_path / "tests" / "test_edge.py"
    edge.parent.mkdir()
    edge.write_text(
        "import pytest, time\n"
        "@pytest.mark.parametrize('n', range(5))\ndef test_leaf(n): pass\n"
        "def test_skipped(): pytest.skip('does not take it')\n"
    )
    monkeypatch.setattr(check, "ROOT", tmp_path)
    monkeypatch.setattr(check, "EDGES", ("tests/test_edge.py",))
    monkeypatch.setattr(check, "EDGE_PROCESSES", 2)
    [result] = check.edges(check.Wanted())
    assert (result.outcome, result.cases) == (check.PASSED, 5), result
    edge.write_text(edge.read_text() + "def test_slow(): time.sleep(60)\n")
    [result] = check.edges(check.Wanted(limit=6))
    assert result.outcome == check.PARTLY, result
    assert "left out for time: 1 of 7 tests" in result.details
    edge.write_text("def test_wrong(): assert 0\n")
    [result] = check.edges(check.Wanted())
    assert result.outcome == check.FAILED
