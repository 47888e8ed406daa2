"""Does the page stay a page, however many machines there are?"""

from __future__ import annotations

import re

from synthetic import STABLE, cell_id, quick_cells, write_run

from fffbench.report import render
from fffbench.report.analysed import analyse
from fffbench.report.shown import MOST, short_name
from fffbench.results.store import load


def fleet(folder, kinds, each):
    cells = {cell_id("dense_linear"): [1.0] * 6, cell_id("fff_cpu"): [0.01] * 6}
    for kind in range(kinds):
        for number in range(each):
            stable = STABLE | {"cpu": f"CPU {kind}", "serial": str(number)}
            more = {cell_id("fff_cpu", batch=2**batch): [0.01] * 6 for batch in range(number)}
            write_run(
                folder, cells=cells | more, machine=f"cpu-{kind}-{number}", run=f"run-{kind}-{number}", stable=stable
            )


def test_one_device_stands_for_each_model_of_hardware_the_one_with_the_most_records(tmp_path):
    fleet(tmp_path / "results", kinds=2, each=3)
    found = analyse(load(tmp_path / "results"))
    assert [device.machine for device in found.shown] == ["cpu-0-2", "cpu-1-2"]
    assert found.left_out == 4


def test_more_machines_make_no_more_drawings_and_no_more_columns(tmp_path):
    pages = {}
    for kinds in (MOST, MOST + 4):
        fleet(tmp_path / str(kinds), kinds=kinds, each=1)
        pages[kinds] = render(load(tmp_path / str(kinds)), tmp_path / f"out{kinds}").read_text(encoding="utf-8")
    few, many = pages.values()
    assert few.count("<svg role") == many.count("<svg role") > 0
    columns = [
        len(re.findall("<th scope", page[page.index('id="ledger"') :].split("</tr>")[0])) for page in (few, many)
    ]
    assert columns == [MOST + 3, MOST + 3]
    assert "4 more are in the CSV files" in many
    assert "more are in the CSV files" not in few


def test_the_archive_lists_what_machines_with_a_column_lack_and_says_how_much_more_there_is(tmp_path):
    cells = {cell_id("dense_linear"): [1.0] * 6, cell_id("fff_cpu"): [0.01] * 6}
    skipped = {cell_id("fff_cpu", batch=2**batch): "out of memory" for batch in range(10)}
    for number in range(4):
        run, stable = f"run-{number}", STABLE | {"serial": str(number)}
        write_run(tmp_path / "results", cells=cells, skipped=skipped, machine=f"cpu-{number}", run=run, stable=stable)
    out = render(load(tmp_path / "results"), tmp_path / "out").parent
    archive = (out / "all.html").read_text(encoding="utf-8")
    assert archive.count("out of memory") < 30  # twice ten, and two claims; all machines' were 52
    assert "skipped.csv has 30 more, of machines without a column" in archive
    assert (out / "skipped.csv").read_text(encoding="utf-8").count("out of memory") == 40


def test_names_are_short_and_a_host_is_no_gpu():
    assert short_name("NVIDIA H100 80GB HBM3") == "H100"
    assert short_name("AMD EPYC, 2 cores") == "EPYC 2c"
    assert short_name("AMD EPYC Zen5, 2 cores") == "EPYC Zen5 2c"
    assert short_name("Intel Xeon Emeraldrapids, 16 cores (H100)") == "Xeon 16c, host of H100"
    assert short_name("Intel Xeon, 16 cores (H200)") == "Xeon 16c, host of H200"
    assert len(short_name("x" * 300)) < 30


def test_a_quick_page_says_what_was_not_measured(tmp_path):
    write_run(tmp_path / "results", cells=quick_cells())
    page = render(load(tmp_path / "results"), tmp_path / "out").read_text(encoding="utf-8")
    assert "Whole models are not measured yet." in page
    assert "The published program was not measured here." in page
    assert "answers as well for the time that it takes has no chart yet" in page
