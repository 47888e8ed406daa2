"""Do the factors lead from the ceiling to what was measured, each from cells of its own?"""

from __future__ import annotations

import pytest
from synthetic import cell_id, write_run

from fffbench.analysis.attribution import attributions, every_attribution
from fffbench.analysis.headline import answers
from fffbench.analysis.speedup import speedups
from fffbench.results.store import load

PEAK = 1e11
DENSE_OPERATIONS = 4 * 768 * 4095 * 16384
FFF_OPERATIONS = 4 * 768 * 12 * 16384
CELLS = {
    cell_id("dense_linear"): DENSE_OPERATIONS / PEAK * 2,
    cell_id("dense_padded"): DENSE_OPERATIONS / PEAK * 1.6,
    cell_id("fff_cpu", routing="single-path", cache="hot"): FFF_OPERATIONS / PEAK * 1.5,
    cell_id("fff_cpu", routing="single-path"): FFF_OPERATIONS / PEAK * 1.8,
    cell_id("fff_cpu"): FFF_OPERATIONS / PEAK * 3.6,
}


def attribute(tmp_path, cells):
    write_run(tmp_path, cells={cell: [time] * 6 for cell, time in cells.items()}, ceilings={"fma_fp32": {"1": PEAK}})
    results = load(tmp_path)
    rows = speedups(results)
    (found,) = attributions(results, answers(results, rows))
    return found


def test_the_factors_lead_from_the_ceiling_to_the_measured_speedup(tmp_path):
    found = attribute(tmp_path, CELLS)
    factors = {factor.name: factor.value for factor in found.factors}
    assert factors == pytest.approx(
        {
            "dense efficiency": 2,
            "padding and alignment": 0.8,
            "FFF arithmetic": 1 / 1.5,
            "cold caches": 1.5 / 1.8,
            "many paths": 0.5,
        }
    )
    assert found.ceiling == 341.25
    assert found.speedup == pytest.approx(341.25 * 1.6 / 3.6)
    assert found.residual == pytest.approx(1)
    assert all(factor.records for factor in found.factors)


def test_a_missing_ablation_is_named_and_never_a_remainder(tmp_path):
    hot = cell_id("fff_cpu", routing="single-path", cache="hot")
    found = attribute(tmp_path, {cell: time for cell, time in CELLS.items() if cell != hot})
    factors = {factor.name: factor for factor in found.factors}
    assert factors["FFF arithmetic"].value is None
    assert factors["FFF arithmetic"].missing == "one path, hot caches"
    assert factors["many paths"].value == pytest.approx(0.5)
    assert found.residual is None


def test_call_overhead_stands_on_torch_calls_of_both_sides(tmp_path):
    assert attribute(tmp_path / "without", CELLS).call.value is None
    torch = {
        cell_id("dense_padded", call="torch"): DENSE_OPERATIONS / PEAK * 1.6,
        cell_id("fff_cpu", call="torch"): FFF_OPERATIONS / PEAK * 7.2,
    }
    assert attribute(tmp_path / "with", CELLS | torch).call.value == pytest.approx(0.5)


def test_the_way_leads_to_the_speed_up_of_the_table_whatever_runs_its_cells_come_from(tmp_path):
    write_run(tmp_path, cells={cell: [time] * 6 for cell, time in CELLS.items()}, ceilings={"fma_fp32": {"1": PEAK}})
    newer = {cell_id("dense_fused"): [4.0] * 6, cell_id("fff_cpu"): [0.04] * 6}
    write_run(tmp_path, cells=newer, run="newer", started="2027-01-01T00:00:00Z", ceilings={"fma_fp32": {"1": PEAK}})
    results = load(tmp_path)
    rows = speedups(results)
    found = answers(results, rows)
    (item,) = attributions(results, found)
    same = next(row for row in rows if (row.baseline, row.baseline_threads) == ("best-dense", "same") and row.main)
    assert item.speedup == same.speedup
    assert item.measured == 5


def test_every_cell_beside_a_dense_layer_has_its_attribution(tmp_path):
    small = {cell_id("dense_linear", batch=128): 1.0, cell_id("fff_cpu", batch=128): 0.1}
    cells = {cell: [time] * 6 for cell, time in (CELLS | small).items()}
    write_run(tmp_path, cells=cells, ceilings={"fma_fp32": {"1": PEAK}})
    results = load(tmp_path)
    found = {item.batch: item for item in every_attribution(results, speedups(results))}
    assert {batch: item.measured for batch, item in found.items()} == {128: 2, 16384: 5}
    assert found[128].speedup == pytest.approx(10)


def test_a_mixture_of_experts_which_has_no_path_is_left_out_and_hinders_no_other(tmp_path):
    shape = "moe-d768-n4096-e128"
    cells = {cell_id("fff_cpu"): [1e-3] * 3, cell_id("dense_linear"): [1e-1] * 3}
    mixture = cell_id("fff_cpu").replace("fff_cpu", "cmm_moe_grouped").replace("d768-n4095-t1x12", shape)
    dense = cell_id("dense_linear").replace("d768-n4095-t1x12", "d768-n4096")
    write_run(tmp_path, cells=cells | {mixture: [1e-3] * 3, dense: [1e-1] * 3})
    found = load(tmp_path)
    rows = speedups(found)
    assert any(row.implementation == "cmm_moe_grouped" and row.baseline == "best-dense" for row in rows)
    assert {item.implementation for item in every_attribution(found, rows)} == {"fff_cpu"}
