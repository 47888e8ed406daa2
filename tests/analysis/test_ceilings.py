"""Does no cold cell beat its bound, and does one that beats a measured ceiling put the ceiling in doubt?"""

from pathlib import Path

import pytest
from synthetic import cell_id, write_run

from fffbench.analysis.ceilings import DOUBT, Ceilings, time_of
from fffbench.analysis.roofline import bound_of
from fffbench.plan.workload import FAULTY, parse_cell
from fffbench.results.store import load

RESULTS = Path(__file__).parents[2] / "results"
OPERATIONS = 4 * 768 * 4095 * 16384
SLOW_LOOP = {"fma_fp32": {"1": 2e11}, "fma_bf16": {"1": 1e11}, "dram_read": {"1": 1e10}}
DENSE = cell_id("dense_linear", dtype="bf16")


def ceilings_of(tmp_path, cells, **rest):
    write_run(tmp_path, cells={cell: [time] * 6 for cell, time in cells.items()}, **({"ceilings": SLOW_LOOP} | rest))
    results = load(tmp_path)
    return results, Ceilings(results)


def peak(ceilings, results, cell=DENSE):
    return ceilings.peak(results.records[0].machine, parse_cell(cell).workload)


def test_a_cell_that_beats_the_measured_peak_raises_it_and_puts_it_in_doubt(tmp_path):
    results, ceilings = ceilings_of(tmp_path, {DENSE: OPERATIONS / 8e11})
    found = peak(ceilings, results)
    assert (found.value, found.measured) == (pytest.approx(8e11), 1e11)
    assert found.reached_by == results.records[0].id
    assert found.doubtful
    assert bound_of(results.records[0], ceilings).seconds == pytest.approx(time_of(results.records[0]))


def test_the_peak_of_a_narrow_type_is_at_least_that_of_fp32(tmp_path):
    results, ceilings = ceilings_of(tmp_path, {DENSE: OPERATIONS / 5e10})
    found = peak(ceilings, results)
    assert (found.value, found.measured, found.reached_by) == (2e11, 1e11, "the fp32 unit")


def test_a_cell_below_the_peak_leaves_it_as_it_was_measured(tmp_path):
    loop = SLOW_LOOP | {"fma_fp32": {"1": 5e10}}
    results, ceilings = ceilings_of(tmp_path, {DENSE: OPERATIONS / 5e10}, ceilings=loop)
    found = peak(ceilings, results)
    assert (found.value, found.reached_by, found.doubtful) == (1e11, "", False)


def test_the_peak_is_that_of_the_fastest_unit_measured_in_any_run(tmp_path):
    write_run(tmp_path, cells={cell_id("fff_cpu"): 1.0}, run="before", ceilings={"peak_bf16": {"1": 9e11}})
    results, ceilings = ceilings_of(tmp_path, {DENSE: OPERATIONS / 8e11}, run="after", started="2026-03-01T00:00:00Z")
    found = peak(ceilings, results)
    assert (found.value, found.measured, found.doubtful) == (9e11, 9e11, False)


def test_the_ceilings_of_an_accelerator_stay_known_when_a_later_run_measured_its_host_alone(tmp_path):
    gpu = {"fma_bf16": {"0": 6e14}, "dram_read": {"0": 2e12}}
    cell = cell_id("dense_linear", dtype="bf16", device="cuda")
    write_run(tmp_path, cells={cell: 0.01}, run="gpu", ceilings=gpu)
    results, ceilings = ceilings_of(tmp_path, {DENSE: 1.0}, run="host", started="2026-03-01T00:00:00Z")
    assert set(ceilings.used(results.records[0].machine)["arithmetic peak, bf16"]) == {"0", "1"}
    assert all(bound_of(record, ceilings) is not None for record in results.records)


@pytest.mark.parametrize(("cache", "raised"), [("cold", True), ("warm", False), ("hot", False)])
def test_bandwidth_is_raised_by_cold_cells_alone(tmp_path, cache, raised):
    one = cell_id("dense_linear", batch=1, cache=cache)
    results, ceilings = ceilings_of(tmp_path, {one: 2 * 4 * 768 * 4096 / 4e10})
    found = ceilings.bandwidth(results.records[0].machine, parse_cell(one).workload)
    assert (found.value > 2e10) == raised


def test_what_is_wrong_on_purpose_raises_no_ceiling(tmp_path):
    wrong = {"error": 1.0, "tolerance": 1e-6, "tokens": 9, "diverged": 0, "diverged_cap": 0}
    cell = cell_id("faulty_blas_ff3_published")
    results, ceilings = ceilings_of(tmp_path, {cell: OPERATIONS / 9e12}, changes={"family": FAULTY, "check": wrong})
    assert peak(ceilings, results, cell).value == 2e11


def test_no_cold_cell_of_the_committed_results_beats_its_bound():
    results = load(RESULTS)
    ceilings = Ceilings(results)
    over = [
        (record.id, bound.seconds / time_of(record))
        for record in results.records
        if record.cell.protocol.cache == "cold" and record.info.family != FAULTY
        for bound in [bound_of(record, ceilings)]
        if bound and bound.seconds > DOUBT * time_of(record)
    ]
    assert over == []
