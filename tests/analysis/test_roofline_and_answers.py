"""Do bounds, the headline and break-even say what hand arithmetic says?"""

from __future__ import annotations

import re

import pytest
from synthetic import cell_id, quick_cells, write_run

from fffbench.analysis.breakeven import break_even
from fffbench.analysis.ceilings import Ceilings
from fffbench.analysis.headline import answers, headline, machine_name
from fffbench.analysis.roofline import bound_of, dense_strength, share_of
from fffbench.analysis.speedup import speedups
from fffbench.claims.judging import judge_all
from fffbench.plan.workload import Shape
from fffbench.results.record import Machine
from fffbench.results.store import Results, load

CEILINGS = {"fma_fp32": {"1": 1e11}, "dram_read": {"1": 1e10}, "dram_copy": {"1": 2e10}}


def record_of(tmp_path, cell, time, **rest):
    write_run(tmp_path, cells={cell: [time] * 6}, ceilings=CEILINGS, **rest)
    results = load(tmp_path)
    return results.records[0], results


def test_bound_of_a_big_dense_batch_is_arithmetic(tmp_path):
    record, results = record_of(tmp_path, cell_id("dense_linear"), 4.0)
    bound = bound_of(record, Ceilings(results))
    assert bound.limit == "arithmetic"
    assert bound.seconds == pytest.approx(4 * 768 * 4095 * 16384 / 1e11)


def test_bound_of_one_dense_token_is_reading_the_weights_at_the_faster_rate(tmp_path):
    record, results = record_of(tmp_path, cell_id("dense_linear", batch=1), 1.0)
    bound = bound_of(record, Ceilings(results))
    assert bound.limit == "bandwidth"
    assert bound.seconds == pytest.approx(4 * 768 * 2 * (4095 + 1) / 2e10)


def test_bound_of_a_tree_counts_the_rows_its_run_visited(tmp_path):
    record, results = record_of(tmp_path, cell_id("fff_cpu", batch=1), 1.0, changes={"distinct_rows": 12.0})
    bound = bound_of(record, Ceilings(results))
    assert bound.seconds == pytest.approx(4 * 768 * (2 + 2 * 12) / 2e10)


def test_without_a_ceiling_at_its_threads_there_is_no_share(tmp_path):
    record, results = record_of(tmp_path, cell_id("fff_cpu", threads=7), 1.0)
    assert share_of(record, Ceilings(results)) is None


def test_a_weak_dense_side_is_said_in_words(tmp_path):
    _, results = record_of(tmp_path, cell_id("dense_linear"), 4 * 768 * 4095 * 16384 / 1e11 * 2)
    (strength,) = dense_strength(results, Ceilings(results))
    assert not strength.strong
    assert "reaches 50.0 % of the arithmetic peak, short of the 75.0 %" in strength.sentence


def say(tmp_path, cells):
    write_run(tmp_path, cells=cells)
    results = load(tmp_path)
    return headline(results, speedups(results)).text


def test_headline_names_machine_batch_interval_and_ceiling(tmp_path):
    said = say(tmp_path, quick_cells())
    assert "faster at batch 16384 in strict fp32 (best of 3 tried, 6 not tried: " in said
    assert "provisional) on Test CPU" in said
    assert "[" in said
    assert "341x is a count of operations; as a measured speed of this layer it was not reached" in said


def test_headline_is_honest_when_fff_lost(tmp_path):
    assert "2.00x [" in (said := say(tmp_path, {cell_id("dense_linear"): [1.0] * 6, cell_id("fff_cpu"): [2.0] * 6}))
    assert "slower" in said


def test_headline_has_a_line_a_machine_and_the_other_dtypes_among_the_details(tmp_path):
    for machine, gain in (("a-cpu", 50), ("b-cpu", 120)):
        cells = {}
        for dtype in ("fp32", "bf16"):
            cells |= {cell_id("dense_linear", dtype=dtype): [1.0] * 6, cell_id("fff_cpu", dtype=dtype): [1 / gain] * 6}
        write_run(tmp_path, cells=cells, machine=machine, stable={"cpu": machine.upper()})
    results = load(tmp_path)
    said = headline(results, speedups(results))
    assert [re.sub(r" \(best of [^)]*\)| \[[^]]*\]", "", line) for line in said.lines] == [
        "50.0x faster at batch 16384 in bf16 on A-CPU; in strict fp32 50.0x faster",
        "120x faster at batch 16384 in bf16 on B-CPU; in strict fp32 120x faster",
    ]
    assert "bf16" not in said.asked


GPU = {"device": "cuda"}


def on_a_gpu(tmp_path, **times):
    """Dense and FFF times by type, strict fp32 at 1000 and 20, as one full run."""
    cells = {}
    for dtype, (dense, ours) in ({"fp32": (1000.0, 20.0)} | times).items():
        for name, time in (("dense_linear", dense), ("fff_cuda", ours)):
            if time:
                cells[cell_id(name, dtype=dtype, **GPU)] = [time] * 6
    write_run(tmp_path, cells=cells, stable={"gpu": "Some GPU"})
    results = load(tmp_path)
    [found] = answers(results, speedups(results))
    return found


def test_the_answer_leads_with_the_type_people_deploy_and_strict_fp32_is_second_and_labelled(tmp_path):
    found = on_a_gpu(tmp_path, bf16=(100.0, 10.0), tf32=(200.0, None))
    assert (found.lead.dtype, found.lead.speedup) == ("bf16", pytest.approx(10))
    assert found.line.index("10.0x") < found.line.index("in strict fp32 50.0x") < found.line.index("with TF32 10.0x")


def test_dense_fp32_with_tf32_is_a_row_of_its_own_and_stands_beside_a_claim_in_strict_fp32(tmp_path):
    on_a_gpu(tmp_path, tf32=(200.0, None))
    results = load(tmp_path)
    rows = [row for row in speedups(results) if row.baseline == "best-dense-tf32"]
    assert {(row.dtype, row.baseline_dtype, round(row.speedup, 6)) for row in rows} == {("fp32", "tf32", 10)}
    [claim] = [row for row in judge_all(results) if row.id == "gpu-40x" and row.conditions == "fair"]
    assert "strict fp32; over a dense layer in fp32 with TF32 it is 10.0x" in claim.reason
    without = [row for row in speedups(load(only_fp32(tmp_path / "without"))) if row.baseline == "best-dense-tf32"]
    assert without == []


def only_fp32(folder):
    on_a_gpu(folder)
    return folder


def test_each_side_is_in_its_own_fastest_deployed_type(tmp_path):
    found = on_a_gpu(tmp_path, bf16=(100.0, 10.0), fp16=(150.0, 5.0))
    assert (found.lead.dtype, found.lead.baseline_dtype, found.lead.speedup) == ("fp16", "bf16", pytest.approx(20))
    assert "in fp16 over dense in bf16" in found.line


def test_a_type_that_ties_on_both_sides_stands_for_both(tmp_path):
    found = on_a_gpu(tmp_path, bf16=(100.0, 10.1), fp16=(103.0, 10.0))
    assert (found.lead.dtype, found.lead.baseline_dtype) == ("bf16", "bf16")


def test_without_any_deployed_type_strict_fp32_leads_and_says_that_it_is_strict(tmp_path):
    found = on_a_gpu(tmp_path)
    assert re.match(r"50\.0x \[[\d., ]+\] faster at batch 16384 in strict fp32", found.line)


@pytest.mark.parametrize(("axes", "published"), [({}, True), (GPU, False), ({"shape": Shape.tree(768, 1, 11)}, False)])
def test_78x_is_said_of_the_layer_and_the_processors_it_was_published_for(tmp_path, axes, published):
    name = "fff_cuda" if axes == GPU else "fff_cpu"
    said = say(tmp_path, {cell_id("dense_linear", **axes): [1.0] * 6, cell_id(name, **axes): [0.1] * 6})
    assert ("published as 78x faster on CPUs" in said) == published


def test_headline_does_not_call_a_tie_a_win(tmp_path):
    assert "neither faster nor slower" in say(tmp_path, {cell_id("dense_linear"): 1.0, cell_id("fff_cpu"): 1.0})


def test_headline_of_nothing_says_so(tmp_path):
    assert headline(Results(), []).text == "Nothing has been measured yet."
    assert "yet" in say(tmp_path, {cell_id("dense_linear"): 1.0})


def test_headline_takes_the_largest_batch_not_the_best(tmp_path):
    cells = {}
    for batch, gain in ((128, 300), (1024, 50)):
        cells |= {cell_id("dense_linear", batch=batch): [1.0] * 6, cell_id("fff_cpu", batch=batch): [1 / gain] * 6}
    assert re.search(r"50\.0x \[[\d., ]+\] faster at batch 1024", say(tmp_path, cells))


def test_headline_takes_the_published_batch_where_it_was_measured(tmp_path):
    cells = {}
    for batch, gain in ((128, 300), (16384, 120), (65536, 200)):
        cells |= {cell_id("dense_linear", batch=batch): [1.0] * 6, cell_id("fff_cpu", batch=batch): [1 / gain] * 6}
    assert re.search(r"120x \[[\d., ]+\] faster at batch 16384", say(tmp_path, cells))


def test_break_even_is_interpolated_between_batches_and_never_beyond(tmp_path):
    cells = {}
    for batch, gain in ((1, 0.5), (4, 2.0), (16, 8.0)):
        cells |= {cell_id("dense_linear", batch=batch): [1.0] * 6, cell_id("fff_cpu", batch=batch): [1 / gain] * 6}
    write_run(tmp_path, cells=cells)
    one, many, ceiling = break_even(speedups(load(tmp_path)))
    assert one.first == pytest.approx(2)
    assert one.interpolated
    assert one.sure_from == 4
    assert (many.first, ceiling.first) == (None, None)
    assert (many.best, many.best_at) == (8.0, 16)


GAINS = ((8, 3.0), (12, 9.5), (16, 120.0), (20, 900.0))


def gpu_widths(tmp_path, gains):
    """A GPU's curve over widths in bf16, on which dense_padded is the fastest dense layer and dense_tiled is not."""
    cells = {}
    for levels, gain in gains:
        axes = {
            "shape": Shape.tree(768, 1, levels), "batch": 16384, "dtype": "bf16", "device": "cuda", "call": "graph",
        }  # fmt: skip
        cells |= {
            cell_id("dense_padded", **axes): [1.0] * 6,
            cell_id("dense_tiled", **axes): [1.1] * 6,
            cell_id("fff_cuda", **axes): [1 / gain] * 6,
            cell_id("fff_triton", **axes): [2 / gain] * 6,
        }
    write_run(tmp_path, cells=cells, machine="some-gpu", stable={"cpu": "Some CPU", "gpu": "Some GPU"})
    found = break_even(speedups(load(tmp_path)))
    return {item.target: item for item in found if (item.machine, item.axis) == ("some-gpu", "neurons")}


def test_a_gpus_width_curve_says_from_how_many_neurons_78x_and_341x_are_met(tmp_path):
    found = gpu_widths(tmp_path, GAINS)
    assert {item.device for item in found.values()} == {"cuda"}
    assert {(item.dtype, item.fixed) for item in found.values()} == {("bf16", "d 768, 1 tree, batch 16384")}
    assert found[1.0].first == 255
    assert 4095 < found[78.0].first < 65535
    assert found[78.0].sure_from == 65535
    assert 65535 < found[341.0].first < 2**20 - 1
    assert (found[341.0].best, found[341.0].best_at) == (900.0, 2**20 - 1)


def test_a_width_curve_that_never_meets_a_target_says_how_far_it_was_measured(tmp_path):
    found = gpu_widths(tmp_path, GAINS[:3])
    assert found[78.0].first is not None
    assert (found[341.0].first, found[341.0].sure_from) == (None, None)
    assert (found[341.0].measured_to, found[341.0].best) == (65535, 120.0)


@pytest.mark.parametrize(
    ("stable", "cpu", "cuda"),
    [
        ({"cpu": "AMD EPYC", "cores": "2"}, "AMD EPYC, 2 cores", "id"),
        ({"cpu": "AMD EPYC", "cores": "2", "architecture": "zen5"}, "AMD EPYC Zen5, 2 cores", "id"),
        ({"cpu": "Intel Xeon", "cores": "2", "architecture": "x86-64"}, "Intel Xeon, 2 cores", "id"),
        ({"cpu": "AMD EPYC 9354", "cores": "2", "architecture": "zen4"}, "AMD EPYC 9354, 2 cores", "id"),
        (
            {"cpu": "Intel(R) Xeon(R) Processor", "cores": "16", "gpu 0": "NVIDIA H100 80GB HBM3"},
            "Intel Xeon, 16 cores (H100)",
            "NVIDIA H100 80GB HBM3",
        ),
        (
            {"cpu": "Test CPU", "gpu 0": "NVIDIA GeForce RTX 4090"},
            "Test CPU (GeForce RTX 4090)",
            "NVIDIA GeForce RTX 4090",
        ),
        ({}, "id", "id"),
    ],
)
def test_a_machine_is_called_by_what_tells_it_from_others(stable, cpu, cuda):
    machine = Machine(id="id", stable=stable)
    assert (machine_name(machine, "cpu"), machine_name(machine, "cuda")) == (cpu, cuda)
