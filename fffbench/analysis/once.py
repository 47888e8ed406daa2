"""How does everything that asks the same of some results get one answer, computed once?

A report asks eight times which record speaks for each cell and four times what was measured beside it; of 500 machines
each answer takes seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Generic, TypeVar, cast

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
