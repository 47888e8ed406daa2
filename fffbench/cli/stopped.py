"""How does a command say that a signal ended it, and what is left of its work?"""

from __future__ import annotations


class Stopped(Exception):  # noqa: N818 - nothing went wrong
    """The command was ended from outside; the message is one line, ``code`` the exit code."""

    def __init__(self, message: str, code: int) -> None:
        """Say what is kept."""
        super().__init__(message)
        self.code = code
