"""One file adds a kind of claim: a time per call, which goes to the ledger, the command line and the page."""

import json
import shutil

import plugins
import pytest
from synthetic import cell_id, quick_cells, write_run
from typer.testing import CliRunner

from fffbench.claims import ledger
from fffbench.claims.kinds import KINDS
from fffbench.cli import app
from fffbench.errors import UserError

SOURCE = '''
"""A published time of one call."""
from typing import ClassVar

from fffbench.analysis.evidence import one_record_per_cell
from fffbench.analysis.stats import estimate_time
from fffbench.claims.base import Claim
from fffbench.claims.rows import row_of
from fffbench.claims.rule import NOT_MEASURED, OF_POSITION, position
from fffbench.units import seconds


class Latency(Claim):
    needed: ClassVar = ("subject", "workload")
    cache: str = "cold"

    def written(self, value):
        return seconds(value)

    def judge(self, evidence):
        want, found = self.workload, []
        for record in one_record_per_cell(evidence.results).records:
            cell = record.cell
            about = (cell.workload.shape, cell.workload.batch, cell.workload.dtype, cell.protocol.cache)
            if cell.implementation not in self.subject.implementations:
                continue
            if about != (want.shape, want.batch, want.dtype, self.cache):
                continue
            time = estimate_time(record.info.processes)
            where = position(self, time.low, time.high, time.coverage)
            shown = f"{seconds(time.value)} [{seconds(time.low)}, {seconds(time.high)}]"
            found.append(
                row_of(
                    self, OF_POSITION[where], f"One call takes {shown}.", measured=time.value, measured_shown=shown,
                    low=time.low, high=time.high, coverage=time.coverage, implementation=cell.implementation,
                    threads=cell.workload.threads, machine=record.machine, device=cell.workload.device,
                    records=(record.id,),
                )
            )
        return found or [row_of(self, NOT_MEASURED, "Nobody has measured it.")]


KIND = Latency
'''
CLAIM = """
id = "time-10ms"
statement = "A batch takes 10 ms."
source = "somewhere"
confidence = "confirmed"
kind = "latency"
published = 0.01
shown = "10 ms"
subject = { implementations = ["fff_cpu"] }
workload = { d = 768, levels = 12, batch = 16384, dtype = "fp32" }
"""


@pytest.fixture
def ledger_with_it(tmp_path, monkeypatch):
    """The ledger with one claim more, of a kind that somebody's package registers."""
    (tmp_path / "latency_kind.py").write_text(SOURCE)
    plugins.install(tmp_path, {}, monkeypatch, claim_kinds={"latency": "latency_kind"})
    folder = shutil.copytree(ledger.FOLDER, tmp_path / "claims", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    (folder / "time-10ms.toml").write_text(CLAIM)
    monkeypatch.setattr(ledger, "FOLDER", folder)
    yield folder
    plugins.forget()


def fffbench(*arguments):
    done = CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize(("time", "verdict"), [(0.0101, "reproduced"), (0.1, "not-reproduced")])
def test_it_is_judged_and_shown_in_its_own_unit_and_changes_no_other_claim(ledger_with_it, tmp_path, time, verdict):
    write_run(tmp_path / "results", cells=quick_cells() | {cell_id("fff_cpu", threads=1): [time] * 6})
    rows = json.loads(fffbench("claims", "--json", "--results", tmp_path / "results"))
    mine = [row for row in rows if row["id"] == "time-10ms"]
    assert {row["threads"] for row in mine} == {1, 2}
    [one] = [row for row in mine if row["threads"] == 1]
    assert one["verdict"] == verdict
    assert one["band_shown"] == "8.00 ms to 12.5 ms"
    assert "time-10ms" in fffbench("claims", "--results", tmp_path / "results")
    fffbench("report", "--results", tmp_path / "results", "--out", tmp_path / "out")
    page = (tmp_path / "out" / "index.html").read_text()
    assert "A batch takes 10 ms." in page
    assert one["measured_shown"] in page
    (ledger_with_it / "time-10ms.toml").unlink()
    assert json.loads(fffbench("claims", "--json", "--results", tmp_path / "results")) == [
        row for row in rows if row["id"] != "time-10ms"
    ]


def test_a_claim_of_a_kind_that_nobody_has_is_refused_with_those_there_are(ledger_with_it):
    (ledger_with_it / "time-10ms.toml").write_text(CLAIM.replace('"latency"', '"rumour"'))
    with pytest.raises(UserError, match=r"claim time-10ms.toml: unknown kind of claim 'rumour'; allowed: count, ratio"):
        ledger.load_claims()


def test_its_own_keys_are_checked(ledger_with_it):
    (ledger_with_it / "time-10ms.toml").write_text(f"{CLAIM}temperature = 3")
    with pytest.raises(UserError, match=r"claim time-10ms.toml: temperature: "):
        ledger.load_claims()
    assert "latency" in KINDS
