"""Which verdict will an undecided claim probably get?

The rule of ``rule``, with the range of all pairs of processes in place of an interval of 95 %: with fewer than six
processes the two are the same but for the coverage. It says nothing where even that range sticks out of the band on
both sides, or where the conditions that decide were not measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fffbench.analysis.ranks import LEVEL
from fffbench.claims.base import Claim
from fffbench.claims.rows import ClaimRow
from fffbench.claims.rule import NOT_REPRODUCED, OF_POSITION, PROTOCOL_ONLY, UNDECIDED, position

_ORDER = ("reached", "beyond", "unclear", "short")  # as in ``claims``: what reaches the figure decides


@dataclass(frozen=True)
class Place:
    """One claim on one machine and device (None: on no machine), with the rows it rests on."""

    claim: Claim
    machine: str | None
    device: str | None
    verdict: str
    fair: ClaimRow | None
    published: ClaimRow | None
    rows: tuple[ClaimRow, ...]

    @property
    def leans(self) -> str:
        """The verdict that an undecided one leans to; empty where it is decided, or leans nowhere."""
        if self.verdict != UNDECIDED or self.fair is None:
            return ""
        verdict = OF_POSITION[_leaning(self.claim, self.fair)]
        if verdict == NOT_REPRODUCED and "published" in self.claim.conditions:
            other = "unclear" if self.published is None else _leaning(self.claim, self.published)
            verdict = {"unclear": UNDECIDED, "short": NOT_REPRODUCED}.get(other, PROTOCOL_ONLY)
        return "" if verdict == UNDECIDED else verdict

    @property
    def open_conditions(self) -> list[str]:
        """The conditions that keep an undecided claim open: without a ratio, or with too wide an interval."""
        answers = {"fair": self.fair, "published": self.published}
        return [name for name in self.claim.conditions if not _decisive(self.claim, answers[name])]


def places(rows: Iterable[ClaimRow], claims: Sequence[Claim]) -> list[Place]:
    """The judged ``rows`` by claim, machine and device, in the order of the rows."""
    by_id = {claim.id: claim for claim in claims}
    groups: dict[tuple[str, str | None, str | None], list[ClaimRow]] = {}
    for row in rows:
        groups.setdefault((row.id, row.machine, row.device), []).append(row)
    found = []
    for (name, machine, device), group in groups.items():
        claim = by_id[name]
        answers = {}
        for conditions in ("fair", "published"):
            measured = [r for r in group if r.conditions == conditions and r.decides and r.measured is not None]
            answers[conditions] = min(measured, key=lambda row: _rank(claim, row), default=None)
        verdict = group[0].verdict
        found.append(Place(claim, machine, device, verdict, answers["fair"], answers["published"], tuple(group)))
    return found


def _rank(claim: Claim, row: ClaimRow) -> tuple[int, float]:
    where = _position(claim, row) if claim.measurable else "reached"
    return _ORDER.index(where), abs(math.log((row.measured or 1) / claim.published))


def _position(claim: Claim, row: ClaimRow) -> str:
    return position(claim, row.low, row.high, LEVEL if _covered(row) else 0.0)


def _covered(row: ClaimRow) -> bool:
    """Whether the interval covers what is asked of one."""
    return (row.coverage or 0) >= LEVEL


def _decisive(claim: Claim, row: ClaimRow | None) -> bool:
    return row is not None and _position(claim, row) != "unclear"


def _leaning(claim: Claim, row: ClaimRow) -> str:
    low, high = (row.measured if value is None else value for value in (row.low, row.high))
    return position(claim, low, high, 1.0)
