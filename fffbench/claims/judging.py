"""Is each published figure true, here, and why does it differ? Every claim judged by its kind."""

from __future__ import annotations

from collections.abc import Sequence

from fffbench.analysis.fidelity import Climb, climbs
from fffbench.analysis.rows import Speedup
from fffbench.analysis.speedup import dense_over_dense, speedups
from fffbench.claims.base import Claim, Evidence
from fffbench.claims.ledger import load_claims
from fffbench.claims.rows import ClaimRow
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


def published_ladders(results: Results) -> list[Climb]:
    """The fidelity ladders of the ledger's claims, as far as they were measured."""
    return climbs(results, {claim.id: claim.published for claim in load_claims()})
