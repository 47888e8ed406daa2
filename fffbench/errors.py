"""Which mistakes are the user's to mend, and how are they said?

A ``UserError`` is one line: what is wrong, where, and what is allowed. The
command line prints it and exits with 2; nothing measured is lost or changed.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MOST_LISTED = 12  # a longer list hides the name that was meant
NEAREST = 5
LIKELY = 0.7  # alike enough to be named as what was meant
LONGEST_COMPARED = 100  # characters


class UserError(Exception):
    """Something the user gave cannot be used; the message says what, where and what is allowed."""


def nearest(value: object, allowed: Iterable[object]) -> list[str]:
    """``allowed`` by how alike they are written, the most alike first."""
    text = str(value)[:LONGEST_COMPARED]
    return sorted((str(item) for item in allowed), key=lambda name: -_likeness(text, name))


def _likeness(text: str, name: str) -> float:
    """From 0 to 1, how alike a word is to a name, or to a part of a long one: ``epyk`` to ``amd-epyc-zen4-2c-df65``."""
    parts = [part for part in name.split("-") if len(part) > 2] if "-" in name else []
    ratios = [difflib.SequenceMatcher(None, text, part).ratio() for part in (name, *parts)]
    return max(ratios[0], *(ratio * 0.99 for ratio in ratios[1:]), 0.0)


def one_of(what: str, value: object, allowed: Iterable[object]) -> UserError:
    """The error for a value outside a closed set: what was meant, and the set, or of a long one the nearest names."""
    names = [str(item) for item in allowed]
    alike = nearest(value, names)
    likely = bool(alike) and _likeness(str(value)[:LONGEST_COMPARED], alike[0]) >= LIKELY
    guess = f"; did you mean {alike[0]!r}?" if likely else ";"
    if len(names) <= MOST_LISTED:
        return UserError(f"unknown {what} {value!r}{guess} allowed: {', '.join(names)}")
    shown = ", ".join(alike[:NEAREST])
    return UserError(f"unknown {what} {value!r}{guess} the nearest of the {len(names)} allowed: {shown}")
