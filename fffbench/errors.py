"""Which mistakes are the user's to mend, and how are they said?

A ``UserError`` is one line: what is wrong, where, and what is allowed. The
command line prints it and exits with 2; nothing measured is lost or changed.
"""

from __future__ import annotations

from collections.abc import Iterable


class UserError(Exception):
    """Something the user gave cannot be used; the message says what, where and what is allowed."""


def one_of(what: str, value: object, allowed: Iterable[object]) -> UserError:
    """The error for a value outside a closed set, listing the set."""
    return UserError(f"unknown {what} {value!r}; allowed: {', '.join(str(item) for item in allowed)}")
