"""How does everything that asks the same of some results get one answer, computed once?

A report asks eight times which record speaks for each cell and four times what was measured beside it; of 500 machines
each answer takes seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar, cast

from fffbench.results.store import Results

Found = TypeVar("Found")


def once(make: Callable[[Results], Found]) -> Callable[[Results], Found]:
    """``make``, whose answer for the same ``Results`` object is kept with it; nobody may change the answer."""

    @wraps(make)
    def known(results: Results) -> Found:
        if make not in results.known:
            results.known[make] = make(results)
        return cast(Found, results.known[make])

    return known
