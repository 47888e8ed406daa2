"""What a reader sees of `speedup` and `claims` on a terminal of 80 and of 120 columns, as Markdown and as CSV.

The pictures lie in ``snapshots``; ``FFFBENCH_SNAPSHOTS=write`` writes them anew after a change that is meant.
"""

import csv
import io
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from synthetic import STABLE, STARTED, cell_id, quick_cells, write_run

from fffbench.analysis.rows import skipped_row
from fffbench.claims.judging import judge_all
from fffbench.cli import planning, run, tables
from fffbench.errors import one_of
from fffbench.plan.workload import Shape, parse_cell
from fffbench.results.reader import SkippedCell
from fffbench.results.store import Results
from fffbench.runs.display import in_words
from fffbench.runs.planning import Expected

SNAPSHOTS = Path(__file__).parent / "snapshots"
GPU = {"device": "cuda", "dtype": "bf16", "call": "graph"}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A CPU with the quick preset's cells and a leaf layer that loses, and a GPU with few processes."""
    folder = tmp_path_factory.mktemp("results")
    leaf = Shape.leaf(768, 1, 7, 32)
    cells = quick_cells()
    for threads in (1, 2):
        at = {"shape": leaf, "batch": 1, "threads": threads}
        cells |= {cell_id("fff_cpu", **at): 1e-3, cell_id("dense_linear", **at): 7e-4}
    skipped = {cell_id("cmm_masked", dtype="bf16"): "cmm_masked computes in fp32, not in bf16"}
    write_run(folder, cells=cells, skipped=skipped, changes={"notes": ["strategy walk", "5 of 6 processes: lost"]})
    gpu = {cell_id("dense_linear", **GPU): [1e-3] * 3, cell_id("fff_cuda", **GPU): [2e-4] * 2}
    write_run(folder, cells=gpu, machine="test-gpu-0001", run="gpu", stable={**STABLE, "gpu": "Test GPU"})
    return folder


def printed(capsys, *arguments):
    assert run(list(arguments)) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def row(implementation, gain, **changes):
    """A row with numbers of its own, so that a picture changes with the table alone."""
    work = {"batch": 16384, "cache": "cold", "routing": "uniform", "call": "kernel"} | {
        name: changes.pop(name) for name in ("batch", "device", "dtype", "shape", "threads", "cache") if name in changes
    }
    cell = parse_cell(cell_id(implementation, **work))
    empty = skipped_row(SkippedCell("run", changes.pop("machine", "machine-a"), STARTED, cell, "fff", ""), main=True)
    numbers = {
        "time": 1.234e-3,
        "speedup": gain,
        "low": gain and gain * 0.9,
        "high": gain and gain * 1.1,
        "roofline_share": 0.456,
    }
    found = {"error": 2.5e-7, "tried": 7, "baseline_implementation": "dense_padded", "main": True}
    return empty._replace(**{"baseline_threads": "fastest", "record": "r", **numbers, **found, **changes})


def speedup_rows(*_):
    leaf, wide = Shape.leaf(768, 1, 7, 32), Shape.tree(768, 1, 18)
    return [
        row("fff_cpu", 147.2, threads=2),
        row("fff_cpu", 92.61, batch=1, baseline_thread_count=16),
        row("cmm_gather_bmm", 0.3479, low=None, high=None, provisional=True),
        row("cmm_leaf_gather", 0.8765, shape=leaf, batch=1, provisional=True, roofline_share=8.27e-4),
        row("fff_cpu", 556.1, shape=wide, dtype="bf16", batch=1024),
        row("fff_cuda", 51.96, device="cuda", machine="machine-b", dtype="bf16"),
        row("fff_cuda", 52.1, device="cuda", machine="machine-b", main=False, cache="hot"),
        row("fff_cpu", None, time=None, record=None),
    ]


def losing_rows(*_):
    noted = "strategy bucket_sparing, avx512_bf16, 16 of 16 threads; a second remark that does not fit beside it"
    return [one._replace(reason=noted) for one in speedup_rows()[2:4]]


def claim_rows(*_, **__):
    rows = {(r.id, r.conditions): r for r in judge_all(Results())}
    at = {"machine": "machine-a", "device": "cpu", "records": ("one", "other"), "implementation": "fff_cpu"}
    at |= {"baseline_implementation": "dense_padded"}
    measured = [
        replace(rows["cpu-78x", "fair"], measured=147.2, low=138.0, high=155.0, coverage=0.97, **at),
        replace(rows["cpu-78x", "published"], measured=226.0, low=153.0, high=265.0, coverage=0.97, **at),
        replace(rows["cpu-131x", "fair"], measured=19.7, low=15.5, high=21.0, coverage=0.97, **at),
        replace(rows["cpu-131x", "published"], measured=1320.0, coverage=0.0, provisional=True, **at),
    ]
    verdicts = ["exceeded", "exceeded", "undecided", "undecided"]
    said = "Under fair conditions: 147x [138, 155], above the band of 62.4 to 97.5 (fff_cpu over dense_padded)."
    judged = [replace(r, verdict=verdict, reason=said) for r, verdict in zip(measured, verdicts, strict=True)]
    others = [r for (name, _), r in rows.items() if name in ("ceiling-341x", "leaf-220x", "gpu-40x")]
    return [*judged, *others]


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("speedup", ["speedup"]),
        ("speedup-all", ["speedup", "--all", "--sort", "-speedup"]),
        ("speedup-losing", ["speedup", "--slower-than-dense"]),
        ("claims", ["claims"]),
        ("claims-why", ["claims", "--claim", "cpu-78x", "--why"]),
    ],
)
def test_a_table_looks_as_it_did_and_stays_within_the_terminal(results, capsys, monkeypatch, width, name, arguments):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr("fffbench.analysis.speedup.speedups", speedup_rows)
    monkeypatch.setattr("fffbench.analysis.over.losing", losing_rows)
    monkeypatch.setattr("fffbench.claims.judging.judge_all", claim_rows)
    text = printed(capsys, *arguments, "--results", str(results))
    picture = SNAPSHOTS / f"{name}-{width}.txt"
    if os.environ.get("FFFBENCH_SNAPSHOTS") == "write":
        picture.parent.mkdir(exist_ok=True)
        picture.write_text(text, encoding="utf-8")
    assert text == picture.read_text(encoding="utf-8")
    assert max(len(line) for line in text.splitlines()) <= width


def test_a_row_of_the_table_is_the_row_that_json_has(results, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    asked = ["--batch", "16384", "--impl", "fff_cpu", "--threads", "2", "--results", str(results)]
    table = printed(capsys, "speedup", *asked)
    rows = json.loads(printed(capsys, "speedup", *asked, "--json"))
    [row] = [row for row in rows if row["main"] and row["baseline"] == "best-dense"]
    [line] = [line for line in table.splitlines() if line.startswith("fff_cpu")]
    assert f"{row['speedup']:.0f}x [" in line
    assert row["baseline_implementation"] in line
    assert {row["threads"] for row in rows} == {2}


def test_csv_and_json_say_the_same_of_the_rows_that_were_asked_for(results, capsys):
    asked = ["speedup", "--machine", "gpu", "--results", str(results)]
    rows = json.loads(printed(capsys, *asked, "--json"))
    lines = list(csv.DictReader(io.StringIO(printed(capsys, *asked, "--csv"))))
    assert len(lines) == len(rows) > 0
    assert {line["machine"] for line in lines} == {"test-gpu-0001"}
    assert list(lines[0]) == list(rows[0])
    assert [line["record"] for line in lines] == [row["record"] for row in rows]


def test_markdown_has_a_table_of_each_machine_that_a_page_shows_as_one(results, capsys):
    text = printed(capsys, "claims", "--markdown", "--results", str(results))
    tables_ = [block for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables_) == 3  # the CPU, on no machine, on paper
    for table in tables_:
        assert len({line.replace("\\|", "").count("|") for line in table.splitlines()}) == 1


def test_only_optimised_cells_below_nine_tenths_of_their_own_width_are_slower_than_dense(results, capsys):
    rows = json.loads(printed(capsys, "speedup", "--slower-than-dense", "--json", "--results", str(results)))
    assert {(row["implementation"], row["n"], row["baseline_n"]) for row in rows} == {("fff_cpu", 4096, 4096)}
    assert all(row["speedup"] < 0.9 for row in rows)
    assert {row["reason"] for row in rows} == {"strategy walk"}


def test_any_implementation_can_be_the_baseline(results, capsys):
    rows = json.loads(printed(capsys, "speedup", "--over", "fff_cpu", "--json", "--results", str(results)))
    by_name = {row["implementation"] for row in rows}
    assert {"cmm_gather_bmm", "dense_linear"} <= by_name
    assert "fff_cpu" not in by_name
    assert {row["baseline_implementation"] for row in rows} == {"fff_cpu"}
    assert all(row["speedup"] < 1 for row in rows if row["implementation"] == "dense_bmm")


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["speedups"], "speedup"),
        (["fleet", "stauts"], "status"),
        (["run", "--preset", "quik"], "quick"),
        (["run", "--implementations", "fff_gpu"], "fff_cpu"),
        (["speedup", "--impl", "ff_cpu"], "fff_cpu"),
        (["speedup", "--over", "cmm_gather"], "cmm_gather_bmm"),
        (["speedup", "--machine", "test-cpu-2c-001"], "test-cpu-2c-0001"),
        (["claims", "--claim", "cpu78x"], "cpu-78x"),
        (["claims", "--verdict", "reproducd"], "reproduced"),
    ],
)
def test_a_misspelt_name_is_answered_with_the_one_that_was_meant(results, capsys, arguments, meant):
    assert run([*arguments, "--results", str(results)]) == 2  # an option of any command, or of none
    said = capsys.readouterr().err
    assert f"did you mean {meant!r}?" in said
    assert said.count("\n") == 1


def test_of_many_names_the_nearest_are_listed_and_not_all():
    names = [f"kernel_{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    said = str(one_of("kernel", "kernel_z1", names))
    assert "did you mean 'kernel_z'?" in said
    assert said.count("kernel_") < 10
    assert "did you mean" not in str(one_of("kernel", "something else", names))


@pytest.mark.parametrize("width", [40, 60, 80, 100])
def test_a_column_that_does_not_fit_is_left_out_whole_and_named(width):
    columns = [
        tables.Column(name, lambda row, name=name: f"{name}{row}" * 3, worth=-i) for i, name in enumerate("abcdefgh")
    ]
    text = tables.lines(tables.Table("title", [1000, 2000]), columns, width)
    [narrow] = [line for line in text.splitlines() if line.startswith("too narrow")] or [""]
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for column in columns:
        assert (f"{column.title}1000" in text) != (column.title in narrow.removeprefix("too narrow for: "))


def test_what_all_rows_have_in_common_is_said_once():
    columns = [tables.Column("name", str), tables.Column("type", lambda _: "fp32", common=True)]
    text = tables.lines(tables.Table("here", ["one", "two"]), columns, 80)
    assert text.count("fp32") == 1
    assert text.splitlines()[0] == "here: type fp32"


def test_without_a_command_there_is_help(capsys):
    assert run([]) == 0
    assert "todo" in capsys.readouterr().out


def test_what_is_measured_is_named_with_what_tells_it_from_the_others_first():
    assert in_words(cell_id("fff_cpu", shape=Shape.leaf(768, 1, 7, 32), batch=1, threads=2)) == (
        "fff_cpu, batch 1, fp32, 2 threads, 768x4096 1x7l32, cold kernel, uniform"
    )
    assert in_words(cell_id("fff_cuda", **GPU)).startswith("fff_cuda, batch 16384, bf16, 768x4095 1x12, cold graph")


def test_of_whole_models_a_narrow_terminal_keeps_what_they_gain(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = printed(capsys, "models", "--results", str(Path(__file__).parents[2] / "results")).splitlines()
    heads = [line for line in lines if line.startswith("layers")]
    assert heads
    assert all(line.split()[-1] == "gain" for line in heads)  # mode and time too, where there is room for them
    assert max(map(len, lines)) <= 80


def test_a_plan_beyond_its_budget_says_both_so_that_its_lines_add_up(capsys):
    cells = {parse_cell(cell_id("fff_cpu")): 100.0, parse_cell(cell_id("dense_linear")): 200.0}
    for total, said in ((60.0, "about 5 min, of which the budget allows 1 min"), (310.0, "about 5 min 10 s")):
        planning.show(Expected(cells, [], 6, total, 0), as_json=False)
        assert f"2 cells, 6 processes each, {said}\n" in capsys.readouterr().out
