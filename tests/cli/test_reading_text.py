"""What do the reading commands print: one line per claim and machine, and nothing that a terminal obeys?"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from synthetic import STABLE, cell_id, quick_cells, write_run

from fffbench.claims.judging import judge_all
from fffbench.cli import run
from fffbench.results.store import load
from fffbench.text import plain

RESULTS = Path(__file__).parents[2] / "results"
EVIL = "\x1b]0;owned\x07\x1b[2J\r\u202egnihtemos"


def test_each_claim_has_one_line_for_each_machine_and_no_line_equals_another(capsys):
    assert run(["claims", "--why", "--markdown", "--results", str(RESULTS)]) == 0
    blocks = capsys.readouterr().out.split("\n\n")
    lines = [
        (blocks[index - 1].strip("*").replace("\\", ""), line.replace("\\", "").split(" | ")[0].strip("| "))
        for index, block in enumerate(blocks)
        if block.startswith("|")
        for line in block.splitlines()[2:]
    ]
    asked = {(f"{row.machine} ({row.device})" if row.machine else "", row.id) for row in judge_all(load(RESULTS))}
    assert [line for line, count in Counter(lines).items() if count > 1] == []
    assert {(title if "(" in title else "", claim) for title, claim in lines} == asked


@pytest.mark.parametrize("command", ["claims", "speedup", "report"])
def test_text_of_result_files_moves_no_cursor(tmp_path, capsys, command):
    skipped = {cell_id("cmm_masked"): EVIL, cell_id("dense_gemm"): EVIL}
    write_run(tmp_path / "results", cells=quick_cells(), skipped=skipped, stable={**STABLE, "cpu": EVIL})
    (tmp_path / "results" / "matrix" / "test-cpu-2c-0001" / "\x1b[2Jx.json").write_text("{}")
    out = ["--out", str(tmp_path / "out")] if command == "report" else []
    assert run([command, "--results", str(tmp_path / "results"), *out]) == 0
    printed = capsys.readouterr()
    for stream in (printed.out, printed.err):
        assert stream.replace("\n", "").isprintable()
    assert "x.json" in printed.err


@pytest.mark.parametrize("text", ["a\x1b[2J", "a\nb", "\u202e", "\ud800", "\x9b31m", "\xa0"])
def test_what_is_not_printable_is_written_as_its_escape(text):
    assert plain(text).isprintable()
    assert plain(text) != text
    assert plain("116x [112, 121] →") == "116x [112, 121] →"
