"""Is each published figure true, here, and why does it differ?

One rule decides (``rule``). Verdict from the two sets of conditions: fair
reached ``reproduced``, fair beyond ``exceeded``; fair short:
``reproduced-under-published-protocol-only`` or ``not-reproduced``, as the
published conditions have it. It is about the layer, best against best; the
published program has verdicts of its own (``program``). Verdicts are computed
from records each time and never stored. Choosing the rows, the rule and the
row that scripts read are one path, which is why this file is longer than 300
lines; what is said in words is in ``wording``.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fffbench.analysis import deciding
from fffbench.analysis.claim_wording import fair_or_published, position_of, with_tf32_beside
from fffbench.analysis.commands import command
from fffbench.analysis.difference import difference
from fffbench.analysis.fidelity import Climb, climbs
from fffbench.analysis.ledger import FORMULAS, Claim, Conditions, Subject, load_claims
from fffbench.analysis.program import Program, program
from fffbench.analysis.rows import Speedup
from fffbench.analysis.rule import (
    ARITHMETIC_ERROR,
    ARITHMETIC_HOLDS,
    NOT_MEASURED,
    NOT_REPRODUCED,
    NOT_TESTABLE,
    OF_POSITION,
    PROTOCOL_ONLY,
    UNDECIDED,
)
from fffbench.analysis.speedup import dense_over_dense, speedups
from fffbench.analysis.stats import LEVEL
from fffbench.results.store import Results
from fffbench.units import number, percent

Work = tuple[int, int, int, int, int, str]  # d, n, trees, levels, leaf width, dtype


@dataclass(frozen=True)
class ClaimRow:
    """A claim on one machine under one set of conditions; the verdict is that of claim and machine together."""

    id: str
    statement: str
    source: str
    confidence: str
    kind: str
    published: float
    published_shown: str
    short: str
    band: tuple[float, float]
    conditions: str
    baseline: str | None
    claimed_batch: int | None
    batch: int | None
    threads: int | None
    baseline_threads: int | None
    measured: float | None
    low: float | None
    high: float | None
    coverage: float | None
    provisional: bool
    implementation: str | None
    baseline_implementation: str | None
    machine: str | None
    device: str | None
    verdict: str
    reason: str
    records: tuple[str, ...]
    note: str
    chart: bool
    decides: bool  # whether the verdict rests on it; others are shown beside it
    command: str  # measures its cells; empty where no command line can name them
    difference: str  # what makes the two sets of conditions differ, factor by factor
    lacking: str  # why the verdict is undecided or not-measured, without the command that is part of the reason
    program_shipped: str = ""  # the verdict on the published program as shipped; empty where it was not measured
    program_mended: str = ""  # the same with its mistakes mended
    program: str = ""  # both ratios of the published program
    tried: int | None = None  # of how many dense layers the baseline is the best, where it is the best dense one
    not_measured: tuple[str, ...] = ()  # layers that belong there and were neither measured nor ruled out
    with_tf32: str = ""  # what is left of a fair ratio in strict fp32 once the dense side may use TF32

    def to_json(self) -> dict[str, Any]:
        """The row as the command line prints it."""
        return asdict(self) | {"records": list(self.records), "not_measured": list(self.not_measured)}


def judge_all(
    results: Results,
    *,
    claims: Sequence[Claim] | None = None,
    rows: Sequence[Speedup] | None = None,
    ladders: Sequence[Climb] | None = None,
) -> list[ClaimRow]:
    """Every claim of the ledger judged by ``results``; pass ``rows`` and ``ladders`` where they are at hand already."""
    claims = load_claims() if claims is None else claims
    by_work: dict[Work | None, list[Speedup]] = defaultdict(list)
    for row in (*(speedups(results) if rows is None else rows), *dense_over_dense(results)):
        by_work[row.d, row.n, row.trees, row.levels, row.leaf_width, row.dtype].append(row)
    ladders = climbs(results) if ladders is None else ladders
    return [row for claim in claims for row in judge(claim, by_work[work_of(claim)], results, ladders)]


def work_of(claim: Claim) -> Work | None:
    """The layer and dtype that a claim's rows are about; None for a count."""
    want = claim.workload
    if want is None or want.dtype is None:
        return None
    shape = want.shape
    return (shape.d, shape.n, shape.trees, shape.levels, shape.leaf_width, want.dtype)


def judge(claim: Claim, rows: Sequence[Speedup], results: Results, ladders: Sequence[Climb] = ()) -> list[ClaimRow]:
    """The rows of one claim: one for a count, else one per machine, conditions and thread count."""
    if claim.kind == "count":
        return [_count(claim)]
    if claim.kind == "untestable":
        return [_row(claim, "published", None, NOT_TESTABLE, claim.untestable)]
    matching = _of_the_work(claim, rows)
    machines: dict[tuple[str, str], list[Speedup]] = defaultdict(list)
    for row in matching:
        machines[row.machine, row.device].append(row)
    climbed: dict[tuple[str, str], list[Climb]] = defaultdict(list)
    for item in ladders:
        if item.claim == claim.id:
            climbed[item.machine, item.device].append(item)
    found: list[ClaimRow] = []
    for place, here in sorted(machines.items()):
        if any(row.speedup is not None for row in here):
            found += _on_machine(claim, here, results, climbed[place])
    answered = [row for row in found if row.verdict != NOT_MEASURED]
    if answered:
        return answered
    lacking = deciding.why_not_measured(claim, results)
    reason = f"{lacking} {deciding.advice(claim)}".strip()
    return [
        _row(claim, name, None, NOT_MEASURED, reason, lacking=lacking)
        for name in ("published", "fair")
        if name in claim.conditions
    ]


def _count(claim: Claim) -> ClaimRow:
    assert claim.workload is not None
    assert claim.formula is not None
    value = FORMULAS[claim.formula](claim.workload.shape)
    shown = percent(value) if claim.formula in ("active_share", "saving_if_ceiling") else f"{value:.6g}"
    off = max(value / claim.published, claim.published / value)
    if off <= claim.band:
        verdict, reason = (
            ARITHMETIC_HOLDS,
            f"Counting the layer's neurons gives {shown}. A count, not a measured speed.",
        )
    else:
        verdict = ARITHMETIC_ERROR
        reason = f"Counting the layer's neurons gives {shown}; the published {claim.shown} is off by {number(off)}x."
    row = _row(claim, "published", None, verdict, reason)
    return ClaimRow(**{**asdict(row), "measured": value, "low": value, "high": value})


def _of_the_work(claim: Claim, rows: Iterable[Speedup]) -> list[Speedup]:
    """The rows about the claim's layer, batch, dtype and devices."""
    want = claim.workload
    assert want is not None
    key = work_of(claim)
    batches = {want.batch, *(batch for conditions in claim.conditions.values() for batch in conditions.or_batch)}
    return [
        row
        for row in rows
        if row.batch in batches
        and (row.d, row.n, row.trees, row.levels, row.leaf_width, row.dtype) == key
        and row.device in want.devices
    ]


def _chosen(claim: Claim, conditions: Conditions, rows: Iterable[Speedup]) -> list[Speedup]:
    """The rows that answer ``conditions``: the best implementation for each thread count asked for.

    Of several calls or batches that will do, the first with an interval of 95 %, else the first measured.
    """
    subject = conditions.subject or claim.subject
    assert subject is not None
    mode = "fastest" if conditions.threads == "fastest" else "same"
    fitting = [
        row
        for row in rows
        if row.speedup is not None
        and _is_subject(subject, row)
        and (row.baseline, row.cache, row.routing) == (conditions.baseline, conditions.cache, conditions.routing)
        and row.baseline_threads == mode
        and (not isinstance(conditions.threads, int) or row.threads == conditions.threads)
    ]
    assert claim.workload is not None
    places = [(call, batch) for batch in (claim.workload.batch, *conditions.or_batch) for call in conditions.call]
    answers = [_best([row for row in fitting if (row.call, row.batch) == place], mode) for place in places]
    deciding_first = sorted(answers, key=lambda rows: not any((row.coverage or 0) >= LEVEL for row in rows))
    return next((rows for rows in deciding_first if rows), [])


def _best(rows: Iterable[Speedup], mode: str) -> list[Speedup]:
    """The fastest implementation's row at each thread count, or of all."""
    best: dict[int, Speedup] = {}
    for row in rows:
        key = 0 if mode == "fastest" else row.threads
        if key not in best or (row.speedup or 0) > (best[key].speedup or 0):
            best[key] = row
    return [best[key] for key in sorted(best)]


def _is_subject(subject: Subject, row: Speedup) -> bool:
    return row.family == subject.family if subject.family else row.implementation in subject.implementations


def _nearest(claim: Claim, rows: Sequence[Speedup]) -> Speedup:
    """The row that decides among several thread counts: one that reaches the figure, then the nearest."""
    positions = ("reached", "beyond", "unclear", "short")
    return min(
        rows,
        key=lambda row: (
            positions.index(position_of(claim, row)),
            abs(math.log((row.speedup or 1) / claim.published)),
        ),
    )


def _on_machine(claim: Claim, rows: Sequence[Speedup], results: Results, ladders: Sequence[Climb]) -> list[ClaimRow]:
    chosen = {name: _chosen(claim, conditions, rows) for name, conditions in claim.conditions.items()}
    fair = _nearest(claim, chosen["fair"]) if chosen["fair"] else None
    published = _nearest(claim, chosen["published"]) if chosen.get("published") else None
    with_tf32 = with_tf32_beside(fair, rows)
    verdict, reason = _verdict(claim, fair, published, with_tf32)
    beside = _at_equal_threads(claim, rows, chosen["fair"])
    shipped = program(claim, ladders)
    both = difference(claim, chosen.get("published", []), [*chosen["fair"], *beside], ladders)
    lacking = deciding.lacking(claim, fair, published, results) if verdict == UNDECIDED else ""
    reason = " ".join(filter(None, (reason, lacking, deciding.advice(claim) if lacking else "")))
    found: list[ClaimRow] = []
    for name in ("published", "fair"):
        answers: list[Speedup | None] = []
        if name in claim.conditions:
            answers = [*chosen[name]] or [None]
        places = [row for row in beside if row not in chosen["fair"]] if name == "fair" else []
        found += [
            _row(
                claim, name, row, verdict, reason,
                place=rows[0], difference=both, lacking=lacking, decides=row not in places,
                shipped=shipped, with_tf32=with_tf32,
            )
            for row in (*answers, *places)
        ]  # fmt: skip
    return found


def _at_equal_threads(claim: Claim, rows: Iterable[Speedup], decisive: Sequence[Speedup]) -> list[Speedup]:
    """Fair rows at each thread count on both sides, to stand beside the decisive one where that differs."""
    conditions = claim.conditions["fair"]
    if conditions.threads != "fastest" or not decisive:
        return []
    equal = conditions.model_copy(update={"threads": "any", "call": (decisive[0].call,)})
    known = {(row.record, row.baseline_record) for row in decisive}
    return [row for row in _chosen(claim, equal, rows) if (row.record, row.baseline_record) not in known]


def _verdict(claim: Claim, fair: Speedup | None, published: Speedup | None, with_tf32: str = "") -> tuple[str, str]:
    """The one rule (module docstring), and the sentence that says how it came out."""
    said = [f"Under fair conditions: {fair_or_published(claim, fair)}."] if fair else []
    said += [with_tf32] if with_tf32 else []
    said += [f"Under published conditions: {fair_or_published(claim, published)}."] if published else []
    answered = {"fair": fair, "published": published}
    lacking = [name for name, row in answered.items() if name in claim.conditions and row is None]
    if not said:
        return NOT_MEASURED, "Neither the published nor the fair conditions were measured here."
    verdict = UNDECIDED if fair is None else OF_POSITION[position_of(claim, fair)]
    if verdict == NOT_REPRODUCED and "published" in claim.conditions:
        other = position_of(claim, published) if published else "unclear"
        verdict = {"unclear": UNDECIDED, "short": NOT_REPRODUCED}.get(other, PROTOCOL_ONLY)
    said += [f"The {name} conditions were not measured here." for name in lacking]
    return verdict, " ".join(said)


def _row(
    claim: Claim,
    name: str,
    row: Speedup | None,
    verdict: str,
    reason: str,
    *,
    place: Speedup | None = None,
    difference: str = "",
    lacking: str = "",
    decides: bool = True,
    shipped: Program | None = None,
    with_tf32: str = "",
) -> ClaimRow:
    conditions = claim.conditions.get("fair" if name == "fair" else "published")
    where = row or place
    return ClaimRow(
        id=claim.id,
        statement=claim.statement,
        source=claim.source,
        confidence=claim.confidence,
        kind=claim.kind,
        published=claim.published,
        published_shown=claim.shown,
        short=claim.short or claim.id,
        band=(claim.published / claim.band, claim.published * claim.band),
        conditions=name,
        baseline=conditions.baseline if conditions else None,
        claimed_batch=claim.workload.batch if claim.workload else None,
        batch=row.batch if row else None,
        threads=row.threads if row else None,
        baseline_threads=row.baseline_thread_count if row else None,
        measured=row.speedup if row else None,
        low=row.low if row else None,
        high=row.high if row else None,
        coverage=row.coverage if row else None,
        provisional=row.provisional if row else False,
        implementation=row.implementation if row else None,
        baseline_implementation=row.baseline_implementation if row else None,
        machine=where.machine if where else None,
        device=where.device if where else None,
        verdict=verdict,
        reason=reason,
        records=tuple(item for item in (row.record, row.baseline_record) if item) if row else (),
        note=claim.note,
        chart=claim.chart,
        decides=decides,
        command=command(claim),
        difference=difference,
        lacking=lacking,
        program_shipped=shipped.shipped if shipped else "",
        program_mended=shipped.mended if shipped else "",
        program=shipped.text if shipped else "",
        with_tf32=with_tf32,
        tried=row.tried if row else None,
        not_measured=row.not_measured if row else (),
    )
