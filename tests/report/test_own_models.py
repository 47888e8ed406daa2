"""Do a reader's own runs of whole models stand apart, and change nothing that is published?"""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess

import pytest
from synthetic import MACHINE, STABLE, facts_of, quick_cells, write_run

from fffbench import cli
from fffbench.report import render
from fffbench.report.models import models
from fffbench.report.published import own_model_files
from fffbench.report.your_models import your_models
from fffbench.report.yours import AGREES, DIFFERS
from fffbench.results.store import load

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="no git here")

SECONDS = {"dense": 0.100, "none": 0.040, "fff-1x12": 0.050}
OTHER = "other-cpu-2c-0002"
OWN = "models/{}/mine.json"


def plant(results, run, *, speed=1.0, machine=MACHINE, threads=2, seconds=None):
    """A run of a whole model whose replacements are ``speed`` times as fast as the published ones."""
    cells = []
    for variant, took in (seconds or SECONDS).items():
        draw = random.Random(variant)  # the same noise in every run, so that equal speeds give equal figures
        time = took / (1 if variant == "dense" else speed)
        cells.append(
            {
                "cell": f"{variant}@bert-base-encode-b1x128-fp32-cpu-{threads}th-s0@eager",
                "processes": [[time * draw.uniform(0.99, 1.01) for _ in range(5)] for _ in range(6)],
                "check": {"error": 0.2, "tokens": 12, "layers": 12},
                "weights_bytes": 1000,
                "peak_bytes": 2000,
                "build_seconds": 1.0,
                "prepare_seconds": 0.0,
                "planned_processes": 6,
            }
        )
    header = {"format": 1, "run": run, "preset": "models", "started": "2026-11-27T00:00:00Z"}
    header |= {"machine": {"id": machine, "stable": facts_of(machine, STABLE)}, "commit": "abcdef0123"}
    header |= {"dirty": False, "sources": "0123456789abcdef"}
    path = results / "models" / machine / f"{run}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"fffbench": header, "models_format": 1, "cells": cells, "skipped": []}))


@pytest.fixture
def folder(tmp_path):
    """A repository with a committed run of layers and one of a model."""
    results = tmp_path / "repository" / "results"
    write_run(results, cells=quick_cells(), run="published")
    plant(results, "published-models")
    for command in (["init", "--quiet"], ["add", "results"], ["commit", "--quiet", "--message", "results"]):
        git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", *command]
        subprocess.run(git, cwd=results.parent, check=True, capture_output=True)
    return results


def section(page, name):
    found = re.search(rf'<section id="{name}">.*?</section>', page, re.DOTALL)
    return found[0] if found else ""


def of_models(out):
    """Everything published about whole models: page, first sentence, ledger, archive, CSV files."""
    page, archive = ((out / name).read_text(encoding="utf-8") for name in ("index.html", "all.html"))
    first = page[page.index("<header") : page.index("</header>")]
    files = [(out / name).read_bytes() for name in ("models.csv", "model-claims.csv", "changes.csv")]
    return first, section(page, "model"), section(page, "claims"), archive, files


@pytest.mark.parametrize("machine", [MACHINE, OTHER])
def test_an_own_run_of_a_model_changes_no_published_figure_by_a_byte(folder, tmp_path, machine):
    render(load(folder), tmp_path / "before", folder=folder)
    plant(folder, "mine", speed=2.0, machine=machine)
    render(load(folder), tmp_path / "after", folder=folder)
    assert of_models(tmp_path / "before") == of_models(tmp_path / "after")
    before, after = ((tmp_path / name / "index.html").read_text(encoding="utf-8") for name in ("before", "after"))
    assert 'id="yours"' not in before
    assert ">2.00x [" in section(after, "model")
    own = section(after, "yours")
    assert ">4.00x [" in own
    assert "mine (models, 2026-11-27, commit abcdef0123, clean)" in own
    ids = re.findall(r' id="([^"]+)"', after)
    assert len(ids) == len(set(ids))  # an own card has a name of its own


@pytest.mark.parametrize(("speed", "verdict"), [(1.0, AGREES), (2.0, DIFFERS), (0.5, DIFFERS)])
@pytest.mark.parametrize("machine", [MACHINE, OTHER])
def test_an_own_figure_agrees_where_the_published_interval_holds_it(folder, speed, verdict, machine):
    plant(folder, "mine", speed=speed, machine=machine)
    mine = own_model_files(folder)
    assert mine == {OWN.format(machine)}
    found = your_models(folder, mine, models(folder, {}, lambda path: path not in mine))
    assert {row[-1].main for row in found.table.rows} == {verdict}
    assert {row[-2].small for row in found.table.rows} == {
        "same hardware" if machine == MACHINE else "1 other CPU machine"
    }
    cards = {card.id for card in found.cards}
    assert {row[2].link for row in found.table.rows} == cards
    assert all(side.machine == "" and side.files for card in found.cards for side in card.sides)


@pytest.mark.parametrize(
    "other",
    [{"threads": 1}, {"machine": OTHER, "threads": 1}, {"seconds": {"dense": 0.1, "fff-1x11": 0.05}}],
    ids=["threads", "threads elsewhere", "replacement"],
)
def test_what_was_asked_otherwise_is_not_compared(folder, other):
    plant(folder, "mine", **other)
    mine = own_model_files(folder)
    found = your_models(folder, mine, models(folder, {}, lambda path: path not in mine))
    assert {(row[-2].main, row[-1].main) for row in found.table.rows} == {("not published", "")}


def test_where_no_result_is_committed_all_runs_of_models_count_alike(tmp_path):
    plant(tmp_path / "results", "mine")
    assert own_model_files(tmp_path / "results") == frozenset()


def test_the_first_model_of_a_reader_is_the_readers_where_only_layers_are_published(folder, tmp_path):
    (folder / "models" / MACHINE / "published-models.json").unlink()
    plant(folder, "mine")
    page = render(load(folder), tmp_path / "out", folder=folder).read_text(encoding="utf-8")
    assert ">2.00x [" not in section(page, "model")
    assert ">2.00x [" in section(page, "yours")


def test_the_terminal_says_the_readers_model_beside_the_published_one(folder, tmp_path, capsys):
    plant(folder, "mine", speed=2.0)
    assert cli.run(["report", "--results", str(folder), "--out", str(tmp_path / "out")]) == 0
    (mine,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("Your run on "))
    assert "BERT-base, 1 x 128 tokens, fp32" in mine
    assert "4.00x [" in mine
    assert "published 2.00x [" in mine
    assert mine.endswith("same hardware: differs.")
