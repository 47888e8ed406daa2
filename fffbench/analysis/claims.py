"""Is each published figure true, here, and why does it differ?

One rule, fixed before any result was looked at. With the published value P and
the band f (1.25 unless the claim's file says why not), an interval

* reaches P if it meets [P/f, P*f];
* lies beyond it if the whole interval is above P*f (below P/f where P claims a loss, P < 1);
* falls short if the whole interval is below P/f (above P*f where P claims a loss);
* decides nothing if it covers less than 95 % or sticks out of the band on both sides.

Verdict from the two sets of conditions: fair reached ``reproduced``, fair
beyond ``exceeded``; fair short: ``reproduced-under-published-protocol-only``
or ``not-reproduced``, as the published conditions have it. Verdicts are
computed from records each time and never stored.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fffbench.analysis.ledger import FORMULAS, Claim, Conditions, Subject, load_claims
from fffbench.analysis.rows import Speedup
from fffbench.analysis.speedup import dense_over_dense, speedups
from fffbench.analysis.stats import LEVEL
from fffbench.results.store import Results
from fffbench.units import number, percent, ratio

REPRODUCED, EXCEEDED = "reproduced", "exceeded"
PROTOCOL_ONLY = "reproduced-under-published-protocol-only"
NOT_REPRODUCED, ARITHMETIC_ERROR = "not-reproduced", "arithmetic-error"
UNDECIDED, NOT_MEASURED, NOT_TESTABLE = "undecided", "not-measured", "not-testable-here"
VERDICTS = (
    REPRODUCED,
    EXCEEDED,
    PROTOCOL_ONLY,
    NOT_REPRODUCED,
    ARITHMETIC_ERROR,
    UNDECIDED,
    NOT_MEASURED,
    NOT_TESTABLE,
)


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
    threads: int | None
    baseline_threads: int | None
    measured: float | None
    low: float | None
    high: float | None
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

    def to_json(self) -> dict[str, Any]:
        """The row as the command line prints it."""
        return asdict(self) | {"records": list(self.records)}


def judge_all(
    results: Results, *, claims: Sequence[Claim] | None = None, rows: Sequence[Speedup] | None = None
) -> list[ClaimRow]:
    """Every claim of the ledger judged by ``results``; pass ``rows`` where the speed-ups are at hand already."""
    claims = load_claims() if claims is None else claims
    rows = [*(speedups(results) if rows is None else rows), *dense_over_dense(results)]
    return [row for claim in claims for row in judge(claim, rows, results)]


def judge(claim: Claim, rows: Sequence[Speedup], results: Results) -> list[ClaimRow]:
    """The rows of one claim: one for a count, else one per machine, conditions and thread count."""
    if claim.kind == "count":
        return [_count(claim)]
    if claim.kind == "untestable":
        return [_row(claim, "published", None, NOT_TESTABLE, claim.untestable)]
    matching = _of_the_work(claim, rows)
    machines = sorted({(row.machine, row.device) for row in matching if row.speedup is not None})
    found: list[ClaimRow] = []
    for machine, device in machines:
        here = [row for row in matching if (row.machine, row.device) == (machine, device)]
        found += _on_machine(claim, here)
    answered = [row for row in found if row.verdict != NOT_MEASURED]
    if answered:
        return answered
    reason = _why_not_measured(claim, results)
    return [_row(claim, name, None, NOT_MEASURED, reason) for name in ("published", "fair") if name in claim.conditions]


def _count(claim: Claim) -> ClaimRow:
    assert claim.workload is not None
    assert claim.formula is not None
    value = FORMULAS[claim.formula](claim.workload.shape)
    shown = percent(value) if claim.formula in ("active_share", "saving_if_ceiling") else f"{value:.6g}"
    off = max(value / claim.published, claim.published / value)
    if off <= claim.band:
        verdict, reason = REPRODUCED, f"Counting the layer's neurons gives {shown}. A count, not a measured speed."
    else:
        verdict = ARITHMETIC_ERROR
        reason = f"Counting the layer's neurons gives {shown}; the published {claim.shown} is off by {number(off)}x."
    row = _row(claim, "published", None, verdict, reason)
    return ClaimRow(**{**asdict(row), "measured": value, "low": value, "high": value})


def _of_the_work(claim: Claim, rows: Iterable[Speedup]) -> list[Speedup]:
    """The rows about the claim's layer, batch, dtype and devices."""
    want = claim.workload
    assert want is not None
    shape = want.shape
    key = (shape.n, want.batch, want.dtype, shape.d, shape.trees, shape.levels, shape.leaf_width)
    return [
        row
        for row in rows
        if row.n == shape.n
        and (row.n, row.batch, row.dtype, row.d, row.trees, row.levels, row.leaf_width) == key
        and row.device in want.devices
    ]


def _chosen(claim: Claim, conditions: Conditions, rows: Iterable[Speedup]) -> list[Speedup]:
    """The rows that answer ``conditions``: the best implementation for each thread count asked for."""
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
    for call in conditions.call:
        of_call = [row for row in fitting if row.call == call]
        if of_call:
            best: dict[int, Speedup] = {}
            for row in of_call:
                key = 0 if mode == "fastest" else row.threads
                if key not in best or (row.speedup or 0) > (best[key].speedup or 0):
                    best[key] = row
            return [best[key] for key in sorted(best)]
    return []


def _is_subject(subject: Subject, row: Speedup) -> bool:
    return row.family == subject.family if subject.family else row.implementation in subject.implementations


def _position(claim: Claim, row: Speedup) -> str:
    """Where the interval of ``row`` lies: reached, beyond, short or unclear."""
    if row.low is None or row.high is None:
        return "unclear"
    bottom, top = claim.published / claim.band, claim.published * claim.band
    if (row.coverage or 0) < LEVEL or (row.low < bottom and row.high > top):
        return "unclear"
    if row.low > top:
        return "beyond" if claim.published >= 1 else "short"
    if row.high >= bottom:
        return "reached"
    return "short" if claim.published >= 1 else "beyond"


def _nearest(claim: Claim, rows: Sequence[Speedup]) -> Speedup:
    """The row that decides among several thread counts: one that reaches the figure, then the nearest."""
    positions = ("reached", "beyond", "unclear", "short")
    return min(
        rows,
        key=lambda row: (
            positions.index(_position(claim, row)),
            abs(math.log((row.speedup or 1) / claim.published)),
        ),
    )


def _on_machine(claim: Claim, rows: Sequence[Speedup]) -> list[ClaimRow]:
    chosen = {name: _chosen(claim, conditions, rows) for name, conditions in claim.conditions.items()}
    fair = _nearest(claim, chosen["fair"]) if chosen["fair"] else None
    published = _nearest(claim, chosen["published"]) if chosen.get("published") else None
    verdict, reason = _verdict(claim, fair, published)
    beside = _at_equal_threads(claim, rows, chosen["fair"])
    difference = _difference(claim, published, [*beside, *chosen["fair"]])
    found: list[ClaimRow] = []
    for name in ("published", "fair"):
        if name in claim.conditions:
            answers: list[Speedup | None] = [*chosen[name]] or [None]
            found += [_row(claim, name, row, verdict, reason, rows[0], difference=difference) for row in answers]
    places = [row for row in beside if row not in chosen["fair"]]
    return found + [
        _row(claim, "fair", row, verdict, reason, rows[0], difference=difference, decides=False) for row in places
    ]


def _at_equal_threads(claim: Claim, rows: Iterable[Speedup], decisive: Sequence[Speedup]) -> list[Speedup]:
    """Fair rows at each thread count on both sides, to stand beside the decisive one where that differs."""
    conditions = claim.conditions["fair"]
    if conditions.threads != "fastest" or not decisive:
        return []
    equal = conditions.model_copy(update={"threads": "any", "call": (decisive[0].call,)})
    known = {(row.record, row.baseline_record) for row in decisive}
    return [row for row in _chosen(claim, equal, rows) if (row.record, row.baseline_record) not in known]


def _difference(claim: Claim, published: Speedup | None, fair: Sequence[Speedup]) -> str:
    """The sentence on what turns the ratio under published conditions into the fair one, from both sides' times."""
    if published is None or published.time is None or published.baseline_time is None:
        return ""
    alike = [row for row in fair if row.threads == row.baseline_thread_count == published.threads]
    row = next(iter(alike), None)
    if row is None or row.time is None or row.baseline_time is None:
        return ""
    fast, dense = row.time / published.time, row.baseline_time / published.baseline_time
    fair_conditions, other = claim.conditions["fair"], claim.conditions["published"]
    ours = _changes(
        (published.implementation, row.implementation),
        (f"{other.routing} routing", f"{fair_conditions.routing} routing"),
        (f"{other.cache} caches", f"{fair_conditions.cache} caches"),
        (f"{published.call} calls", f"{row.call} calls"),
    )
    theirs = _changes(
        (published.baseline_implementation or "", row.baseline_implementation or ""),
        (f"{other.cache} caches", f"{fair_conditions.cache} caches"),
        (f"{published.call} calls", f"{row.call} calls"),
    )
    side = "dense" if claim.subject and claim.subject.family == "dense" else "FFF"
    own, other_side = abs(math.log(fast)), abs(math.log(dense))
    origin = "mostly from its own side" if own > 2 * other_side else "mostly from the baseline"
    origin = "from both sides" if other_side / 2 <= own <= 2 * other_side else origin
    threads = f"{published.threads} thread{'s' * (published.threads != 1)}"
    return (
        f"From {number(published.speedup or 0)}x under published conditions to {number(row.speedup or 0)}x under fair "
        f"ones ({threads} on both sides): the {side} side takes {number(fast)}x the time ({ours}) and the baseline "
        f"{number(dense)}x ({theirs}), so the difference comes {origin}."
    )


def _changes(*pairs: tuple[str, str]) -> str:
    return "; ".join(f"{before} to {after}" for before, after in pairs if before != after) or "nothing changed"


def _verdict(claim: Claim, fair: Speedup | None, published: Speedup | None) -> tuple[str, str]:
    """The one rule (module docstring), and the sentence that says how it came out."""
    said = [f"Under fair conditions: {_said(claim, fair)}."] if fair else []
    said += [f"Under published conditions: {_said(claim, published)}."] if published else []
    answered = {"fair": fair, "published": published}
    lacking = [name for name, row in answered.items() if name in claim.conditions and row is None]
    if not said:
        return NOT_MEASURED, "Neither the published nor the fair conditions were measured here."
    if fair is None:
        verdict = UNDECIDED
    else:
        verdict = {"unclear": UNDECIDED, "reached": REPRODUCED, "beyond": EXCEEDED, "short": NOT_REPRODUCED}[
            _position(claim, fair)
        ]
    if verdict == NOT_REPRODUCED and "published" in claim.conditions:
        other = _position(claim, published) if published else "unclear"
        verdict = {"unclear": UNDECIDED, "short": NOT_REPRODUCED}.get(other, PROTOCOL_ONLY)
    said += [f"The {name} conditions were not measured here." for name in lacking]
    return verdict, " ".join(said)


def _said(claim: Claim, row: Speedup) -> str:
    """``116x [112, 121], above the band 62.4 to 97.5 (fff_cpu over dense_padded, 2 threads)``."""
    above = (row.low or 0) > claim.published * claim.band
    outside = "above the band of" if above else "below the band of"
    words = {"reached": "within the band of", "unclear": "too uncertain for the band of"}
    where = words.get(_position(claim, row), outside)
    band = f"{number(claim.published / claim.band)} to {number(claim.published * claim.band)}"
    threads = f"{row.threads} thread{'s' if row.threads > 1 else ''}"
    if row.baseline_thread_count != row.threads:
        threads += f" against {row.baseline_thread_count}"
    sides = f"{row.implementation} over {row.baseline_implementation}, {threads}"
    thin = f"; only {percent(row.coverage or 0)} coverage" if 0 < (row.coverage or 0) < LEVEL else ""
    return f"{ratio(row.speedup or 0, row.low, row.high)}, {where} {band} ({sides}{thin})"


def _row(
    claim: Claim,
    name: str,
    row: Speedup | None,
    verdict: str,
    reason: str,
    place: Speedup | None = None,
    *,
    difference: str = "",
    decides: bool = True,
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
        threads=row.threads if row else None,
        baseline_threads=row.baseline_thread_count if row else None,
        measured=row.speedup if row else None,
        low=row.low if row else None,
        high=row.high if row else None,
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
        command=_command(claim),
        difference=difference,
    )


def _command(claim: Claim) -> str:
    """The command that measures the cells of a claim about a tree."""
    want = claim.workload
    if claim.kind != "ratio" or want is None or not want.trees or want.leaf_width:
        return ""
    names: list[str] = []
    for conditions in claim.conditions.values():
        subject = conditions.subject or claim.subject
        assert subject is not None
        names += subject.implementations or (f"family:{subject.family}",)
    axes: dict[str, Sequence[object]] = {
        "d": [want.d],
        "levels": [want.levels],
        "trees": [want.trees],
        "batches": [want.batch],
        "dtypes": [want.dtype],
        "devices": want.devices,
        "implementations": ["family:dense", *names],
        "routing": [conditions.routing for conditions in claim.conditions.values()],
        "cache": [conditions.cache for conditions in claim.conditions.values()],
        "call": [call for conditions in claim.conditions.values() for call in conditions.call],
        "threads": ["1", "all"],
    }
    return "fffbench run " + " ".join(
        f"--{axis} {','.join(map(str, dict.fromkeys(values)))}" for axis, values in axes.items()
    )


def _why_not_measured(claim: Claim, results: Results) -> str:
    """The reason of a skipped cell that would have answered, or the device that no machine here has."""
    want = claim.workload
    assert want is not None
    for item in results.skipped:
        work = item.cell.workload
        if (
            (work.shape, work.batch, work.dtype) == (want.shape, want.batch, want.dtype)
            and work.device in want.devices
            and item.family != "dense"
        ):
            return f"Not measured: {item.cell.implementation} was skipped on {item.machine} ({item.reason})."
    devices = {record.cell.workload.device for record in results.records}
    if not devices.intersection(want.devices):
        needed = " or ".join({"cpu": "CPU", "cuda": "CUDA"}[device] for device in want.devices)
        return f"Not measured: there are no {needed} results yet."
    assert claim.subject is not None
    names = " or ".join(claim.subject.implementations) or f"an implementation of family {claim.subject.family}"
    return f"Not measured: no result has {names} beside its baseline at this shape, batch and dtype."
