"""Does the page render from results alone: the same bytes, nothing executed, nothing loaded, fast?"""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
import time
from collections import Counter
from html.parser import HTMLParser
from itertools import product

import pytest
from synthetic import CONTROL, OPTIMISED, STABLE, cell_id, quick_cells, run_json, write_history, write_run

from fffbench.errors import UserError
from fffbench.plan.workload import Shape
from fffbench.report import headline, render
from fffbench.report.analysed import analyse
from fffbench.report.machine_section import fingerprints
from fffbench.report.samples import WIDTH, strip
from fffbench.results.store import Results, load

PAGES = {"index.html": 2, "all.html": 1}  # with the scripts of each: the index has its data beside the program
ATTACK = "<script>alert('x')</script><img src=x onerror=alert(1)>\"'&$\\frac{}$ {{7*7}} \u0000\u202e]]>--><![CDATA["


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("quick")
    write_run(found / "results", cells=quick_cells(), skipped={cell_id("cmm_masked"): "needs 99 GB"})
    return found


@pytest.fixture(scope="module")
def results(folder):
    return load(folder / "results")


@pytest.fixture(scope="module")
def rendered(results, folder):
    """The page of ``results``, drawn once: drawing is most of a page's cost."""
    return render(results, folder / "out")


class Tags(HTMLParser):
    """Collects tags, ids and links."""

    def __init__(self):
        super().__init__()
        self.tags, self.ids, self.links, self.attributes = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            self.attributes.append(name)
            if name == "id":
                self.ids.append(value)
            if name in ("href", "src", "xlink:href"):
                self.links.append(value)


def archive_of(page):
    return page.with_name("all.html").read_text(encoding="utf-8")


def parsed(page):
    tags = Tags()
    tags.feed(page.read_text(encoding="utf-8"))
    return tags


def test_headline_verdicts_and_reasons_are_on_the_page(results, rendered):
    text = rendered.read_text(encoding="utf-8")
    gain = re.search(r"([\d.]+x) \[", headline(results))[1]
    lede = re.sub("<[^>]*>", "", re.search(r'class="lede">(.*?)</p>', text)[1])
    assert f"is {gain} faster than the best dense layer on a CPU" in lede
    for words in ("exceeded", "arithmetic-error", "not-measured", "Hodges-Lehmann"):
        assert words in text
    for words in ("needs 99 GB", "of bound"):
        assert words in archive_of(rendered)


def test_the_summary_counts_verdicts_one_for_each_claim_and_machine(tmp_path):
    for machine, gain in (("a-cpu", 78), ("b-cpu", 10)):
        cells = {cell_id("dense_linear"): [1.0] * 6, cell_id("fff_cpu"): [1 / gain] * 6}
        write_run(tmp_path / "results", cells=cells, machine=machine)
    text = render(load(tmp_path / "results"), tmp_path / "out").read_text(encoding="utf-8")
    with (tmp_path / "out" / "claims.csv").open() as file:
        verdicts = {(row["id"], row["machine"]): row["verdict"] for row in csv.DictReader(file)}
    [(total, said)] = re.findall(r"(\d+) verdicts on \d+ published claims [^:]*: ([^<]*)\. <a", text)
    assert int(total) == len(verdicts)
    counted = Counter(name.replace("-", " ") for name in verdicts.values())
    assert dict(reversed(part.split(" ", 1)) for part in said.split(", ")) == {k: str(v) for k, v in counted.items()}


def test_the_same_results_give_the_same_bytes(results, rendered, tmp_path):
    two = render(results, tmp_path / "two")
    for path in rendered.parent.iterdir():
        assert path.read_bytes() == (two.parent / path.name).read_bytes(), path.name


def test_another_process_gives_the_same_bytes(rendered, folder, tmp_path):
    code = "import sys; from fffbench.report import render; from fffbench.results.store import load; "
    code += "render(load(sys.argv[1]), sys.argv[2])"
    subprocess.run([sys.executable, "-c", code, folder / "results", tmp_path / "two"], check=True)
    assert (tmp_path / "two" / "index.html").read_bytes() == rendered.read_bytes()


def test_asvs_pages_are_linked_where_they_lie_beside_the_page_and_nowhere_else(results, rendered, tmp_path):
    assert "asv/index.html" not in rendered.read_text(encoding="utf-8") + archive_of(rendered)
    (tmp_path / "asv").mkdir()
    (tmp_path / "asv" / "index.html").write_text("asv's")
    page = render(results, tmp_path)
    for text in (page.read_text(encoding="utf-8"), archive_of(page)):
        assert '<a href="asv/index.html">' in text
    assert (tmp_path / "asv" / "index.html").read_text() == "asv's"


def test_no_results_render_and_say_so(tmp_path):
    page = render(Results(), tmp_path / "out")
    text = page.read_text(encoding="utf-8")
    assert "No fast feedforward layer was measured" in text
    assert 'class="badge exceeded"' not in text
    assert (tmp_path / "out" / "speedup.csv").read_text().startswith("machine,")


def test_nothing_is_loaded_from_elsewhere(rendered):
    for name in PAGES:
        tags = parsed(rendered.with_name(name))
        ours = re.compile(
            r"#.*|[\w-]+\.csv|(all|index)\.html(#.*)?|https://(arxiv\.org|github\.com|aclanthology\.org)/.*"
        )
        assert all(ours.fullmatch(link) for link in tags.links), tags.links
        assert not {"link", "img", "iframe", "object", "embed"} & set(tags.tags)
        assert "src" not in tags.attributes
        text = (rendered.with_name(name)).read_text()
        assert "url(http" not in text
        assert "@import" not in text


def test_every_link_has_a_target_and_every_id_is_unique(rendered):
    pages = {name: parsed(rendered.with_name(name)) for name in PAGES}
    for name, tags in pages.items():
        assert len(tags.ids) == len(set(tags.ids))
        for link in tags.links:
            target, _, place = link.partition("#")
            if not target.startswith("https://"):
                assert (rendered.parent / (target or name)).is_file(), link
                assert not place or place in pages[target or name].ids, link


def test_text_from_result_files_is_never_markup(tmp_path):
    run = run_json(
        quick_cells(), skipped={cell_id("cmm_masked"): ATTACK}, stable={**STABLE, "cpu": ATTACK, ATTACK[:90]: ATTACK}
    )
    run["fffbench"] |= {"preset": ATTACK, "commit": ATTACK}
    run["fffbench"]["machine"]["observed"] = {ATTACK: ATTACK}
    run["fffbench"]["machine"]["ceilings"][ATTACK] = {ATTACK: 1.0}
    for benchmark in run["benchmarks"]:
        benchmark["name"] = benchmark["fullname"] = ATTACK
        benchmark["extra_info"]["fffbench"] |= {"summary": ATTACK, "notes": [ATTACK]}
    folder = tmp_path / "results" / "matrix" / run["fffbench"]["machine"]["id"]
    folder.mkdir(parents=True)
    (folder / "a.json").write_text(json.dumps(run))
    (folder / "<script>alert(2)<.json").write_text("{}")
    loaded = load(tmp_path / "results")
    assert loaded.records
    page = render(loaded, tmp_path / "out")
    for name, scripts in PAGES.items():
        tags = parsed(page.with_name(name))
        assert tags.tags.count("script") == scripts
        assert "img" not in tags.tags
        assert not any(attribute.startswith("on") for attribute in tags.attributes)
        assert "{{7*7}}" in page.with_name(name).read_text(encoding="utf-8")
    for path in (page, page.with_name("all.html"), *(tmp_path / "out").glob("*.csv")):
        written = path.read_text(encoding="utf-8").replace("\n", "")
        assert written.isprintable(), path.name


def test_text_in_a_csv_is_never_a_formula(tmp_path):
    write_run(tmp_path / "results", cells={cell_id("fff_cpu"): 1.0}, skipped={cell_id("cmm_masked"): "=1+1"})
    render(load(tmp_path / "results"), tmp_path / "out")
    with (tmp_path / "out" / "skipped.csv").open() as file:
        assert [row["reason"] for row in csv.DictReader(file)] == ["'=1+1"]


def test_every_sample_is_in_the_csv(results, rendered):
    with rendered.with_name("samples.csv").open() as file:
        rows = list(csv.DictReader(file))
    wanted = {(r.id, str(i)): list(p) for r in results.records for i, p in enumerate(r.info.processes)}
    found = {(row["record"], row["process"]): [float(value) for value in row["samples"].split()] for row in rows}
    assert found == wanted


def test_charts_have_their_numbers_in_words(rendered):
    text = rendered.read_text(encoding="utf-8")
    descriptions = re.findall(r"<desc[^>]*>(.*?)</desc>", text)
    assert len(descriptions) == text.count('<svg role="img"') == 8  # four charts, each for a desk and for a phone
    assert all(re.search(r"\d", description) for description in descriptions)


def test_a_report_folder_that_cannot_be_written_is_the_users_to_mend(results, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        render(results, tmp_path / "file")


@pytest.mark.parametrize(
    "cells", [{}, {cell_id("dense_linear"): 1.0}, {cell_id("fff_cpu"): 1.0}, {cell_id("fff_cpu"): [1.0]}]
)
@pytest.mark.parametrize("ceilings", [None, {}])
def test_pages_of_partial_results_render(tmp_path, cells, ceilings):
    write_run(tmp_path / "results", cells=cells, ceilings=ceilings)
    assert render(load(tmp_path / "results"), tmp_path / "out").stat().st_size > 10_000


def test_other_shapes_and_devices_render(tmp_path):
    shape = Shape.leaf(128, 2, 5, 16)
    cells = {
        cell_id("dense_linear", shape=shape, device="cuda"): 1.0,
        cell_id("fff_cuda", shape=shape, device="cuda"): 0.5,
    }
    stable = {"cpu": "Some CPU", "gpu": "Some GPU"}
    write_run(
        tmp_path / "results", cells=cells, ceilings={"fma_fp32": {"0": 1e13}, "dram_read": {"0": 1e12}}, stable=stable
    )
    text = render(load(tmp_path / "results"), tmp_path / "out").read_text(encoding="utf-8")
    assert re.search(r"is (1\.9|2\.0)\dx faster than the best dense layer on a GPU", re.sub("<[^>]*>", "", text))
    assert "Some GPU" in text
    assert "GPU 10.0 TFLOP/s" in text


def test_a_stepped_kernel_stands_on_the_page_with_its_commit(tmp_path):
    values = [[1e-3, 1e-2]] * 6 + [[1.8e-3, 1e-2]] * 6
    write_history(tmp_path / "results", {OPTIMISED: values, CONTROL: [[1, 1]] * 12})
    text = archive_of(render(load(tmp_path / "results"), tmp_path / "out"))
    assert "1.80x slower from 07ababab on" in text
    assert "Over the commits of this project" in text
    with (tmp_path / "out" / "history.csv").open() as file:
        steps = [row["commit"][:2] for row in csv.DictReader(file) if row["step"]]
    assert steps == ["07"]


def test_hostile_names_in_the_history_are_text(tmp_path):
    write_history(tmp_path / "results", {OPTIMISED: [[1, 1]] * 3})
    for path in (tmp_path / "results" / "asv").rglob("*.json"):
        value = json.loads(path.read_text())
        if "results" in value:
            value["env_name"] = ATTACK[:90]
            value["results"] = {ATTACK[:60]: value["results"][OPTIMISED]}
            value["results"][ATTACK[:60]][1][0] = [ATTACK[:90]]
            path.write_text(json.dumps(value))
    page = render(load(tmp_path / "results"), tmp_path / "out")
    for name, scripts in PAGES.items():
        tags = parsed(page.with_name(name))
        assert tags.tags.count("script") == scripts
        assert not any(name.startswith("on") for name in tags.attributes)


def test_cpu_and_gpu_of_one_machine_are_answers_of_their_own_and_a_gpus_call_is_the_graph(tmp_path):
    cells = {}
    for device, name in (("cpu", "fff_cpu"), ("cuda", "fff_cuda")):
        for call in ("kernel", "torch", *(("graph",) if device == "cuda" else ())):
            axes = {"device": device, "call": call}
            gain = {"kernel": 10, "torch": 5, "graph": 20}[call]
            cells |= {cell_id("dense_linear", **axes): [1.0] * 6, cell_id(name, **axes): [1 / gain] * 6}
    write_run(tmp_path / "results", cells=cells, stable={"cpu": "Some CPU", "gpu": "Some GPU"})
    results = load(tmp_path / "results")
    said = headline(results)
    for gain, name in ((10, "CPU"), (20, "GPU")):
        said_of_it = rf"{gain}.0x \[[\d., ]+\] faster at batch 16384 in strict fp32 \(.*\) on Some {name}"
        assert re.search(said_of_it, said)
    text = archive_of(render(results, tmp_path / "out"))
    assert 'id="on-0"' in text
    assert 'id="on-1"' in text
    assert "inside a CUDA graph" in text


def test_speed_up_against_width_has_its_crossings(tmp_path):
    cells = {}
    for levels, gain in ((8, 20), (12, 100), (16, 700)):
        axes = {"shape": Shape.tree(768, 1, levels), "batch": 1024}
        cells |= {cell_id("dense_linear", **axes): [1.0] * 6, cell_id("fff_cpu", **axes): [1 / gain] * 6}
    write_run(tmp_path / "results", cells=cells)
    page = render(load(tmp_path / "results"), tmp_path / "out")
    assert "Speed-up over width" in page.read_text(encoding="utf-8")
    assert "interpolated" in archive_of(page)
    with (tmp_path / "out" / "breakeven.csv").open() as file:
        rows = {(row["axis"], float(row["target"])): row for row in csv.DictReader(file) if row["axis"] == "neurons"}
    assert float(rows["neurons", 78]["first"]) == pytest.approx(255 * (4095 / 255) ** 0.8456, rel=0.01)
    assert rows["neurons", 1]["interpolated"] == "False"


def test_a_target_that_no_width_meets_is_said_with_the_largest_width(tmp_path):
    cells = {}
    for levels, gain in ((8, 3), (20, 90)):
        axes = {"shape": Shape.tree(768, 1, levels), "batch": 1024, "device": "cuda", "call": "graph"}
        cells |= {cell_id("dense_padded", **axes): [1.0] * 6, cell_id("fff_cuda", **axes): [1 / gain] * 6}
    write_run(tmp_path / "results", cells=cells, stable={"cpu": "Some CPU", "gpu": "Some GPU"})
    page = render(load(tmp_path / "results"), tmp_path / "out")
    assert "not reached up to 1048575" in archive_of(page)
    assert "not reached" in page.read_text(encoding="utf-8")


def test_fewer_devices_follow_from_the_measured_speed_up(rendered):
    with rendered.with_name("savings.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert float(row["fewer"]) == pytest.approx(
        1 - 1 / (float(row["fff_tokens"]) / float(row["dense_tokens"])), rel=1e-3
    )


WRONG_ON_PURPOSE = {"error": 1.0, "tolerance": 1e-6, "tokens": 9, "diverged": 0, "diverged_cap": 0}
FLEET = ("epyc-2c", "epyc-64c", "xeon-16c", "h100", "h200")


def claimed_cells(number, device, ours):
    """Cells of the claims' layer under both conditions, and of the rungs of its ladder where there is a CPU."""
    cells, faulty = quick_cells(1 + number) if device == "cpu" else {}, {}
    for cache, call, routing in (("cold", "kernel", "uniform"), ("hot", "torch", "single-path")):
        for name, gain in (("dense_linear", 1), ("dense_bmm", 0.1), ("cmm_gather_bmm", 4), (ours, 90 + 5 * number)):
            of_tree = "uniform" if name.startswith("dense") else routing
            for batch in (1, 16, 128, 1024, 4096, 16384):
                axes = {"routing": of_tree, "cache": cache, "call": call, "device": device}
                cells[cell_id(name, batch=batch, **axes)] = (batch + 20) * 1e-4 / gain
    for batch, thread in product((4096, 16384), (1, 2)) if device == "cpu" else ():
        at = {"batch": batch, "threads": thread, "cache": "hot"}
        for state, seconds in (("published", 0.02), ("random", 0.03), ("rows", 0.05), ("activated", 0.06)):
            faulty[cell_id(f"faulty_blas_fff2_{state}", **at)] = seconds
        for state, seconds in (("published", 0.8), ("random", 0.9), ("buffers", 0.7)):
            faulty[cell_id(f"faulty_blas_ff3_{state}", shape=Shape.dense(768, 4095), **at)] = seconds
        cells |= {cell_id("cmm_blas2", **at): 0.05, cell_id(ours, **at): 0.004, cell_id("dense_linear", **at): 0.7}
    return cells, faulty


def fleet(folder):
    """Five machines of a thousand cells each, two with a GPU: the claims' layer, widths and batches, ladders."""
    for number, machine in enumerate(FLEET):
        device, ours = ("cuda", "fff_cuda") if machine[0] == "h" else ("cpu", "fff_cpu")
        stable = STABLE | ({"cpu": f"CPU {machine}"} if device == "cpu" else {"cpu": "Host", "gpu": f"GPU {machine}"})
        cells, faulty = claimed_cells(number, device, ours)
        names = (("dense_padded", 1.0), ("dense_fused", 0.9), ("dense_tiled", 1.1), (ours, 0.009))
        grid = product(("fp32", "bf16", "fp16"), (1, 4, 16, 64, 256, 1024, 4096, 16384), range(8, 18), names)
        for dtype, batch, levels, (name, factor) in grid:
            shape = Shape.tree(768, 1, levels)
            for call in ("kernel", "torch"):
                where = {"shape": shape, "batch": batch, "dtype": dtype, "device": device, "call": call}
                if len(cells) + len(faulty) < 1000:
                    cells.setdefault(cell_id(name, **where), (batch + 1) * shape.n * 2e-8 * factor)
        run = {"machine": machine, "run": f"{machine}-1", "stable": stable}
        changes = {"family": "faulty", "check": WRONG_ON_PURPOSE}
        path = write_run(folder, cells=faulty, changes=changes, **run)
        path.rename(path.with_name(f"{machine}-faulty.json"))
        write_run(folder, cells=cells, **run)


def test_five_thousand_cells_of_five_machines_render_in_ten_seconds_and_five_megabytes(tmp_path):
    fleet(tmp_path / "results")
    begin = time.process_time()  # not the wall clock: the tests share their cores
    loaded = load(tmp_path / "results")
    page = render(loaded, tmp_path / "out")
    assert time.process_time() - begin < 10
    assert page.stat().st_size < 5e6
    assert (len(loaded.machines), len(loaded.records)) == (5, 5000)
    text = page.read_text(encoding="utf-8")
    assert all(f"{'GPU' if machine[0] == 'h' else 'CPU'} {machine}" in text for machine in FLEET)


def gpu_ladder(folder):
    """The rungs of the ladder of 40x on a GPU, each 1.5 times the one before."""
    axes = {"cache": "hot", "device": "cuda"}
    plain = Shape.dense(768, 4095)
    faulty = {cell_id("faulty_torch_fffbmm_unsynchronised", call="torch", **axes): 0.01}
    faulty[cell_id("faulty_torch_bmm_unsynchronised", shape=plain, call="torch", **axes)] = 0.4
    faulty[cell_id("faulty_torch_fffbmm_autograd", call="torch", **axes)] = 0.01
    faulty[cell_id("faulty_torch_bmm_autograd", shape=plain, call="torch", **axes)] = 0.6
    right = {"error": 1e-7, "tolerance": 1e-6, "tokens": 9, "diverged": 0, "diverged_cap": 0}
    changes = {"family": "faulty", "check": right}
    stable = {"cpu": "Some CPU", "gpu": "Some GPU"}
    write_run(folder, cells=faulty, machine="gpu-1", run="rungs", stable=stable, changes=changes)
    cells = {cell_id("dense_linear", device="cuda", call="graph"): 0.005}
    cells[cell_id("fff_cuda", device="cuda", call="graph")] = 0.001
    write_run(folder, cells=cells, machine="gpu-1", run="layers", stable=stable)


def test_the_ladder_of_a_gpu_is_on_the_page_from_the_published_figure_on_and_names_the_rungs_that_are_missing(tmp_path):
    gpu_ladder(tmp_path / "results")
    text = archive_of(render(load(tmp_path / "results"), tmp_path / "out"))
    claim = text[text.index('id="claim-gpu-40x"') :]
    claim = claim[: claim.index('<details class="claim"')]
    rungs = ("as published", "1. as shipped, here", "2. a clock that waits for the GPU", "3. no autograd")
    places = [claim.index(words) for words in rungs]
    assert places == sorted(places)
    assert claim.index("40.0x") > places[0]  # the published figure, in the first row
    assert "not measured: cmm_gather_bmm, dense_bmm" in claim


def test_without_a_ladder_the_claim_says_which_command_measures_it(rendered):
    text = archive_of(rendered)
    claim = text[text.index('id="claim-gpu-40x"') :]
    assert "there are no CUDA results yet" in claim[: claim.index('<details class="claim"')]
    assert "fffbench run --preset paper --devices cuda" in claim[: claim.index('<details class="claim"')]
    assert "fffbench run --preset fidelity" in text


def test_results_analysis_and_report_load_neither_torch_nor_an_implementation(folder, tmp_path):
    code = (
        "import sys; from fffbench.report import render; from fffbench.results.store import load; "
        "import fffbench.results.journal; render(load(sys.argv[1]), sys.argv[2]); "
        "bad = [m for m in sys.modules if m.split('.')[0] in ('torch', 'triton', 'cuda') "
        "or m.startswith(('fffbench.implementations', 'fffbench.measure'))]; "
        "sys.exit(', '.join(bad) or 0)"
    )
    subprocess.run([sys.executable, "-c", code, folder / "results", tmp_path / "out"], check=True)


def test_the_list_of_runs_says_which_sources_were_changed(tmp_path):
    for run, commit, beside in (
        ("clean", "a" * 10, {"id": "a" * 40, "dirty": False}),
        ("dirty", "b" * 10, {"id": "c" * 40, "dirty": True}),
        ("named", "d" * 10, {"id": "unversioned", "dirty": False}),
    ):
        path = write_run(tmp_path / "results", cells={cell_id("fff_cpu"): 1.0}, run=run, commit=commit)
        path.write_text(json.dumps(json.loads(path.read_text()) | {"commit_info": beside}))
    found = load(tmp_path / "results")
    [machine] = fingerprints(analyse(found))
    assert machine.runs == (
        f"clean, preset quick, commit {'a' * 10}, clean",
        f"dirty, preset quick, commit {'b' * 10}, dirty",
        f"named, preset quick, commit {'d' * 10}, clean or dirty unknown",
    )


def test_the_tick_of_a_strip_is_the_median_that_stands_beside_it():
    [tick] = re.findall(r"M(\d+) 1v3", strip([[1.0, 2.0, 3.0, 11.0]]))
    assert int(tick) == 1 + round((2.5 - 1.0) * (WIDTH - 2) / 10.0)
