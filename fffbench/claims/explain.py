"""What makes the difference between the published figure and the fair one, in one sentence?

From a ladder where one was measured (``analysis.fidelity``): as shipped, with its mistakes mended, and fair, with the
factors between. Else from both sides' times under the two sets of conditions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from fffbench.analysis.fidelity import SMALL_CHANGE, Climb, changes, in_words
from fffbench.analysis.rows import Speedup
from fffbench.claims.base import Claim
from fffbench.devices import threads_text
from fffbench.units import number

SMALL = math.log(SMALL_CHANGE)


def difference(claim: Claim, published: Sequence[Speedup], fair: Sequence[Speedup], ladders: Sequence[Climb]) -> str:
    """The sentence about one claim on one machine; empty where nothing was measured under published conditions.

    ``published`` and ``fair`` hold a row for each thread count, ``ladders`` the claim's climbs on that machine.
    """
    if not published and not ladders:
        return ""
    measured = [
        f"{values} under {name} conditions"
        for name, rows in (("published", published), ("fair", fair))
        if (values := _by_threads(rows))
    ]
    said = f"{claim.shown} was published; measured here: {'; '.join(measured)}." if measured else ""
    why = _capital(_from_ladders(ladders)) or _from_both_sides(claim, published, fair)
    return f"{said} {why}".strip()


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _by_threads(rows: Sequence[Speedup]) -> str:
    """``131x (1 thread) and 113x (2 threads)``; of several rows at one thread count the first."""
    by_count: dict[tuple[int, int], Speedup] = {}
    for row in rows:
        by_count.setdefault((row.threads, row.baseline_thread_count or row.threads), row)
    return " and ".join(f"{number(row.speedup or 0)}x{_threads(row)}" for _, row in sorted(by_count.items()))


def _threads(row: Speedup) -> str:
    against = "" if row.baseline_thread_count in (None, row.threads) else f" against {row.baseline_thread_count}"
    return threads_text(row.device, row.threads, " (", f"{against})")


def _from_ladders(ladders: Sequence[Climb]) -> str:
    """The factors between the benchmark as shipped and the fair comparison, for each thread count, the largest first.

    At the batch with the most complete ladders, of several the one nearest to the published 16384.
    """
    batches = {climb.batch for climb in ladders}
    if not batches:
        return ""
    batch = max(batches, key=lambda value: (sum(c.residual is not None for c in ladders if c.batch == value), value))
    texts = [_ladder_text(climb) for climb in sorted(ladders, key=lambda item: item.threads) if climb.batch == batch]
    complete = any(climb.residual is not None for climb in ladders)
    return f"{'What makes the difference, largest first: ' if complete else ''}at batch {batch}, {'; '.join(texts)}."


def _ladder_text(climb: Climb) -> str:
    threads = threads_text(climb.device, climb.threads, " on ")
    shipped = f"the benchmark as shipped gives {number(climb.steps[0].speedup or 0)}x{threads}"
    if climb.residual is None:
        lacking = sorted({name for step in climb.steps if step.missing for name in step.missing.split(", ")})
        return f"{shipped}, and the way to a fair comparison lacks {', '.join(lacking)}"
    mended, ours = (", ".join(changes(climb, mistakes=flag)) or "no large change" for flag in (True, False))
    return (
        f"{shipped}, its mistakes mended {number(climb.mended.speedup or 0)}x ({mended}), "
        f"in a fair comparison {number(climb.steps[-1].speedup or 0)}x ({ours})"
    )


def _from_both_sides(claim: Claim, published: Sequence[Speedup], fair: Sequence[Speedup]) -> str:
    """What each side's time became, at a thread count measured under both sets of conditions."""
    for before in published:
        for after in fair:
            if after.threads == after.baseline_thread_count == before.threads:
                return _sides(claim, before, after)
    return ""


def _sides(claim: Claim, before: Speedup, after: Speedup) -> str:
    if None in (before.time, before.baseline_time, after.time, after.baseline_time) or before.batch != after.batch:
        return ""
    fast = (before.time or 1) / (after.time or 1)
    dense = (after.baseline_time or 1) / (before.baseline_time or 1)
    conditions = (
        (f"{claim.conditions['published'].routing} routing", f"{claim.conditions['fair'].routing} routing"),
        (f"{before.cache} caches", f"{after.cache} caches"),
        (f"{before.call} calls", f"{after.call} calls"),
    )
    ours = _changed((before.implementation, after.implementation), *conditions)
    theirs = _changed((before.baseline_implementation or "", after.baseline_implementation or ""), *conditions[1:])
    side = "dense" if claim.subject and claim.subject.family == "dense" else "FFF"
    parts = [(fast, f"the {side} side ({ours})"), (dense, f"the baseline ({theirs})")]
    parts.sort(key=lambda part: -abs(math.log(part[0])))
    large = [f"{in_words(factor)} from {what}" for factor, what in parts if abs(math.log(factor)) > SMALL]
    named = ", ".join(large) or "neither side changes much"
    threads = threads_text(before.device, before.threads, " (", " on both sides)")
    return f"What makes the difference, largest first{threads}: {named}."


def _changed(*pairs: tuple[str, str]) -> str:
    return "; ".join(f"{before} to {after}" for before, after in pairs if before != after) or "nothing changed"
