"""What may no command ever do, whatever it is given?

Each judge looks at what a command did (``Done``) and gives sentences about what is wrong; none if it is right.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from tools.hostile.case import GIB, MOST_BYTES, MOST_SECONDS

MOST_ERROR = 2000  # characters of one error line: a reader sees it whole; the longest honest list of names has 700
CRASHES = re.compile(
    r"Traceback \(most recent call last\)|Fatal Python error|terminate called|Segmentation fault|core dumped"
    r"|free\(\): |double free|corrupted size|Exception ignored in|AddressSanitizer|Bus error"
    r"|Error in sys\.excepthook|<stdin>|Warning: ",
)
DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c\u2028\u2029")
ERROR = "fffbench: "
NOTICES = ("fffbench: left out ", "fffbench: note: ")  # beside an answer, not instead of one

# as documented in ``fffbench/cli``
EXITS = {"check": {0, 1, 2, 130, 143}, "regress": {0, 1, 2, 3, 130, 143}}
OTHER_EXITS = {0, 2, 130, 143}


@dataclass(frozen=True)
class Done:
    """What a command did. ``code`` is negative where a signal ended it; ``orphans`` are processes it left behind."""

    code: int
    out: bytes
    err: bytes
    seconds: float
    peak: int
    hung: bool = False
    limit: float = MOST_SECONDS
    orphans: tuple[str, ...] = ()
    most_bytes: int = MOST_BYTES
    encoding: str = "utf-8"  # that the environment asks for

    @property
    def text(self) -> str:
        """Standard output."""
        return self.out.decode(self.encoding, "replace")

    @property
    def said(self) -> str:
        """Standard error."""
        return self.err.decode(self.encoding, "replace")


def judge(done: Done, exits: Collection[int], *, signals: Collection[int] = ()) -> Iterator[tuple[str, str]]:
    """Every fault that is one whatever was asked; ``signals`` are those that may have ended it."""
    if done.hung:
        yield "hang", f"still running after {done.seconds:.0f} s"
        return
    yield from crashed(done, signals)
    if done.code >= 0 and done.code not in exits:
        yield "exit code", f"{done.code}, documented are {sorted(exits)}: {tail(done.err)}"
    if done.seconds > done.limit:
        yield "time", f"{done.seconds:.0f} s, at most {done.limit:.0f} s"
    if done.peak > done.most_bytes:
        yield "memory", f"{done.peak / GIB:.2f} GiB, at most {done.most_bytes / GIB:.0f} GiB"
    if done.orphans:
        yield "orphans", f"left running: {', '.join(done.orphans)[:200]}"
    yield from controls(done)
    if done.code == 2:
        yield from one_line(done)


def crashed(done: Done, signals: Collection[int] = ()) -> Iterator[tuple[str, str]]:
    """Tracebacks, and deaths by a signal that nobody sent."""
    for name, stream in (("output", done.text), ("errors", done.said)):
        found = CRASHES.search(stream)
        if found is not None:
            yield "traceback", f"in its {name}: {found[0]} ... {tail(stream.encode())}"
    if done.code < 0 and -done.code not in signals:
        yield "crash", f"ended by signal {-done.code}: {tail(done.err)}"


def controls(done: Done) -> Iterator[tuple[str, str]]:
    """Characters that a terminal obeys or that turn a line around, and bytes that are no text."""
    for name, stream in (("output", done.out), ("errors", done.err)):
        try:
            text = stream.decode(done.encoding)
        except UnicodeDecodeError as error:
            yield (
                "control characters",
                f"{name} are not {done.encoding}: {stream[max(0, error.start - 30) : error.start + 10]!r}",
            )
            continue
        bad = bad_character(text)
        if bad is not None:
            yield "control characters", f"{name} hold {text[bad]!r}: {text[max(0, bad - 40) : bad + 20]!r}"


def bad_character(text: str) -> int | None:
    """Where in ``text`` the first character stands that no output may hold, or None."""
    for place, character in enumerate(text):
        if character in "\n\t" or (character.isascii() and character.isprintable()):
            continue
        if character in DIRECTIONS or unicodedata.category(character) in ("Cc", "Cs"):
            return place
    return None


def one_line(done: Done) -> Iterator[tuple[str, str]]:
    """A refusal is one line, the last, of a length that can be read, and it says something."""
    lines = [line for line in done.said.splitlines() if line.startswith(ERROR) and not line.startswith(NOTICES)]
    if len(lines) != 1:
        yield "error line", f"exit 2 with {len(lines)} error lines: {tail(done.err)}"
        return
    if done.said.rstrip("\n").splitlines()[-1] != lines[0]:
        yield "error line", f"not the last line: {tail(done.err)}"
    if len(lines[0]) > MOST_ERROR:
        yield "error line", f"{len(lines[0])} characters: {lines[0][:120]}..."
    if len(lines[0].removeprefix(ERROR).split()) < 3:
        yield "error line", f"does not say what, where and what is allowed: {lines[0]!r}"


def tail(stream: bytes, length: int = 300) -> str:
    """The end of ``stream`` as one printable line."""
    text = " ".join(stream.decode("utf-8", "replace").split())[-length:]
    return "".join(character if character.isprintable() else "?" for character in text)
