"""Is what the page, the README and --help say of a rule the sentence that stands beside it?"""

import re
from html import unescape
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.studies import readme
from fffbench.analysis import ceilings, change_points, evidence, rivals
from fffbench.analysis.baselines import BASELINE_MEANING, BASELINES, THREADS_MEANING
from fffbench.claims import rule
from fffbench.cli import app
from fffbench.devices import cpu, cuda
from fffbench.plan import workload
from fffbench.report import render
from fffbench.results.store import Results

TERMS = (
    workload.CACHE_MEANING,
    workload.CALL_MEANING,
    workload.ROUTING_MEANING,
    BASELINE_MEANING,
    THREADS_MEANING,
    rule.MEANING,
)
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    text = render(Results(), tmp_path_factory.mktemp("page")).read_text(encoding="utf-8")
    return " ".join(unescape(text).split())


@pytest.mark.parametrize("terms", TERMS, ids=lambda terms: next(iter(terms)))
def test_each_value_is_described_by_the_sentence_beside_it(page, terms):
    for name, text in terms.items():
        assert f"<dt>{name}</dt><dd>{text}.</dd>" in page


def test_each_rule_stands_in_its_own_words(page):
    for text in (rivals.RIVALS, evidence.RULE, ceilings.MEANING, workload.PROCESS_MEANING, change_points.MEANING):
        assert text in page


def test_what_a_sentence_counts_is_what_the_code_counts():
    assert f"{cpu.SWEEP_FACTOR} times the last-level cache" in workload.CACHE_MEANING["cold"]
    assert f"on a GPU for every {cuda.DEVICE.cells_per_process} cells" in workload.PROCESS_MEANING
    assert f"by overwriting one of {cuda.FLUSH_FACTOR} times the L2" in workload.CACHE_MEANING["cold"]
    assert tuple(BASELINE_MEANING) == BASELINES
    assert "rotate over copies" not in " ".join(workload.CACHE_MEANING.values())


def test_the_reference_has_the_same_sentences_and_the_committed_one_is_fresh():
    terms = readme.terms()
    for meaning in TERMS[:-1]:
        for name, text in meaning.items():
            assert f"`{name}`: {text}" in terms
    assert terms in (ROOT / "docs" / "reference" / "rows.md").read_text(encoding="utf-8")


def test_help_describes_the_protocols():
    done = CliRunner().invoke(app, ["run", "--help"], env={"COLUMNS": "400", "TERMINAL_WIDTH": "400"})
    said = re.sub(r"[\s│]+", " ", done.output)
    for terms in TERMS[:3]:
        assert all(f"{name}: {text}" in said for name, text in terms.items())
