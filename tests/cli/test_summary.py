"""Does a run end in a table of what it found, and is the table right at 80 and at 120 columns?"""

from dataclasses import replace

import pytest
from synthetic import cell_id, quick_cells, write_run

from fffbench.analysis.one_run import measured
from fffbench.analysis.speedup import speedups
from fffbench.cli import summary, tables
from fffbench.results.store import load, load_file


@pytest.fixture
def path(tmp_path):
    cells = {name: times for name, times in quick_cells().items() if "single-path" not in name and "hot" not in name}
    return write_run(tmp_path, cells=cells)


def test_every_cell_of_the_run_has_a_row_and_no_cell_of_another_run(tmp_path, path):
    other = {cell_id("dense_linear"): [1e-9] * 6, cell_id("dense_linear", batch=7): [1.0] * 6}
    write_run(tmp_path, cells=other, run="another", started="2026-02-02T00:00:00Z")
    rows = measured(load(tmp_path), path.stem)
    assert sorted(one.row.record for one in rows) == sorted(record.id for record in load_file(path).records)
    assert all(one.row.baseline_record is None or one.row.baseline_record.startswith(path.stem) for one in rows)


def test_the_ratio_over_best_dense_is_the_one_that_speedup_gives(tmp_path, path):
    said = {
        row.record: row
        for row in speedups(load(tmp_path))
        if (row.baseline, row.baseline_threads) == ("best-dense", "same")
    }
    rows = [one.row for one in measured(load_file(path), path.stem) if one.row.family != "dense"]
    assert rows
    for row in rows:
        assert (row.speedup, row.low, row.high) == tuple(
            getattr(said[row.record], name) for name in ("speedup", "low", "high")
        )


def test_of_each_work_one_dense_layer_is_the_best_and_the_others_lose_to_it(path):
    rows = [one for one in measured(load_file(path), path.stem) if one.row.family == "dense" and one.row.n == 4095]
    for batch in (1, 128, 16384):
        for threads in (1, 2):
            group = [one for one in rows if (one.row.batch, one.row.threads) == (batch, threads)]
            assert [one.row.implementation for one in group if one.is_best_dense] == ["dense_padded"]
            assert all(one.row.speedup < 1.05 for one in group)


def test_the_naive_cell_is_set_against_the_projects_kernel_and_the_kernel_against_nothing(path):
    rows = measured(load_file(path), path.stem)
    naive = [one for one in rows if one.row.implementation == "cmm_gather_bmm"]
    assert naive
    assert all(one.over_kernel.value == pytest.approx(1 / 20, rel=0.1) for one in naive)
    assert {one.over_kernel for one in rows if one.row.implementation == "fff_cpu"} == {None}


def test_another_implementation_can_be_what_the_ratios_are_over(path):
    rows = measured(load_file(path), path.stem, "cmm_gather_bmm")
    ours = [one for one in rows if one.row.implementation == "fff_cpu"]
    assert ours
    assert all(one.over_kernel.value == pytest.approx(20, rel=0.1) for one in ours)
    assert "over cmm_gather_bmm" in [column.title for column in summary.columns(rows, "cmm_gather_bmm")]


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_the_terminal_and_keeps_the_ratio(path, width):
    rows = measured(load_file(path), path.stem)
    text = tables.lines(summary.table(rows), summary.columns(rows), width)
    assert max(map(len, text.splitlines())) <= width
    assert "over best dense" in text
    assert ("bound" in text.splitlines()[1]) == (width == 120)
    assert "best of 3 dense layers tried" in text


def test_of_a_long_run_the_slower_dense_layers_are_left_out_and_counted(path):
    rows = measured(load_file(path), path.stem) * 10
    table = summary.table(rows)
    dense = [one for one in rows if one.row.family == "dense" and not one.is_best_dense]
    assert len(table.rows) == len(rows) - len(dense) > 0
    assert f"{len(dense)} slower dense layers are not shown" in table.notes[0]


def test_a_run_without_a_dense_layer_says_so(path):
    rows = [one for one in measured(load_file(path), path.stem) if one.row.implementation == "fff_cpu"]
    alone = [replace(one, row=one.row._replace(speedup=None, tried=None)) for one in rows]
    assert "no dense layer was measured beside it in this run" in summary.table(alone).notes[0]
