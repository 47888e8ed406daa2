"""Is each published figure true, here, and why does it differ? Every claim judged by its kind."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fffbench.analysis.fidelity import Climb, climbs
from fffbench.analysis.rows import Speedup
from fffbench.analysis.speedup import dense_over_dense, speedups
from fffbench.claims.base import Claim, Evidence
from fffbench.claims.ledger import load_claims
from fffbench.claims.missing import devices_of, skipped_for
from fffbench.claims.rows import ClaimRow
from fffbench.claims.rule import NOT_MEASURED
from fffbench.results.reader import SkippedCell
from fffbench.results.store import Results


def judge_all(
    results: Results,
    *,
    claims: Sequence[Claim] | None = None,
    rows: Sequence[Speedup] | None = None,
    ladders: Sequence[Climb] | None = None,
) -> list[ClaimRow]:
    """Every claim of the ledger judged by ``results``; pass ``rows`` and ``ladders`` where they are at hand already."""
    claims = load_claims() if claims is None else claims
    every = (*(speedups(results) if rows is None else rows), *dense_over_dense(results))
    evidence = Evidence.of(results, every, published_ladders(results) if ladders is None else ladders)
    return [row for claim in claims for row in claim.judge(evidence)]


def each_apart() -> bool:
    """Whether every claim of the ledger can be judged machine by machine."""
    return all(claim.of_each_machine or not claim.measurable for claim in load_claims())


@dataclass(frozen=True)
class Part:
    """What one machine answers, by claim, and the skipped cells that would have answered others."""

    rows: dict[str, list[ClaimRow]]
    skipped: tuple[SkippedCell, ...]


def judge_part(results: Results, rows: Sequence[Speedup], ladders: Sequence[Climb], every: Sequence[Claim]) -> Part:
    """What ``results`` of one machine answer of ``every`` claim."""
    evidence = Evidence.of(results, (*rows, *dense_over_dense(results)), ladders)
    claims = [claim for claim in every if claim.of_each_machine]
    judged = {claim.id: [row for row in claim.judge(evidence) if row.verdict != NOT_MEASURED] for claim in claims}
    wanted = {item for claim in claims if (item := skipped_for(claim, results)) is not None}
    first = sorted(wanted, key=lambda item: (item.started, item.run, item.cell.id))
    return Part({name: found for name, found in judged.items() if found}, tuple(first))


def judge_together(parts: Sequence[Part], devices: Iterable[str]) -> list[ClaimRow]:
    """As ``judge_all`` of all results, from the ``parts`` in the order of machines and all ``devices``."""
    rest = Results(skipped=tuple(item for part in parts for item in part.skipped))
    rest.known[devices_of.asked] = set(devices)
    found: list[ClaimRow] = []
    for claim in load_claims():
        rows = [row for part in parts for row in part.rows.get(claim.id, ())]
        found += rows or claim.judge(Evidence(rest))
    return found


def published_ladders(results: Results, claims: Sequence[Claim] | None = None) -> list[Climb]:
    """The fidelity ladders of the ledger's claims, as far as they were measured."""
    claims = load_claims() if claims is None else claims
    return climbs(results, {claim.id: claim.published for claim in claims})
