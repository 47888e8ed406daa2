"""The documents say what is there: links lead somewhere, every command and preset is named, versions agree."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import fffbench
from fffbench.cli import app
from fffbench.plan.presets import presets

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\(([^)#]+)(?:#([^)]*))?\)")
REFERENCE = ROOT / "docs" / "reference"


def anchors(text):
    """The anchors of a page's headings, as they are made where it is shown."""
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head).strip().lower().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_of_a_page_leads_to_a_file_and_a_heading_of_it(page):
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        if target.startswith(("http:", "https:")):
            continue
        found = page.parent / target
        assert found.exists(), target
        assert not anchor or anchor in anchors(found.read_text(encoding="utf-8")), (target, anchor)


def test_the_index_names_every_page_and_every_example():
    text = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    pages = [page for page in (ROOT / "docs").rglob("*.md") if page.name != "index.md"]
    for path in (*pages, *(ROOT / "docs" / "examples").iterdir()):
        assert path.relative_to(ROOT / "docs").as_posix() in text, path


def test_the_readme_has_its_first_command_within_25_lines_and_two_screens():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert next(number for number, line in enumerate(lines, 1) if "nox -s reproduce" in line) <= 25
    begin = next(number for number, line in enumerate(lines) if "answer:begin" in line)
    end = next(number for number, line in enumerate(lines) if "answer:end" in line)
    assert len(lines) - (end - begin) <= 80


def test_every_command_and_every_session_is_in_the_reference():
    text = (REFERENCE / "commands.md").read_text(encoding="utf-8")
    for name in typer.main.get_command(app).commands:
        assert f"`fffbench {name}" in text, name
    sessions = re.findall(r"@nox\.session.*?\ndef (\w+)\(", (ROOT / "noxfile.py").read_text(encoding="utf-8"))
    assert sessions
    for name in sessions:
        assert f"`nox -s {name}" in text, name


def test_every_preset_is_in_the_reference_with_its_own_words():
    text = (REFERENCE / "presets.md").read_text(encoding="utf-8")
    for name, preset in presets().items():
        assert f"| `{name}` | {preset.summary} |" in text, f"{name}: run python -m benchmarks.studies.readme"


def missing_tests(text):
    """What a table names as tests, by sentence and file, and is none."""
    named = re.findall(r"\[([^\]]+)\]\(\.\./\.\./(tests/[^)]+)\)", text)
    assert named
    return [
        (sentence, file)
        for sentence, file in named
        if not (ROOT / file).is_file()
        or f"\ndef test_{sentence.replace(' ', '_')}(" not in (ROOT / file).read_text(encoding="utf-8")
    ]


def test_every_test_that_the_table_of_faults_names_is_there_and_every_row_has_one():
    text = (ROOT / "docs" / "notebook" / "trust.md").read_text(encoding="utf-8")
    assert missing_tests(text) == []
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| what can go wrong")]
    assert len(rows) > 40
    assert [row for row in rows if row.count(" | ") != 2 or "](../../tests/" not in row.rpartition(" | ")[2]] == []


def test_a_test_that_is_not_there_is_found():
    right = "[nothing is said of what is right](../../tests/measure/test_diagnosis.py)"
    wrong = (
        "[something is said of what is right](../../tests/measure/test_diagnosis.py)",
        "[one](../../tests/measure/no_file.py)",
    )
    assert missing_tests(right) == []
    assert missing_tests(" ".join((right, *wrong))) == [
        ("something is said of what is right", "tests/measure/test_diagnosis.py"),
        ("one", "tests/measure/no_file.py"),
    ]


def test_every_path_that_a_page_names_is_there():
    for page in PAGES:
        for named in re.findall(r"`((?:fffbench|tests|tools|benchmarks|docs)/[\w./-]+\w)`", page.read_text("utf-8")):
            assert (ROOT / named).exists(), (page, named)


def test_every_document_that_the_sources_name_is_there():
    for path in (*(ROOT / "fffbench").rglob("*"), *(ROOT / "tests").rglob("*.py")):
        if path.suffix not in (".py", ".cpp", ".hpp", ".cu", ".cuh", ".j2", ".toml"):
            continue
        for named in re.findall(r"docs/[a-z/_-]+\.(?:md|py)\b", path.read_text(encoding="utf-8")):
            assert (ROOT / named).exists(), (path, named)


def test_one_version_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    cited = re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    assert project["version"] == fffbench.__version__ == cited[1]
    assert CliRunner().invoke(app, ["--version"]).stdout == f"fffbench {fffbench.__version__}\n"
