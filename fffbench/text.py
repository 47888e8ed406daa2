"""How does text that somebody else wrote reach a terminal, a log or a Markdown page as nothing but text?

Names of files and machines, reasons and notes come from result files, compilers and branch names. Control characters
move a terminal's cursor, direction marks reorder a line, and Markdown turns brackets and addresses into links.
"""

from __future__ import annotations

import re

MARKDOWN = str.maketrans(
    {
        **{character: f"\\{character}" for character in "\\`*_{}#!|~"},
        "&": "&amp;",
        "<": "&lt;",
        ">": "&gt;",
        "@": "&#64;",  # mentions somebody, or makes an address
    }
)
# what makes a link of the brackets before it, and what makes one of a bare address
_LINKS = (
    (re.compile(r"\](?=[(\[:])"), r"\\]"),
    (re.compile("://"), "&#58;//"),
    (re.compile(r"\b(www)\.", re.IGNORECASE), r"\1&#46;"),
)
_SHOWN_OF_A_WORD = 80


def plain(text: str) -> str:
    r"""``text`` on one line: white space as spaces, everything else that does not print as its escape (``\x1b``)."""
    if text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    return " " if character.isspace() else character.encode("unicode_escape", "backslashreplace").decode("ascii")


def markdown(text: str) -> str:
    """``text`` as plain text in a line or table cell of Markdown: no markup, no link, no address made into one."""
    line = " ".join(plain(text).split()).translate(MARKDOWN)
    for pattern, instead in _LINKS:
        line = pattern.sub(instead, line)
    return line


def message(text: str, most: int = 2000) -> str:
    """``text`` as one line of an error: printable, long words and a long whole cut in the middle, with their length."""
    words = (_cut(word, 3 * _SHOWN_OF_A_WORD, _SHOWN_OF_A_WORD) for word in plain(text[: 8 * 10**6]).split())
    return _cut(" ".join(words), most, most // 3)


def _cut(text: str, most: int, ends: int) -> str:
    if len(text) <= most:
        return text
    return f"{text[:ends]}[... {len(text)} characters ...]{text[-ends:]}"
