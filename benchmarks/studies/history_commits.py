"""Which commits does asv's history measure? Chosen by a rule that looks at no time.

``python -m benchmarks.studies.history_commits --choose`` writes ``benchmarks/history/commits.json`` from git: along
first parents the first commit that the suite can measure, every commit that changed at least ``LEAST_LINES`` lines of
what the CPU kernels are made of, the newest one, and, where two of these are more than ``FARTHEST`` commits apart,
evenly spread ones between them. ``benchmarks.studies.history_run`` measures them.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TypedDict

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "benchmarks" / "history" / "commits.json"
FIRST = "6dccb82"  # the first commit with a C++ kernel for trees and with what the suite takes its data from
KERNELS = re.compile(
    r"^fffbench/.*\.(cpp|hpp)$|^fffbench/implementations/(cpu/|fff_cpu)"
)  # C++, and the plans that choose of it
LEAST_LINES = 80  # added and removed; fewer were a sentence or a name
FARTHEST = 30
SEED = 1


class Chosen(TypedDict):
    """A commit of the history; ``lines`` of the CPU kernels' sources it changed against its first parent."""

    commit: str
    date: str
    place: int
    lines: int
    subject: str


def choose(lines: Sequence[int]) -> list[int]:
    """Places of the commits to measure, given how many lines each commit from the first to the newest changed."""
    last = len(lines) - 1
    fixed = sorted({0, last} | {place for place, count in enumerate(lines) if count >= LEAST_LINES})
    found = set(fixed)
    for one, two in pairwise(fixed):
        parts = -(-(two - one) // FARTHEST)
        found.update(one + (two - one) * part // parts for part in range(1, parts))
    return sorted(found)


def order(commits: Sequence[str]) -> list[str]:
    """The order in which the first round measures ``commits``."""
    return random.Random(SEED).sample(commits, len(commits))


def read() -> list[Chosen]:
    """The commits that were chosen, from the first to the newest."""
    found: list[Chosen] = json.loads(FILE.read_text(encoding="utf-8"))
    return found


def of_git() -> list[Chosen]:
    """The commits that the rule chooses in this repository."""
    commits = _git("rev-list", "--first-parent", "--reverse", "--ancestry-path", f"{FIRST}^..HEAD").split()
    lines = [_lines(commit) for commit in commits]
    return [_described(commits[place], place, lines[place]) for place in choose(lines)]


def _described(commit: str, place: int, lines: int) -> Chosen:
    date, subject = _git("log", "-1", "--format=%cI%n%s", commit).splitlines()
    return {"commit": commit, "date": date, "place": place, "lines": lines, "subject": subject}


def _lines(commit: str) -> int:
    """Lines of the kernels' sources that ``commit`` changed, a moved file by what changed in it."""
    changed = _git("diff", "--numstat", "-M", "-z", f"{commit}^1", commit)
    count, fields = 0, iter(changed.split("\0"))
    for field in fields:
        added, _, rest = field.partition("\t")
        if not rest:
            continue
        removed, _, path = rest.partition("\t")
        if not path:  # a moved file: its two names follow
            next(fields)
            path = next(fields)
        if KERNELS.search(path) and added != "-":
            count += int(added) + int(removed)
    return count


def _git(*words: str) -> str:
    return subprocess.run(["git", "-C", str(ROOT), *words], check=True, capture_output=True, text=True).stdout


def main(arguments: Sequence[str] | None = None) -> int:
    """Choose, or print what was chosen; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies.history_commits", description=__doc__)
    parser.add_argument("--choose", action="store_true", help="write the choice, from git, instead of printing it")
    if parser.parse_args(arguments).choose:
        FILE.write_text(json.dumps(of_git(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for item in read():
        print(f"{item['commit'][:8]} {item['lines']:5} {item['subject']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
