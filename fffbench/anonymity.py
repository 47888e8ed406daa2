"""How does text from a library's error or from the shell get into a public result without saying who measured where?

``neutral`` is applied to every free text that is stored: reasons, notes, what a run observed. So it is also where bytes
that are no text, which Python has as lone surrogates, become their escapes: no file can hold them.
"""

from __future__ import annotations

import os
import platform
import re
import site
import sys
import sysconfig
import tempfile
from functools import cache
from pathlib import Path

# A path says something where the system put it; elsewhere only its last part does.
SYSTEM = ("/dev/", "/proc/", "/sys/", "/usr/", "/lib/", "/lib64/", "/bin/", "/etc/")
PATH = re.compile(r"(?<![\w/.:>-])(?:file://)?(/[^\s'\"`:,;()\[\]{}<>|]+/?)")
# accounts that many machines have, and words that a name must not take out of a sentence
COMMON_NAMES = frozenset(
    {"root", "user", "ubuntu", "runner", "admin", "nobody", "test", "docker", "localhost", "linux"}
)
SHORTEST_NAME = 3


def neutral(text: str) -> str:
    """``text`` without the folders, the account and the host it came from, of characters that UTF-8 has."""
    for folder, word in _folders(str(Path.cwd()) if _has_cwd() else "/", os.environ.get("HOME", "")):
        text = re.sub(rf"(?<![\w/.-]){re.escape(folder)}(?![\w.-])", word, text)
    text = PATH.sub(_last_part, text)
    for pattern, word in _names():
        text = pattern.sub(word, text)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _last_part(match: re.Match[str]) -> str:
    path = match[1]
    if path.startswith(SYSTEM) or path.count("/") < 2:
        return match[0]
    return f".../{path.rstrip('/').rpartition('/')[2]}"


def _has_cwd() -> bool:
    try:
        Path.cwd()
    except OSError:
        return False
    return True


@cache
def _folders(here: str, home: str) -> tuple[tuple[str, str], ...]:
    """Folders that name their owner, the longest first, each with what is written instead."""
    packages = {*site.getsitepackages(), site.getusersitepackages(), sysconfig.get_path("purelib")}
    packages |= {folder for folder in sys.path if folder.endswith(("site-packages", "dist-packages"))}
    found = {
        **dict.fromkeys((home, str(Path("~").expanduser())), "HOME"),
        here: "FOLDER",
        **dict.fromkeys((sys.prefix, sys.base_prefix), "PYTHON"),
        str(Path(__file__).parent.parent): "SOURCES",
        tempfile.gettempdir(): "TEMPORARY",
        **dict.fromkeys(packages, "PACKAGES"),
    }
    known = {**found, **{os.path.realpath(folder): word for folder, word in found.items() if folder}}
    useful = (item for item in known.items() if item[0].count("/") >= 1 and item[0] not in ("/", "/usr", "/usr/local"))
    return tuple(sorted(useful, key=lambda item: -len(item[0])))


@cache
def _names() -> tuple[tuple[re.Pattern[str], str], ...]:
    import getpass

    try:
        account = getpass.getuser()
    except (OSError, KeyError):
        account = ""
    found = []
    for name, word in ((account, "USER"), (platform.node(), "HOST")):
        if len(name) >= SHORTEST_NAME and name.lower() not in COMMON_NAMES:
            found.append((re.compile(rf"(?<![\w]){re.escape(name)}(?![\w])"), word))
    return tuple(found)
