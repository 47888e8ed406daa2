"""The study of many machines: what it makes is read whole, and the guide has its figures and no others."""

import json
import random

from benchmarks.studies import many_machines
from fffbench.results.merge import merge
from fffbench.results.store import load


def test_every_cell_that_is_made_is_merged_and_read(tmp_path):
    files = many_machines.templates("quick")
    rng = random.Random(1)
    archives = [many_machines.pack(tmp_path, index, files["cpu"], "cpu", rng) for index in range(2)]
    merge(archives, tmp_path / "results")
    found = load(tmp_path / "results")
    assert found.refused == ()
    assert len(found.machines) == 2
    assert len(found.records) + len(found.skipped) == 2 * len(many_machines.planned("quick", "cpu"))
    assert found.skipped
    times = {record.cell.id: record.medians for record in found.records}
    assert len(times) * 2 == len(found.records)
    assert len({record.medians for record in found.records}) == len(found.records)  # each machine has its own times


def test_presets_joined_by_commas_have_each_cell_once():
    both = many_machines.planned("quick,headline", "cpu")
    assert len(set(both)) == len(both) >= len(many_machines.planned("headline", "cpu"))


def test_the_guide_has_the_figures_of_the_studies_that_are_kept():
    assert list(many_machines.KEPT.glob("500-*.json"))
    text = many_machines.GUIDE.read_text(encoding="utf-8")
    assert many_machines.BLOCK.search(text)
    assert many_machines.guided(text) == text


def test_figures_changed_by_hand_are_noticed(tmp_path):
    step = {"seconds": 10.0, "processor seconds": 9.0, "memory MB": 300, "left out": 0}
    study = {
        "machines": 500,
        "presets": "headline",
        "cells": 1,
        "files": 2,
        "bytes": 3,
        "packed bytes": 1,
        "processor": "p",
        "merge": step,
        "merge again": step,
        "report": step | {"left out": 3},
        "pages": {"index.html": 10**6},
    }
    (tmp_path / "500-headline.json").write_text(json.dumps(study))
    text = "before\n<!-- many-machines:begin -->\nby hand\n<!-- many-machines:end -->\nafter\n"
    written = many_machines.guided(text, tmp_path)
    assert "by hand" not in written
    assert "9.00 s (10.0 s)" in written
    assert "3 files left out" in written
    assert many_machines.guided(written, tmp_path) == written
