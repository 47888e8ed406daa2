"""Does ``fffbench claims --json`` judge what lies in the results folder, that and nothing else?"""

import json
import shutil
from collections import defaultdict

import pytest
from synthetic import cell_id, quick_cells, write_run
from typer.testing import CliRunner

from fffbench.cli import app
from fffbench.plan.workload import Shape

HOT = {"cache": "hot", "call": "torch"}


def claims(results):
    """The rows that the command prints."""
    done = CliRunner().invoke(app, ["claims", "--json", "--results", str(results)])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def verdicts(results, device=None):
    """The verdict of each claim, on all machines or those of one device; two different ones fail the test."""
    found = defaultdict(set)
    for row in claims(results):
        if device is None or row["device"] == device:
            found[row["id"]].add(row["verdict"])
    return {claim: one for claim, (one,) in found.items()}


def flipped(before, after):
    return {claim for claim in before if before[claim] != after[claim]}


def test_a_planted_false_file_flips_the_claims_about_its_cells_and_no_others(tmp_path):
    write_run(tmp_path, cells=quick_cells())
    before = verdicts(tmp_path)
    false = {}
    for threads in (1, 2):
        for routing, rest in (("uniform", {}), ("single-path", HOT)):
            false[cell_id("dense_linear", threads=threads, **rest)] = [1.0] * 6
            false[cell_id("fff_cpu", threads=threads, routing=routing, **rest)] = [0.5] * 6
    planted = write_run(tmp_path, cells=false, run="false", started="2027-01-01T00:00:00Z")
    # every claim that one of the two cells is a side of: dense_linear is also what width 3072 is compared with
    found = flipped(before, verdicts(tmp_path))
    assert "cpu-78x" in found
    assert found <= {
        "cpu-78x", "forum-30x", "cpu-78x-over-bert", "measured-341x", "width-cpu-level-1", "width-cpu-level-3"
    }  # fmt: skip
    planted.unlink()
    assert verdicts(tmp_path) == before


def test_a_planted_file_about_work_that_nobody_claimed_flips_nothing(tmp_path):
    write_run(tmp_path, cells=quick_cells())
    before = verdicts(tmp_path)
    cells = {cell_id("dense_linear", batch=101): [1.0] * 6, cell_id("fff_cpu", batch=101): [1e-4] * 6}
    write_run(tmp_path, cells=cells, run="elsewhere", started="2027-01-01T00:00:00Z")
    assert verdicts(tmp_path) == before


def write_gpu(results):
    """A machine with a GPU on which FFF is 40 times faster."""
    cells = {cell_id("dense_linear", device="cuda"): [1.0] * 6, cell_id("fff_cuda", device="cuda"): [1 / 40] * 6}
    write_run(results, cells=cells, machine="test-gpu-0001", run="gpu")


def test_a_planted_file_of_a_gpu_flips_no_verdict_of_the_cpu(tmp_path):
    write_run(tmp_path, cells=quick_cells())
    before = verdicts(tmp_path, "cpu")
    write_gpu(tmp_path)
    assert verdicts(tmp_path, "cpu") == before
    assert verdicts(tmp_path, "cuda")["gpu-40x"] == "reproduced"


def test_deleting_one_machines_results_takes_its_verdicts_away_and_leaves_the_others(tmp_path):
    write_run(tmp_path, cells=quick_cells())
    write_gpu(tmp_path)
    on_gpu = verdicts(tmp_path, "cuda")
    assert "cpu-78x" in verdicts(tmp_path, "cpu")
    shutil.rmtree(tmp_path / "matrix" / "test-cpu-2c-0001")
    after = verdicts(tmp_path)
    assert after["cpu-78x"] == "not-measured"
    assert {claim: after[claim] for claim in on_gpu} == on_gpu


def test_without_any_results_every_ratio_is_not_measured_with_a_reason_and_without_records(tmp_path):
    write_run(tmp_path, cells=quick_cells())
    measured = {row["id"] for row in claims(tmp_path) if row["records"]}
    assert "cpu-78x" in measured
    shutil.rmtree(tmp_path / "matrix")
    rows = [row for row in claims(tmp_path) if row["kind"] == "ratio"]
    assert measured <= {row["id"] for row in rows}
    for row in rows:
        assert row["verdict"] == "not-measured"
        assert row["reason"].startswith("Not measured: ")
        assert row["command"] in row["reason"]
        assert (row["records"], row["measured"]) == ([], None)


@pytest.mark.parametrize("processes", [1, 2])
def test_an_undecided_claim_says_how_few_processes_it_rests_on_and_which_command_decides_it(tmp_path, processes):
    write_run(tmp_path, cells={cell_id("dense_linear"): [1.0] * processes, cell_id("fff_cpu"): [0.001] * processes})
    row = next(row for row in claims(tmp_path) if row["id"] == "cpu-78x")
    assert row["verdict"] == "undecided"
    many = "1 process" if processes == 1 else "2 processes"
    assert f"fff_cpu was measured in {many} and dense_linear in {many}, too few for a 95 % interval" in row["reason"]
    assert "`fffbench run --preset paper --devices cpu` measures 6 processes of each" in row["reason"]


def test_a_figure_about_token_by_token_routines_is_decided_by_the_smaller_batch_where_the_published_one_cannot(
    tmp_path,
):
    hot = {"cache": "hot"}
    cells = {}
    for batch, processes in ((16384, 1), (1024, 6)):
        cells[cell_id("dense_blas1", batch=batch, **hot)] = [1.0] * processes
        cells[cell_id("cmm_blas1", batch=batch, routing="single-path", **hot)] = [1 / 131] * processes
    cells |= {cell_id("dense_fused"): [1.0] * 6, cell_id("cmm_blas1"): [1 / 20] * 6}
    write_run(tmp_path, cells=cells)
    rows = [row for row in claims(tmp_path) if row["id"] == "cpu-131x"]
    assert {row["verdict"] for row in rows} == {"reproduced-under-published-protocol-only"}
    assert {row["batch"] for row in rows if row["conditions"] == "published"} == {1024}
    assert {row["batch"] for row in rows if row["conditions"] == "fair"} == {16384}


def test_the_sentence_on_78x_gives_both_conditions_at_one_thread_and_at_all(tmp_path):
    cells = {}
    for threads, scale in ((1, 1.0), (2, 0.5)):
        at = {"threads": threads}
        cells |= {cell_id("dense_linear", **at): [scale] * 6, cell_id("fff_cpu", **at): [scale / 110] * 6}
        cells[cell_id("dense_linear", **HOT, **at)] = [scale] * 6
        cells[cell_id("fff_cpu", routing="single-path", **HOT, **at)] = [scale / 250] * 6
        for name, shape, time in (
            ("fff2_published", None, 0.02),
            ("ff3_published", Shape.dense(768, 4095), 0.8),
        ):
            cells[cell_id(f"faulty_blas_{name}", shape=shape, batch=4096, cache="hot", **at)] = [time * scale] * 6
    write_run(tmp_path, cells=cells)
    said = next(row for row in claims(tmp_path) if row["id"] == "cpu-78x")["difference"]
    assert "250x (1 thread) and 250x (2 threads) under published conditions" in said
    assert "110x (1 thread) and 110x (2 threads) under fair conditions" in said
    assert "the benchmark as shipped gives 40.0x on 1 thread" in said
    assert "the benchmark as shipped gives 40.0x on 2 threads" in said
