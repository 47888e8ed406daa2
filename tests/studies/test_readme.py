"""Does the README's generated part follow the results, and is staleness seen?"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from synthetic import STABLE, cell_id, quick_cells, write_run

from benchmarks.studies.readme import main

ROOT = Path(__file__).parents[2]
OWN_LINKS = re.compile(r"\[[\d.]+x\]\(results/[\w./-]+\.json\)|\]\(docs/answer\.svg\)")
README = "# fffbench\n\nwords\n\n<!-- answer:begin (generated) -->\n<!-- answer:end -->\n\nmore words\n"


@pytest.fixture
def root(tmp_path):
    (tmp_path / "README.md").write_text(README)
    write_run(tmp_path / "results", cells=quick_cells())
    return tmp_path


def run(root, *arguments):
    return main(["--root", str(root), *arguments])


def test_the_block_is_written_between_the_markers_and_nothing_else_changes(root):
    assert run(root) == 0
    text = (root / "README.md").read_text()
    begin, end = README.split("<!-- answer:end -->")
    assert text.startswith(begin)
    assert text.endswith("<!-- answer:end -->" + end)
    assert "faster" in text
    assert "(docs/answer.svg)" in text
    head, _, line = re.findall(r"^\|.*\|$", text, re.MULTILINE)
    assert head == "| Device | batch 1 | batch 128 | batch 16384 | strict fp32 |"
    assert re.fullmatch(
        r"\| Test CPU, 2 cores \(strict fp32\) (\| \[[\d.]+x\]\(results/[^)]+\) \[[\d.]+, [\d.]+\]( \([^|]*\))? ){4}\|",
        line,
    )
    block = text[text.index("<!-- answer:begin") : text.index("<!-- answer:end")]
    assert len([one for one in block.splitlines()[1:] if one]) <= 12


def test_writing_twice_changes_nothing(root):
    run(root)
    before = {path: path.read_bytes() for path in (root / "README.md", root / "docs" / "answer.svg")}
    assert run(root) == 0
    assert before == {path: path.read_bytes() for path in before}
    assert run(root, "--check") == 0


def test_check_names_what_is_stale_and_writes_nothing(root, capsys):
    assert run(root, "--check") == 1
    said = capsys.readouterr().err
    assert "README.md is stale" in said
    assert "docs/answer.svg is stale" in said
    assert (root / "README.md").read_text() == README
    assert not (root / "docs").exists()


def test_new_results_make_it_stale(root, capsys):
    run(root)
    slower = {name: time * (2 if name.startswith("fff") else 1) for name, time in quick_cells().items()}
    write_run(root / "results", cells=slower, run="newer", started="2027-01-01T00:00:00Z")
    assert run(root, "--check") == 1
    assert "answer.svg is stale" in capsys.readouterr().err


def test_a_hand_edit_makes_it_stale(root, capsys):
    run(root)
    path = root / "README.md"
    path.write_text(path.read_text().replace("faster", "much faster", 1))
    assert run(root, "--check") == 1
    assert "README.md is stale" in capsys.readouterr().err


def test_the_chart_is_one_svg_that_loads_nothing(root):
    run(root)
    text = (root / "docs" / "answer.svg").read_text()
    ET.fromstring(text)
    assert "prefers-color-scheme:dark" in text
    assert not re.findall(r"(?:href|src)=\"(?!#)[^\"]*\"|url\((?!#)", text)
    used = set(re.findall(r"var\((--[\w-]+)\)", text))
    assert all(f"{name}:#" in text for name in used)


@pytest.mark.parametrize("text", ["# no markers\n", README + README, "<!-- answer:end --><!-- answer:begin -->\n"])
def test_a_readme_without_its_markers_is_the_users_to_mend(root, capsys, text):
    (root / "README.md").write_text(text)
    assert run(root) == 2
    assert "answer:begin" in capsys.readouterr().err
    assert (root / "README.md").read_text() == text


@pytest.mark.parametrize(
    "name",
    [
        "[free money](https://example.org)",
        "![x](//example.org/x.png)",
        "www.example.org and https://example.org and someone@example.org",
        "[a]: https://example.org",
        "\x1b[31mred\x1b[0m \u202e reversed",
    ],
)
def test_a_machines_name_is_neither_a_link_nor_an_escape_sequence(root, name):
    write_run(root / "results", cells=quick_cells(), stable={**STABLE, "cpu": name}, machine="odd-0003")
    assert run(root) == 0
    text = (root / "README.md").read_text()
    block = text[text.index("answer:begin") : text.index("answer:end")]
    assert "example.org" in block or "red" in block
    assert not re.search(r"(?<!\\)\]\(|(?<!\\)\]:|https?://|www\.|@", re.sub(OWN_LINKS, "", block))
    assert block.replace("\n", "").isprintable()


def test_every_number_of_the_table_leads_to_a_raw_file_that_is_there(root):
    assert run(root) == 0
    text = (root / "README.md").read_text()
    rows = [line for line in text[text.index("answer:begin") :].splitlines() if line.startswith("| ")][1:]
    assert rows
    for row in rows:
        for cell in row.strip("| ").split(" | ")[1:]:
            if cell == "not measured":
                continue
            [path] = re.findall(r"^\[[\d.]+x\]\((results/[^)]+\.json)\) \\?\[", cell)
            assert (root / path).is_file()


def test_every_number_of_the_committed_readme_leads_to_a_raw_file_that_is_there():
    text = (ROOT / "README.md").read_text()
    block = text[text.index("answer:begin") : text.index("answer:end")]
    rows = [line for line in block.splitlines() if line.startswith("| ")][1:]
    numbers = [cell for row in rows for cell in row.strip("| ").split(" | ")[1:] if cell != "not measured"]
    assert len(numbers) >= 5  # one device alone has five
    for cell in numbers:
        [path] = re.findall(r"^\[[\d.]+x\]\((results/[^)]+\.json(?:\.gz)?)\)", cell)
        assert (ROOT / path).is_file()


def test_a_machines_name_is_text_not_markup(root):
    cells = {cell_id("dense_linear"): 1.0, cell_id("fff_cpu"): 0.01}
    stable = {**STABLE, "cpu": "<img src=x> | **bold** <!-- answer:end -->"}
    write_run(root / "results", cells=cells, stable=stable, machine="odd-0002")
    assert run(root) == 0
    assert run(root, "--check") == 0
    assert "<img" not in (root / "README.md").read_text()
    ET.fromstring((root / "docs" / "answer.svg").read_text())
