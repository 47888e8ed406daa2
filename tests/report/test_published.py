"""Do a reader's own runs stand apart, and change nothing that is published?"""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from synthetic import MACHINE, quick_cells, write_run

from fffbench import cli
from fffbench.report import render
from fffbench.report.analysed import analyse
from fffbench.report.published import load_published, own_runs, split
from fffbench.report.yours import AGREES, DIFFERS, your_runs
from fffbench.results.store import Results, load

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="no git here")


def git(folder, *arguments):
    author = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    subprocess.run(["git", *author, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def folder(tmp_path):
    """A repository with one committed run and, on the same machine, one that is twice as fast and not committed."""
    results = tmp_path / "repository" / "results"
    write_run(results, cells=quick_cells(), run="published")
    git(results.parent, "init", "--quiet")
    git(results.parent, "add", "results")
    git(results.parent, "commit", "--quiet", "--message", "results")
    faster = {cell: time * (0.5 if cell.startswith("fff") else 1.0) for cell, time in quick_cells().items()}
    write_run(results, cells=faster, run="mine", started="2027-01-01T00:00:00Z")
    return results


def test_a_run_that_git_does_not_know_is_the_readers_own(folder):
    assert own_runs(load(folder), folder) == {"mine"}


def test_documents_are_written_from_what_is_published_alone(folder):
    results = load(folder)
    assert set(load_published(folder).runs) == set(results.runs) - own_runs(results, folder) != set(results.runs)


def test_where_nothing_is_committed_all_runs_count_alike(tmp_path):
    write_run(tmp_path / "results", cells=quick_cells())
    found = load(tmp_path / "results")
    assert own_runs(found, tmp_path / "results") == frozenset()
    assert split(found, frozenset()) == (found, None)


def first_table(page):
    return re.search(r'<table[^>]*id="answers">.*?</table>', page, re.DOTALL)[0]


def test_own_runs_have_a_section_of_their_own_and_displace_no_published_figure(folder, tmp_path):
    found = load(folder)
    page = render(found, tmp_path / "out", folder=folder).read_text(encoding="utf-8")
    alone = render(split(found, frozenset({"mine"}))[0], tmp_path / "alone").read_text(encoding="utf-8")
    pooled = render(found, tmp_path / "pooled").read_text(encoding="utf-8")
    assert first_table(page) == first_table(alone) != first_table(pooled)
    assert 'id="yours"' not in alone
    section = page[page.index('id="yours"') :]
    section = section[: section.index("</section>")]
    published = float(re.search(r">([\d.]+)x \[", first_table(page)[first_table(page).rindex("<td") :])[1])
    mine = max(float(value) for value in re.findall(r">([\d.]+)x \[", section))
    assert mine == pytest.approx(2 * published, rel=0.05)
    assert "mine (quick, 2027-01-01" in section
    assert f"{published:g}" in section


@pytest.mark.parametrize(("scale", "verdict"), [(1.0, AGREES), (2.0, DIFFERS), (0.5, DIFFERS)])
@pytest.mark.parametrize("machine", [MACHINE, "other-cpu-2c-0002"])
def test_an_own_figure_agrees_where_the_published_interval_holds_it(tmp_path, scale, verdict, machine):
    write_run(tmp_path / "published", cells=quick_cells())
    mine = {cell: time / (scale if cell.startswith("fff") else 1.0) for cell, time in quick_cells().items()}
    write_run(tmp_path / "mine", cells=mine, run="mine", machine=machine)
    published = analyse(load(tmp_path / "published"))
    found = your_runs(load(tmp_path / "mine"), published)
    assert {row[-1].main for row in found.table.rows} == {verdict}
    same = machine == MACHINE
    assert {row[-2].small for row in found.table.rows} == {"same hardware" if same else "1 other CPU machine"}


def test_what_nobody_published_is_neither(tmp_path):
    write_run(tmp_path / "mine", cells=quick_cells())
    found = your_runs(load(tmp_path / "mine"), analyse(Results()))
    assert {(row[-2].main, row[-1].main) for row in found.table.rows} == {("not published", "")}


def test_the_terminal_says_the_published_figure_and_beside_it_the_readers(folder, tmp_path, capsys):
    assert cli.run(["report", "--results", str(folder), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    published = re.search(r"in strict fp32 ([\d.]+x) \[|  ([\d.]+x) \[", said)
    figure = published[1] or published[2]
    assert f">{figure} [" in first_table(page)
    (mine,) = (line for line in said.splitlines() if line.startswith("Your run on "))
    assert f"published {figure} [" in mine
    assert mine.endswith("same hardware: differs.")
    assert float(re.search(r": ([\d.]+)x", mine)[1]) == pytest.approx(2 * float(figure[:-1]), rel=0.05)
