"""When is a published figure reached? The one rule behind every verdict, and the verdicts' names.

Fixed before any result was looked at. With the published value P and the band f (1.25 unless the claim's file says why
not), an interval

* reaches P if it overlaps [P/f, P*f];
* lies beyond it if the whole interval is above P*f (below P/f where P claims a loss, P < 1);
* falls short if the whole interval is below P/f (above P*f where P claims a loss);
* decides nothing if it covers less than 95 % or sticks out of the band on both sides.
"""

from __future__ import annotations

from typing import Protocol

from fffbench.analysis.ranks import LEVEL
from fffbench.claims.base import FACTOR
from fffbench.units import percent

REPRODUCED, EXCEEDED = "reproduced", "exceeded"
PROTOCOL_ONLY = "reproduced-under-published-protocol-only"
NOT_REPRODUCED = "not-reproduced"
ARITHMETIC_HOLDS, ARITHMETIC_ERROR = "arithmetic-holds", "arithmetic-error"
UNDECIDED, NOT_MEASURED, NOT_TESTABLE = "undecided", "not-measured", "not-testable-here"
MEANING = {
    REPRODUCED: f"under fair conditions the interval reaches the published value within a factor of {FACTOR}",
    EXCEEDED: "under fair conditions the whole interval lies beyond that band on the claim's own side",
    PROTOCOL_ONLY: "fair conditions fall short of the band, the published ones do not",
    NOT_REPRODUCED: "both fall short",
    ARITHMETIC_HOLDS: "a count on paper that is right; nothing was measured",
    ARITHMETIC_ERROR: "a count on paper that is wrong",
    UNDECIDED: (
        f"the interval covers less than {percent(LEVEL)} or sticks out of the band on both sides, or one set of "
        "conditions is missing"
    ),
    NOT_MEASURED: "no machine has results for it",
    NOT_TESTABLE: "nothing here could test it, and its file says why",
}
VERDICTS = tuple(MEANING)
OF_POSITION = {"reached": REPRODUCED, "beyond": EXCEEDED, "short": NOT_REPRODUCED, "unclear": UNDECIDED}


def in_words(verdict: str) -> str:
    """A verdict as a sentence has it: ``not reproduced``."""
    return verdict.replace("-", " ")


class Figure(Protocol):
    """A published figure with the factor within which it counts as reached."""

    @property
    def published(self) -> float:
        """The figure."""

    @property
    def band(self) -> float:
        """The factor."""


def position(claim: Figure, low: float | None, high: float | None, coverage: float | None) -> str:
    """Where an interval lies: ``reached``, ``beyond``, ``short`` or ``unclear``."""
    if low is None or high is None:
        return "unclear"
    bottom, top = claim.published / claim.band, claim.published * claim.band
    if (coverage or 0) < LEVEL or (low < bottom and high > top):
        return "unclear"
    if low > top:
        return "beyond" if claim.published >= 1 else "short"
    if high >= bottom:
        return "reached"
    return "short" if claim.published >= 1 else "beyond"
