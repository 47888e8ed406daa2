"""A figure that says how many times faster one layer is than another: ``78x``.

One rule decides (``rule``). Verdict from the two sets of conditions: fair
reached ``reproduced``, fair beyond ``exceeded``; fair short:
``reproduced-under-published-protocol-only`` or ``not-reproduced``, as the
published conditions have it. It is about the layer, best against best; the
published program has verdicts of its own (``program``).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from pydantic import model_validator

from fffbench.analysis.fidelity import Climb
from fffbench.analysis.ranks import LEVEL
from fffbench.analysis.rows import Speedup
from fffbench.claims import command, missing
from fffbench.claims.base import Claim, Conditions, Evidence, Subject
from fffbench.claims.explain import difference
from fffbench.claims.program import program
from fffbench.claims.rows import ClaimRow, row_of
from fffbench.claims.rule import NOT_MEASURED, NOT_REPRODUCED, OF_POSITION, PROTOCOL_ONLY, UNDECIDED
from fffbench.claims.wording import fair_or_published, position_of, with_tf32_beside
from fffbench.results.store import Results
from fffbench.units import number, ratio


class Ratio(Claim):
    """The fastest of the implementations claimed, over the baseline of each set of conditions."""

    needed: ClassVar[tuple[str, ...]] = ("subject", "workload", "conditions.fair")
    of_each_machine: ClassVar[bool] = True

    @model_validator(mode="after")
    def _whole_work(self) -> Ratio:
        if self.workload and not (self.workload.batch and self.workload.dtype):
            raise ValueError("a claim of kind 'ratio' needs workload.batch and workload.dtype")
        return self

    def written(self, value: float) -> str:
        """``78.0x``."""
        return f"{number(value)}x"

    def command(self) -> str:
        """The preset that holds it, or its axes."""
        return command.command(self)

    def judge(self, evidence: Evidence) -> list[ClaimRow]:
        """A row per machine, conditions and thread count; where nothing was measured, rows that say what is lacking."""
        assert self.work is not None
        machines: dict[tuple[str, str], list[Speedup]] = defaultdict(list)
        for row in _of_the_work(self, evidence.rows.get(self.work, ())):
            machines[row.machine, row.device].append(row)
        found: list[ClaimRow] = []
        for (machine, device), here in sorted(machines.items()):
            if any(row.speedup is not None for row in here):
                ladders = evidence.ladders.get((self.id, machine, device), [])
                found += _on_machine(self, here, evidence.results, ladders)
        answered = [row for row in found if row.verdict != NOT_MEASURED]
        if answered:
            return answered
        lacking = missing.why_not_measured(self, evidence.results)
        reason = f"{lacking} {missing.advice(self)}".strip()
        return [
            row_of(self, NOT_MEASURED, reason, conditions=name, lacking=lacking)
            for name in ("published", "fair")
            if name in self.conditions
        ]


KIND = Ratio


def _of_the_work(claim: Claim, rows: Iterable[Speedup]) -> list[Speedup]:
    """Of the rows about the claim's layer and dtype those about its batches and devices."""
    want = claim.workload
    assert want is not None
    batches = {want.batch, *(batch for conditions in claim.conditions.values() for batch in conditions.or_batch)}
    return [row for row in rows if row.batch in batches and row.device in want.devices]


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
    lacking = missing.lacking(claim, fair, published, results) if verdict == UNDECIDED else ""
    reason = " ".join(filter(None, (reason, lacking, missing.advice(claim) if lacking else "")))
    found: list[ClaimRow] = []
    for name in ("published", "fair"):
        answers: list[Speedup | None] = []
        if name in claim.conditions:
            answers = [*chosen[name]] or [None]
        places = [row for row in beside if row not in chosen["fair"]] if name == "fair" else []
        for row in (*answers, *places):
            about: dict[str, Any] = {"difference": both, "lacking": lacking, "with_tf32": with_tf32}
            if shipped:
                about |= {"program_shipped": shipped.shipped, "program_mended": shipped.mended, "program": shipped.text}
            where = {"machine": rows[0].machine, "device": rows[0].device, "decides": row not in places}
            measured = _measured(row) if row else {}
            found.append(row_of(claim, verdict, reason, conditions=name, **about, **where, **measured))
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


def _measured(row: Speedup) -> dict[str, Any]:
    """What a row of a claim says of a measured ratio."""
    return {
        "batch": row.batch,
        "threads": row.threads,
        "baseline_threads": row.baseline_thread_count,
        "measured": row.speedup,
        "low": row.low,
        "high": row.high,
        "measured_shown": "" if row.speedup is None else ratio(row.speedup, row.low, row.high),
        "coverage": row.coverage,
        "provisional": row.provisional,
        "implementation": row.implementation,
        "baseline_implementation": row.baseline_implementation,
        "records": tuple(item for item in (row.record, row.baseline_record) if item),
        "tried": row.tried,
        "not_measured": row.not_measured,
    }
