"""A figure that nothing here can test; its file says why."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from fffbench.claims.base import Claim, Evidence
from fffbench.claims.rows import ClaimRow, row_of
from fffbench.claims.rule import NOT_TESTABLE


class Untestable(Claim):
    """Listed so that nobody wonders where it is."""

    needed: ClassVar[tuple[str, ...]] = ("untestable",)
    measurable: ClassVar[bool] = False

    untestable: Annotated[str, Field(max_length=1000)] = ""

    def judge(self, evidence: Evidence) -> list[ClaimRow]:
        """One row with the file's reason."""
        del evidence
        return [row_of(self, NOT_TESTABLE, self.untestable)]


KIND = Untestable
