"""Hosts of equal hardware have one machine id: their records speak together, the host is the unit of the interval."""

import math

import pytest
from synthetic import MACHINE, cell_id, write_run

from fffbench.analysis.evidence import one_record_per_cell
from fffbench.analysis.speedup import speedups
from fffbench.report import render
from fffbench.results.merge import merge
from fffbench.results.store import load

FFF, DENSE = cell_id("fff_cpu"), cell_id("dense_linear")
ONE, TWO, THREE = ("0" * 11 + str(number) for number in (1, 2, 3))


def write(folder, host, gain, day=2, **rest):
    """A run of ``host`` that finds ``gain``; processes differ by a per mille."""
    near = [1 + 0.001 * index for index in range(rest.pop("processes", 6))]
    cells = {DENSE: [gain * value for value in near], FFF: near} | rest.pop("cells", {})
    started = f"2026-01-{day:02d}T03:04:05Z"
    return write_run(folder, cells=cells, host=host, run=f"quick-{host or 'nobody'}-{day}", started=started, **rest)


def row_of(folder):
    [row] = [row for row in speedups(load(folder)) if (row.baseline, row.baseline_threads) == ("best-dense", "same")]
    return row


def test_two_hosts_of_one_machine_id_are_one_machine_with_the_host_in_the_interval(tmp_path):
    write(tmp_path, ONE, 70.0)
    write(tmp_path, TWO, 80.0, day=3)
    row = row_of(tmp_path)
    assert (row.machine, row.hosts) == (MACHINE, 2)
    assert row.speedup == pytest.approx(math.sqrt(70 * 80), rel=1e-3)
    assert row.low < 68  # a third may lie beyond both
    assert row.high > 82
    assert row.coverage == 0.95
    assert "different runs" not in (row.reason or "")


def test_two_runs_of_one_host_are_no_two_hosts(tmp_path):
    write(tmp_path, ONE, 70.0)
    write(tmp_path, ONE, 80.0, day=3)
    row = row_of(tmp_path)
    assert (row.hosts, row.runs) == (1, 2)
    assert row.speedup == pytest.approx(math.sqrt(70 * 80), rel=1e-3)


def test_records_that_do_not_say_their_host_are_of_one(tmp_path):
    write(tmp_path, "", 70.0)
    write(tmp_path, "", 80.0, day=3)
    assert (row_of(tmp_path).hosts, row_of(tmp_path).runs) == (1, 2)


def test_many_runs_of_one_host_do_not_outvote_another(tmp_path):
    for day in (2, 3, 4, 5):
        write(tmp_path, ONE, 70.0, day=day)
    write(tmp_path, TWO, 80.0, day=6)
    row = row_of(tmp_path)
    assert (row.hosts, row.runs) == (2, 5)
    assert row.speedup == pytest.approx(math.sqrt(70 * 80), rel=0.02)


def test_both_sides_are_compared_on_the_hosts_that_measured_both(tmp_path):
    write(tmp_path, ONE, 70.0)
    write(tmp_path, TWO, 80.0, day=3)
    write_run(tmp_path, cells={DENSE: [500.0] * 6}, host=THREE, run="dense-only")
    assert row_of(tmp_path).hosts == 2
    assert row_of(tmp_path).speedup == pytest.approx(math.sqrt(70 * 80), rel=1e-2)


def test_a_run_that_continued_on_another_host_has_both(tmp_path):
    write(tmp_path, ONE, 70.0, changes={"hosts": [ONE] * 3 + [TWO] * 3})
    row = row_of(tmp_path)
    assert row.hosts == 2
    assert row.speedup == pytest.approx(70, rel=1e-2)


def test_a_file_whose_hosts_are_no_hosts_is_refused_by_name(tmp_path):
    write(tmp_path, ONE, 70.0, changes={"hosts": [ONE]})
    assert {refusal.field for refusal in load(tmp_path).refused} == {
        f"benchmarks[{index}].extra_info.fffbench" for index in range(2)
    }
    write(tmp_path, "my-laptop", 70.0, day=3)
    assert "fffbench.machine.host" in {refusal.field for refusal in load(tmp_path).refused}


def test_which_record_speaks_is_settled_once(tmp_path):
    write(tmp_path, ONE, 70.0)
    write(tmp_path, TWO, 80.0, day=3)
    results = load(tmp_path)
    once = one_record_per_cell(results)
    assert one_record_per_cell(results) is once
    assert one_record_per_cell(once) is once
    assert [len(record.medians) for record in once.records] == [12, 12]
    assert [len(record.medians) for record in results.records] == [6] * 4


def test_merged_hosts_are_pooled_on_the_page_whichever_came_first(tmp_path):
    for name, host, gain, day in (("a", ONE, 70.0, 2), ("b", TWO, 80.0, 3)):
        write(tmp_path / name, host, gain, day)
    pages = []
    for order in ("ab", "ba"):
        for name in order:
            merge([tmp_path / name], tmp_path / order)
        pages.append(render(load(tmp_path / order), tmp_path / f"page-{order}").read_bytes())
    assert pages[0] == pages[1]
    assert b"74.8x" in pages[0]
