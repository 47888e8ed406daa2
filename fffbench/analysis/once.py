"""How does everything that asks the same of some results get one answer, computed once?

A report asks eight times which record speaks for each cell and four times what was measured beside it; of 500 machines
each answer takes seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import update_wrapper
from typing import Any, Generic, TypeVar, cast

from fffbench.results.store import Results

Found = TypeVar("Found")


class once(Generic[Found]):  # noqa: N801 - a decorator
    """``asked``, whose answer for the same ``Results`` object is kept with it; nobody may change the answer."""

    def __init__(self, asked: Callable[[Results], Found]) -> None:
        """Wrap a function of results; it is the name under which its answer is kept."""
        update_wrapper(self, asked)
        self.asked = asked

    def __call__(self, results: Results) -> Found:
        """The answer, computed the first time."""
        if self.asked not in results.known:
            results.known[self.asked] = self.asked(results)
        return cast(Found, results.known[self.asked])


class OfOneMachine:
    """Answers that many rows of one machine have in common, kept until another machine is asked about.

    Rows are made machine by machine; kept for all of them, the answers of 500 machines would take a gigabyte.
    """

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._machine = ""
        self._known: dict[Hashable, Any] = {}

    def get(self, machine: str, key: Hashable, find: Callable[..., Found], *given: object) -> Found:
        """What ``find`` of what is ``given`` was for ``key`` on ``machine``."""
        if machine != self._machine:
            self._machine, self._known = machine, {}
        found = self._known.get(key, self)  # asked once: a key takes longer to hash than most answers to use
        if found is self:
            found = self._known[key] = find(*given)
        return cast(Found, found)
