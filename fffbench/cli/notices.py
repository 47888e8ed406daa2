"""What a command says beside its answer, once it has one: a command that fails says one line, its error."""

from __future__ import annotations

import sys

from fffbench.text import plain

_waiting: list[str] = []


def note(text: str) -> None:
    """Say ``text`` on standard error when the command has succeeded."""
    _waiting.append(plain(f"fffbench: {text}"))


def say(text: str) -> None:
    """Say ``text`` on standard error at once, where a command takes long."""
    print(plain(text), file=sys.stderr, flush=True)


def left_out(reason: str) -> str:
    """The line on something that is not there, and why."""
    return plain(f"fffbench: left out {reason}")


def take() -> list[str]:
    """The lines that wait, each once; none waits any more."""
    lines = list(dict.fromkeys(_waiting))
    _waiting.clear()
    return lines
