"""Which cases were ever found wrong? One TOML file per domain under ``corpus/``; they are run first.

An entry holds the input itself, so that it stays what it was when its domain draws otherwise. Of one kind of fault
(same domain, same judge, same sentence but for numbers and quoted words) three cases are kept.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

from tools.hostile.case import Case, Result

FOLDER = Path(__file__).parent / "corpus"
OF_A_KIND = 3
FORMAT = "# Cases that were found wrong once: run first, for ever. Written by the campaign; input is JSON, as drawn.\n"


def read(folder: Path | None = None) -> list[Case]:
    """Every kept case."""
    return [
        Case(path.stem, *_numbers(entry["id"]), json.loads(entry["input"]))
        for path in sorted((folder or FOLDER).glob("*.toml"))
        for entry in tomllib.loads(path.read_text(encoding="utf-8")).get("case", [])
    ]


def _numbers(text: str) -> tuple[int, int]:
    case = Case.parse(text)
    return case.seed, case.index


def grow(results: Iterable[Result], folder: Path = FOLDER) -> int:
    """Keep the wrong ones among ``results`` that tell something new; how many were added."""
    added = 0
    for result in results:
        if not result.wrong or result.faults[0][0] == "campaign" or result.case.spec is not None:
            continue
        path = folder / f"{result.case.domain}.toml"
        text = path.read_text(encoding="utf-8") if path.exists() else FORMAT
        entries = tomllib.loads(text).get("case", [])
        kind = _kind(*result.faults[0])
        same = [entry for entry in entries if _kind(entry["judge"], entry["said"]) == kind]
        if len(same) >= OF_A_KIND or any(entry["id"] == result.case.id for entry in entries):
            continue
        name, said = result.faults[0]
        said = _without_folders(said)[:200]
        path.write_text(
            f"{text}\n[[case]]\nid = {_text(result.case.id)}\njudge = {_text(name)}\nsaid = {_text(said)}\n"
            f"input = {_text(json.dumps(result.spec))}\n",
            encoding="utf-8",
        )
        added += 1
    return added


def _without_folders(said: str) -> str:
    """``said`` without the folders of the machine that found it: the corpus is published."""
    return re.sub(r"(?<![\w.])(/[^\s/'\"\\]+){2,}/?", "...", said)


def _kind(judge: str, said: str) -> str:
    words = re.sub(r"'[^']*'|\"[^\"]*\"|[0-9.e+-]+|/\S+", "", said)
    return f"{judge}: {' '.join(words.split())[:60]}"


def _text(value: str) -> str:
    """A TOML basic string: JSON's, but for the one control character that JSON lets pass."""
    return json.dumps(value.encode("utf-8", "backslashreplace").decode()).replace("\x7f", "\\u007f")
