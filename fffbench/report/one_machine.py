"""What does a worker process do with the results of one machine, so that nobody needs those of all at once?

Twice: first it reads the files, writes down what was measured and says what other machines must know of it; then, with
what all machines know of each other, it compares, writes that down and says what the page tells of all machines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fffbench.analysis.attribution import every_attribution
from fffbench.analysis.breakeven import break_even
from fffbench.analysis.ceilings import ceilings_of
from fffbench.analysis.evidence import one_record_per_cell, only
from fffbench.analysis.fidelity import Climb
from fffbench.analysis.headline import Answer, answers
from fffbench.analysis.pooling import Spread
from fffbench.analysis.rivals import DenseTimes, Key, Placed, dense_times, placed
from fffbench.analysis.speedup import speedups
from fffbench.analysis.spread import Key as SpreadKey
from fffbench.analysis.spread import Pairs, everywhere, of_pairs, pairs_of, spreads
from fffbench.claims import judging
from fffbench.claims.base import Claim
from fffbench.report import csv_tables
from fffbench.report.shown import Place
from fffbench.results import condensed
from fffbench.results import current as current_sources
from fffbench.results.listing import Refusal
from fffbench.results.reader import SkippedCell
from fffbench.results.record import Machine, Record
from fffbench.results.store import Results, Run, of_files
from fffbench.results.superseded import place_of, sides

CONDENSED = "condensed"
BATCHES, WIDTHS = "breakeven-batch.csv", "breakeven-neurons.csv"  # one after the other in breakeven.csv


@dataclass(frozen=True)
class Survey:
    """What a machine's files hold, as far as others or the page must know it."""

    cost: int  # bytes of memory that all of it would take
    records: Counter[Place]
    superseded: int
    skipped: int
    alone: tuple[SkippedCell, ...]  # skipped cells of a machine without records
    refused: tuple[Refusal, ...]
    runs: dict[str, Run]
    machines: dict[str, Machine]
    compared: set[Place]
    now: set[Place]
    pairs: dict[SpreadKey, Pairs | None]
    dense: dict[Key, list[Placed]]


@dataclass(frozen=True)
class Known:
    """What all machines know of each other."""

    everywhere: Mapping[tuple[str, bool], Spread]
    dense: DenseTimes
    claims: Sequence[Claim]  # of the ledger, which takes as long to read as a machine's claims to be judged

    def tell(self, results: Results, pairs: Mapping[SpreadKey, Pairs | None]) -> None:
        """Let the analysis of ``results`` of some machines rest on all."""
        results.known[spreads.asked] = of_pairs(pairs, self.everywhere)
        results.known[dense_times.asked] = self.dense


@dataclass(frozen=True)
class Told:
    """What the page tells of a machine beside others."""

    claims: judging.Part
    answers: list[Answer]
    climbs: list[Climb]
    columns: list[str]  # of the file of attributions


def survey(root: Path, files: Sequence[Path], allowed: int, table: current_sources.Table, out: Path) -> Survey:
    """Read ``files`` of one machine under ``root``; what was measured goes to ``out``."""
    results, cost = of_files(root, files, allowed, table, keep=False)
    Record.know_medians((*results.records, *results.superseded))
    out.mkdir()
    pairs = pairs_of(results)
    results.known[spreads.asked] = of_pairs(pairs, everywhere([pairs]))
    csv_tables.write_measured(results, out, header=False)
    condensed.write(results, out / CONDENSED, ceilings_of(results))
    compared, now = sides((*results.records, *results.superseded), current_sources.current)
    found = Survey(
        cost=cost,
        records=Counter(map(place_of, results.records)),
        superseded=len(results.superseded),
        skipped=len(results.skipped),
        alone=results.skipped if not results.records else (),
        refused=results.refused,
        runs=results.runs,
        machines=results.machines,
        compared=compared,
        now=now,
        pairs=pairs,
        dense=_dense(results),
    )
    _forget(results)
    return found


def _dense(results: Results) -> dict[Key, list[Placed]]:
    """Where the dense layers stand on the machine's scale; the others need not be pooled for that."""
    dense = only(results, (record for record in results.records if record.info.family == "dense"))
    found = placed(dense)
    _forget(dense)
    return found


def tell(known: Known, pairs: Mapping[SpreadKey, Pairs | None], out: Path) -> Told:
    """Compare what ``survey`` left in ``out``, with what is ``known`` of all machines; the rows go there too."""
    results, ceilings = condensed.read(out / CONDENSED)
    results.known[ceilings_of.asked] = ceilings
    (out / CONDENSED).unlink()
    known.tell(results, pairs)
    rows, ladders = speedups(results), judging.published_ladders(results, known.claims)
    csv_tables.write_speedups(rows, out, header=False)
    crossings = break_even(rows)
    for name, axis in ((BATCHES, "batch"), (WIDTHS, "neurons")):
        csv_tables.write_break_even([one for one in crossings if one.axis == axis], out / name, header=False)
    columns = csv_tables.write_attributions(every_attribution(results, rows), out, header=False)
    found = Told(judging.judge_part(results, rows, ladders, known.claims), answers(results, rows), ladders, columns)
    _forget(results)
    return found


def _forget(results: Results) -> None:
    """Free what was computed of ``results``: answers are kept with it and refer to it, and no collector runs."""
    if one_record_per_cell.asked in results.known:
        one_record_per_cell(results).known.clear()
    results.known.clear()
