"""Does the ladder lead from the published figure to the fair one, each factor from cells of its own?"""

import math

import pytest
from synthetic import cell_id, write_run

from fffbench.analysis.fidelity import changes
from fffbench.claims.judging import judge_all, published_ladders
from fffbench.plan.workload import Shape
from fffbench.results.store import load
from fffbench.units import ratio

DENSE = Shape.dense(768, 4095)
WRONG = {"error": 1.0, "tolerance": 1e-6, "tokens": 9, "diverged": 0, "diverged_cap": 0}
TIMES = {  # seconds: FFF by level 2, then dense by level 3, as the mistakes go one by one
    ("faulty_blas_fff2_published", None, "hot"): 0.02,
    ("faulty_blas_fff2_random", None, "hot"): 0.025,
    ("faulty_blas_fff2_rows", None, "hot"): 0.05,
    ("faulty_blas_fff2_activated", None, "hot"): 0.06,
    ("cmm_blas2", None, "hot"): 0.05,
    ("fff_cpu", None, "hot"): 0.004,
    ("fff_cpu", None, "cold"): 0.005,
    ("faulty_blas_ff3_published", DENSE, "hot"): 0.8,
    ("faulty_blas_ff3_random", DENSE, "hot"): 0.9,
    ("faulty_blas_ff3_buffers", DENSE, "hot"): 0.7,
    ("dense_fused", None, "hot"): 0.6,
    ("dense_linear", None, "hot"): 0.7,
    ("dense_fused", None, "cold"): 0.61,
}


def climb(tmp_path, times=TIMES, processes=6, run="one", started="2026-02-01T00:00:00Z"):
    for family in ("faulty", None):
        cells = {
            cell_id(name, shape=shape, batch=4096, cache=cache): [time] * processes
            for (name, shape, cache), time in times.items()
            if name.startswith("faulty_") == (family == "faulty")
        }
        changes = {"family": "faulty", "check": WRONG} if family else {}
        path = write_run(tmp_path, cells=cells, run=run, started=started, changes=changes)
        path.rename(path.with_name(f"{run}-{family}.json"))
    return [item for item in published_ladders(load(tmp_path)) if item.claim == "cpu-78x"]


def test_the_factors_lead_from_the_first_rung_to_the_fair_comparison(tmp_path):
    (found,) = climb(tmp_path)
    assert found.arrival == pytest.approx(0.8 / 0.02 / 78)
    assert [step.speedup for step in found.steps] == pytest.approx(
        [40, 0.9 / 0.025, 0.9 / 0.05, 0.9 / 0.06, 0.7 / 0.05, 0.7 / 0.004, 0.6 / 0.004, 0.61 / 0.005]
    )
    assert math.prod(step.factor for step in found.steps[1:]) * 40 == pytest.approx(122)
    assert found.residual == pytest.approx(1)
    assert found.steps[4].dense_factor == pytest.approx(0.7 / 0.9)
    assert found.steps[4].ours_factor == pytest.approx(0.06 / 0.05)


def test_the_sentence_leads_from_the_publication_over_the_mended_benchmark_to_the_fair_comparison(tmp_path):
    (found,) = climb(tmp_path)
    assert "78.0x was published; as shipped, the benchmark gives 40.0x here (1.95 times less" in found.sentence
    assert "With its mistakes mended it gives 14.0x: 2.00 times less with rows of its own" in found.sentence
    assert "The fair comparison gives 122x: 12.5 times more with our FFF kernel" in found.sentence


def test_mistakes_and_our_own_changes_are_told_apart_each_largest_first_in_both_directions(tmp_path):
    (found,) = climb(tmp_path)
    factors = [found.steps[index].factor for index in (2, 3, 1)]
    assert factors == sorted(factors)
    assert [said.split(" with ")[0] for said in changes(found, mistakes=True)] == [
        "2.00 times less", "1.20 times less", "1.11 times less",
    ]  # fmt: skip
    assert changes(found, mistakes=False)[0] == "12.5 times more with our FFF kernel"


def test_a_rung_that_is_wrong_on_purpose_says_so_with_its_error(tmp_path):
    (found,) = climb(tmp_path)
    assert "faulty_blas_fff2_rows: error 1" in found.steps[2].wrong
    assert found.steps[-1].wrong == ""


def test_a_missing_cell_is_named_and_never_a_remainder(tmp_path):
    (found,) = climb(tmp_path, {key: time for key, time in TIMES.items() if key[0] != "cmm_blas2"})
    assert found.steps[4].missing == "cmm_blas2"
    assert found.steps[4].factor is found.steps[5].factor is found.residual is None
    assert "lacks cmm_blas2" in found.sentence


def test_a_run_of_one_side_of_a_rung_alone_changes_no_ratio(tmp_path):
    climb(tmp_path, processes=6)
    first = {key: 1.1 * time for key, time in TIMES.items() if key[0].endswith("ff3_published")}
    (found,) = climb(tmp_path, first, run="two", started="2026-03-01T00:00:00Z")
    assert [step.speedup for step in found.steps[:2]] == pytest.approx([40, 0.9 / 0.025], rel=1e-3)
    assert found.residual == pytest.approx(1, rel=0.06)


@pytest.mark.parametrize(
    ("shipped", "mended", "verdicts"),
    [
        (0.8, 0.7, ("not-reproduced", "not-reproduced")),
        (1.6, 0.7, ("reproduced", "not-reproduced")),
        (2.4, 3.9, ("exceeded", "reproduced")),
    ],
)
def test_the_published_program_has_verdicts_of_its_own_as_shipped_and_mended(tmp_path, shipped, mended, verdicts):
    first, last = ("faulty_blas_ff3_published", DENSE, "hot"), ("faulty_blas_ff3_buffers", DENSE, "hot")
    climb(tmp_path, TIMES | {first: shipped, last: mended})
    fair = {cell_id("dense_fused"): [1.0] * 6, cell_id("fff_cpu"): [1 / 80] * 6}
    write_run(tmp_path, cells=fair, run="fair", started="2026-04-01T00:00:00Z")
    rows = [row for row in judge_all(load(tmp_path)) if row.id == "cpu-78x"]
    assert {row.verdict for row in rows} == {"reproduced"}
    assert {(row.program_shipped, row.program_mended) for row in rows} == {verdicts}
    said = rows[0].program
    assert f"as shipped {shipped / 0.02:.3g}" in said
    assert f"with its mistakes mended {mended / 0.05:.3g}" in said


def ratio_of(value):
    return ratio(value, value, value)


def test_too_few_processes_decide_nothing_about_the_program(tmp_path):
    climb(tmp_path, processes=3)
    write_run(tmp_path, cells={cell_id("dense_fused"): 1.0, cell_id("fff_cpu"): 0.01}, run="fair")
    rows = [row for row in judge_all(load(tmp_path)) if row.id == "cpu-78x"]
    assert {(row.program_shipped, row.program_mended) for row in rows} == {("undecided", "undecided")}


def test_without_the_first_rung_there_is_no_ladder(tmp_path):
    assert climb(tmp_path, {key: time for key, time in TIMES.items() if "published" not in key[0]}) == []


def test_one_process_has_no_interval(tmp_path):
    (found,) = climb(tmp_path, processes=1)
    assert found.steps[0].speedup == pytest.approx(40)
    assert found.steps[0].low is None
