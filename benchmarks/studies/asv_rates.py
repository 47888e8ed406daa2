"""How often are asv's own rules wrong on this machine? Measured on commits whose truth is known.

In a clone, commits are made on top of a revision: one that changes a comment
and some with a planted slow-down. ``asv continuous`` measures pairs of them as
it always does (its default settings, two rounds of fresh processes a side in
the order A B B A). Every pair's samples are kept, so the same runs also say
what ``asv compare`` would have made of runs from different times. The
judgement is asv's own function, not a copy of it.
"""

from __future__ import annotations

import ast
import importlib
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fffbench.errors import UserError
from fffbench.regress import planted, sources

FORMAT = 1
SAME = 0  # percent planted
PAIRS = {SAME: 8, 10: 4, 20: 4}  # runs of asv continuous by percent planted: 13 minutes on two cores
FACTORS = (1.1, 1.05)  # asv's default, and a factor that could see 10 %
BENCHMARKS = "time_pass..fff_cpu"  # a regular expression: the kernels of the suite that run anywhere
DIGITS = 5  # of a sample
SECONDS_APART = 60  # of the commits' dates
CONTINUOUS, COMPARE = "asv continuous", "asv compare"
REGRESSION_EXIT = 1
CONFIGURATION, RESULTS = "asv.rates.json", ".asv/rates"  # in the clone: its history is left alone

Samples = dict[str, list[float]]  # by benchmark and parameters
Say = Callable[[str], None]


@dataclass(frozen=True)
class Rate:
    """A rule at a true slow-down: comparisons of one benchmark that alarmed, and suites in which any did."""

    rule: str
    factor: float
    planted: int
    comparisons: int
    alarms: int
    suites: int
    suites_alarmed: int


def slower(base: Sequence[float], head: Sequence[float], factor: float) -> bool:
    """Whether asv marks ``head`` as slower than ``base`` (samples in seconds), by asv's own function."""
    rule = importlib.import_module("asv.commands.compare")._is_result_better  # noqa: SLF001 - the rule itself
    first, second = (statistics.median(side) for side in (base, head))
    said: bool = rule(first, second, ({"repeat": len(base)}, base), ({"repeat": len(head)}, head), factor)
    return said


def rates(pairs: Sequence[dict[str, Any]]) -> list[Rate]:
    """Both rules at both factors.

    ``asv continuous`` judges the two sides of one run; with nothing planted both ways, as either could be the head.
    ``asv compare`` judges a base of one run and a head of another.
    """
    found = []
    for rule, factor in itertools.product((CONTINUOUS, COMPARE), FACTORS):
        for percent in sorted({pair["planted"] for pair in pairs}):
            suites = [_alarms(base, head, factor) for base, head in _sides(pairs, rule, percent)]
            found.append(
                Rate(
                    rule,
                    factor,
                    percent,
                    sum(map(len, suites)),
                    sum(map(sum, suites)),
                    len(suites),
                    sum(map(any, suites)),
                )
            )
    return found


def _alarms(base: Samples, head: Samples, factor: float) -> list[bool]:
    return [slower(base[name], head[name], factor) for name in sorted(base.keys() & head.keys())]


def _sides(pairs: Sequence[dict[str, Any]], rule: str, percent: int) -> list[tuple[Samples, Samples]]:
    """Base and head of every comparison of ``rule`` at ``percent`` planted."""
    right = [pair for pair in pairs if pair["planted"] == percent]
    if rule == CONTINUOUS:
        sides = [(pair["base"], pair["head"]) for pair in right]
        return sides + [(head, base) for base, head in sides] if percent == SAME else sides
    if percent == SAME:  # every base was built from the same sources
        return [(one["base"], other["base"]) for one, other in itertools.permutations(pairs, 2)]
    return [(one["base"], other["head"]) for one in pairs for other in right if one is not other]


def study(path: Path, folder: Path, revision: str, wanted: dict[int, int], end: float | None, say: Say) -> None:
    """Bring the pairs in ``path`` to the wanted counts, continuing what is there; ``folder`` keeps clone and builds.

    Stops before a pair that would begin after ``end`` (``time.monotonic``).
    """
    state = load(path)
    while (kind := _next(state["pairs"], wanted)) is not None:
        if end is not None and time.monotonic() > end:
            say("the time budget ends; the same command continues")
            return
        clone, commits = _clone(folder, revision, sorted(wanted), say)
        began = time.monotonic()
        said = _asv(clone, "continuous", "--bench", BENCHMARKS, commits["base"], commits[f"+{kind}"])
        sides = {side: _samples(clone, commits[name]) for side, name in (("base", "base"), ("head", f"+{kind}"))}
        seconds = round(time.monotonic() - began, 1)
        state["pairs"].append({"planted": kind, **sides, "regression": said == REGRESSION_EXIT, "seconds": seconds})
        store(path, state)
        say(f"pair {len(state['pairs'])}: {kind} % planted, asv exits {said}, {seconds:.0f} s")


def _next(pairs: Sequence[dict[str, Any]], wanted: dict[int, int]) -> int | None:
    """The kind that is furthest behind, so that all kinds see the same hours of the machine."""
    done = {percent: sum(pair["planted"] == percent for pair in pairs) for percent in wanted}
    behind = {percent: done[percent] / count for percent, count in wanted.items() if done[percent] < count}
    return min(behind, key=lambda percent: behind[percent]) if behind else None


def _clone(folder: Path, revision: str, kinds: Sequence[int], say: Say) -> tuple[Path, dict[str, str]]:
    """The clone with its commits by name (``base``, ``+0``, ``+10``), made and built once."""
    clone, kept = folder / "clone", folder / "commits.json"
    if kept.exists():
        found: dict[str, str] = json.loads(kept.read_text(encoding="utf-8"))
        return clone, found
    root = sources.repository()
    if not clone.exists():
        _run(root, "git", "clone", "--quiet", str(root), str(clone))
    _run(clone, "git", "checkout", "--quiet", "--detach", revision)
    base = _run(clone, "git", "rev-parse", "HEAD").strip()
    dated = int(_run(clone, "git", "log", "-1", "--format=%ct"))
    commits = {"base": base}
    place = next(name for name in planted.PLACES if (clone / name).is_file())
    bindings = clone / place
    for number, percent in enumerate(kinds, start=1):
        _run(clone, "git", "checkout", "--quiet", "--detach", base)
        slowed = planted.plant(sources.read_revision(clone, base), percent) if percent else None
        text = dict(slowed.files)[place] if slowed else bindings.read_bytes() + b"// a comment\n"
        bindings.write_bytes(text)
        when = f"{dated + SECONDS_APART * number} +0000"
        author = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.org")
        message = f"{percent} % planted"
        _run(clone, "git", *author, "commit", "--quiet", "--all", "--message", message, date=when)
        commits[f"+{percent}"] = _run(clone, "git", "rev-parse", "HEAD").strip()
    text_of = (clone / "asv.conf.json").read_text(encoding="utf-8")
    (clone / CONFIGURATION).write_text(text_of.replace('"results/asv"', f'"{RESULTS}"'), encoding="utf-8")
    for name, commit in commits.items():
        say(f"asv builds the commit {name}")
        _asv(clone, "run", "--quick", "--bench", BENCHMARKS, f"{commit}^!")
    kept.write_text(json.dumps(commits, indent=1) + "\n", encoding="utf-8")
    return clone, commits


def _asv(clone: Path, *arguments: str) -> int:
    """The exit status of asv in ``clone``; ``UserError`` with its last line where it is neither 0 nor a regression."""
    command = [sys.executable, "-m", "asv", arguments[0], "--config", CONFIGURATION, *arguments[1:]]
    done = subprocess.run(command, cwd=clone, capture_output=True, text=True, check=False)
    judged = arguments[0] == "continuous" and "PERFORMANCE DECREASED" in done.stdout
    if done.returncode not in ((0, REGRESSION_EXIT) if judged else (0,)):
        lines = (done.stdout + done.stderr).strip().split("\n")
        raise UserError(f"asv {arguments[0]} failed: {lines[-1].strip()}")
    return done.returncode


def _samples(clone: Path, commit: str) -> Samples:
    """The samples of every benchmark that asv stored for ``commit``, from both rounds."""
    found: Samples = {}
    for path in (clone / RESULTS).glob(f"*/{commit[:8]}-*.json"):
        value = json.loads(path.read_text(encoding="utf-8"))
        columns = value["result_columns"]
        for name, row in value["results"].items():
            column = dict(zip(columns, row, strict=False))
            combinations = list(itertools.product(*column["params"]))
            for parameters, samples in zip(combinations, column.get("samples") or [], strict=False):
                if samples:
                    words = [str(ast.literal_eval(parameter)) for parameter in parameters]
                    found[" ".join([name.rsplit(".", 1)[-1], *words])] = [_rounded(sample) for sample in samples]
    if not found:
        raise UserError(f"asv stored no samples of {BENCHMARKS!r} for the commit {commit[:8]}")
    return found


def _rounded(sample: float) -> float:
    return float(f"{sample:.{DIGITS}g}")


def _run(folder: Path, *command: str, date: str = "") -> str:
    dated = {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date} if date else {}
    done = subprocess.run(command, cwd=folder, env={**os.environ, **dated}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"{' '.join(command[:2])}: {' '.join(done.stderr.split()) or 'failed'}")
    return done.stdout


def load(path: Path) -> dict[str, Any]:
    """The pairs stored in ``path``; none where it does not exist."""
    if not path.exists():
        return {"format": FORMAT, "machine": path.stem, "pairs": []}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path.name} is no JSON; move it away to start anew") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise UserError(f"{path.name} holds no asv pairs of format {FORMAT}; move it away to start anew")
    return found


def store(path: Path, state: dict[str, Any]) -> None:
    """Write ``state``, whole or not at all; a pair a line, for it is long."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = {key: value for key, value in state.items() if key != "pairs"}
    pairs = ",\n".join(json.dumps(pair, separators=(",", ":")) for pair in state["pairs"])
    partial = path.with_suffix(".partial")
    partial.write_text(f'{json.dumps(head)[:-1]}, "pairs": [\n{pairs}\n]}}\n', encoding="utf-8")
    partial.replace(path)
