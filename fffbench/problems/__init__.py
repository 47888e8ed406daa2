"""Which kinds of layer are there? One file per kind; ``base.Problem`` says what each has to declare and to do.

A kind is a module here, or one behind the entry-point group ``fffbench.problems``, with ``PROBLEM``, a subclass of
``base.Problem``. It says what is right, so it is trusted, unlike an implementation; reading rooms parse its ids too, so
its module imports torch inside functions only.
"""

from __future__ import annotations

import re
from functools import lru_cache

from fffbench import extensions
from fffbench.errors import UserError
from fffbench.problems.base import Data, Problem, Weights

__all__ = ["PROBLEMS", "Data", "Problem", "Weights", "parse_problem"]

PROBLEMS: extensions.Extensions[type[Problem]] = extensions.Extensions(
    "kind of layer", "fffbench.problems", extensions.PROBLEMS, "PROBLEM", Problem
)
_KIND = re.compile(r"[a-z][a-z_]*(?=-)")  # before the first -; ids of our first kinds have a digit there


# all cells of a layer share it: what is worked out of two layers can be kept by their addresses
@lru_cache(maxsize=4096)
def parse_problem(text: str) -> Problem:
    """The problem whose id is ``text``; ``UserError`` if it is none, or its counts contradict each other."""
    kind = _KIND.match(text)
    for candidate in [PROBLEMS[kind[0]]] if kind else PROBLEMS.own.values():
        found = candidate.parse(text)
        if found is not None:
            return found
    raise UserError(f"not the id of a layer: {text[:80]!r}; one looks like d768-n4095-t1x12")
