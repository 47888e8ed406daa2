"""Does a commit that makes a kernel slower stand out? ``nox -s slowed_commit`` shows it, start to finish.

Clones this repository and commits on top: a comment, a kernel that does its
work twice, two more comments. asv measures that branch (``asv run``), so the
slow commit lies in its middle. Fails unless ``asv compare``, ``asv continuous``,
the regressions that ``asv publish`` lists and the page's history all name that
commit and none a control, and unless torch was installed once. A measurement
of eight minutes: nothing else should run.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KERNEL = Path("fffbench/implementations/cpu/ops/tree/call.cpp")
BEGIN = "    if (plan_.strategy == Strategy::walk)\n        run_walk(job);"  # where a planned call chooses its strategy
TWICE = f"    for (int again = 0; again < 2; ++again)\n{BEGIN}"
BRANCH = ("good", "slow", "neutral", "neutral")  # on top of the clone's newest commit, which is good as well
SECONDS_APART = 60  # the commits: asv and the page put them in the order of their dates
LEAST = 1.2  # times slower: the second pass finds the caches warm, so work done twice costs 1.3 to 1.5 times as much
ALLOWED_SECONDS = 5 * 60  # for a commit, on two cores
ROW = re.compile(
    r"^\|\s*\+\s*\|[^|]*\|[^|]*\|\s*~?(?P<ratio>\d+(?:\.\d+)?)\s*\|(?P<name>.*)\|$"
)  # significant, in asv's table


def main() -> int:
    """Run every step; 1 if one does not show what it must."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="where the clone is kept; a temporary folder without it")
    parser.add_argument("--bench", default="time_pass", help="benchmarks to run; others only take time")
    parser.add_argument("--keep", type=Path, help="copy asv's results of the branch to this folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fffbench-slowed-") as temporary:
        return demonstrate((options.folder or Path(temporary)).resolve() / "clone", options.bench, options.keep)


def demonstrate(clone: Path, bench: str, keep: Path | None) -> int:
    """Make the branch in ``clone`` and look at it as a user would."""
    if not clone.exists():
        run("git", "clone", "--quiet", str(ROOT), str(clone))
        commit_branch(clone)
    commits = run("git", "-C", str(clone), "rev-list", "--reverse", f"HEAD~{len(BRANCH) + 1}..HEAD").split()[-5:]
    before, slow = commits[1], commits[2]
    asv(clone, "check")  # makes the environment and builds the newest commit: not part of the time for the commits
    torch = installed_torch(clone)
    start = time.monotonic()
    asv(clone, "run", "--bench", bench, f"HEAD~{len(commits)}..HEAD")
    seconds = time.monotonic() - start
    if keep is not None:
        keep_results(clone, keep, commits, slow)
    compared = ratios(asv(clone, "compare", before, slow))
    listed = published(clone)
    page = page_of(clone)
    # last: it measures two of the commits anew
    judged = asv(clone, "continuous", "--bench", "time_pass..fff_cpu", before, slow, allowed=(0, 1))
    slower = {name: ratio for name, ratio in compared.items() if ratio >= LEAST}
    findings = {
        f"{len(commits)} commits in {seconds:.0f} s": seconds <= ALLOWED_SECONDS * len(commits),
        "torch was not installed again": installed_torch(clone) == torch,
        f"asv compare: {slower}": any("fff_cpu" in name for name in slower)
        and not any("Control" in name for name in slower),
        f"asv publish lists {slow[:8]}: {listed.get(slow)}": any("fff_cpu" in name for name in listed.get(slow, ())),
        "asv continuous calls it a regression": "PERFORMANCE DECREASED" in judged,
        f"the page's history says slower from {slow[:8]} on": on_page(page, slow),
    }
    for what, holds in findings.items():
        print(f"{'yes' if holds else 'NO '}  {what}", flush=True)
    return 0 if all(findings.values()) else 1


def commit_branch(clone: Path) -> None:
    """Commit ``BRANCH`` on top; every commit changes the kernel's source, so each is built anew."""
    changes: dict[str, tuple[str, Callable[[str], str]]] = {
        "good": ("A comment", lambda text: text + "// good\n"),
        "slow": ("Slowed: every call twice", slowed),
        "neutral": ("Another comment", lambda text: text + "// neutral\n"),
    }
    for name in clone.glob("results/asv/*/*-*.json"):
        name.unlink()  # of other commits: this history is the branch's alone
    source = clone / KERNEL
    newest = int(run("git", "-C", str(clone), "log", "-1", "--format=%ct"))
    for number, kind in enumerate(BRANCH, start=1):
        message, change = changes[kind]
        source.write_text(change(source.read_text(encoding="utf-8")), encoding="utf-8")
        author = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.org")
        when = f"{newest + SECONDS_APART * number} +0000"
        dated = {"GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when}
        run("git", "-C", str(clone), *author, "commit", "--quiet", "--all", "--message", message, environment=dated)


def slowed(text: str) -> str:
    """The kernel's source with its work done twice."""
    if text.count(BEGIN) != 1:
        raise SystemExit(f"{KERNEL}: the place where a call is carried out has moved; mend BEGIN in {__file__}")
    return text.replace(BEGIN, TWICE)


def asv(clone: Path, *arguments: str, allowed: tuple[int, ...] = (0,)) -> str:
    """Run asv in ``clone``; its output, shown as well."""
    return run(sys.executable, "-m", "asv", *arguments, folder=clone, allowed=allowed)


def run(
    *command: str,
    folder: Path | None = None,
    allowed: tuple[int, ...] = (0,),
    environment: dict[str, str] | None = None,
) -> str:
    """Run ``command``, show and return what it prints."""
    print("$", " ".join(command), flush=True)
    start, lines = time.monotonic(), []
    with subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    print(f"# {time.monotonic() - start:.0f} s, exit {process.returncode}", flush=True)
    if process.returncode not in allowed:
        raise SystemExit(f"{' '.join(command)}: exit {process.returncode}")
    return "".join(lines)


def installed_torch(clone: Path) -> set[tuple[str, int, int]]:
    """Where torch lies in asv's environments, with inode and time: another set means another installation."""
    files = clone.glob(".asv/env/*/lib/python*/site-packages/torch/__init__.py")
    return {(str(path), path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


def ratios(compared: str) -> dict[str, float]:
    """Ratio after over before of each significant change, by benchmark, from ``asv compare``'s table."""
    rows = (ROW.match(line.strip()) for line in compared.splitlines())
    return {row["name"].strip(): float(row["ratio"]) for row in rows if row is not None}


def published(clone: Path) -> dict[str, list[str]]:
    """Benchmarks by the commit at which asv's own step detection finds that they became slower."""
    asv(clone, "publish")
    html = clone / ".asv" / "html"
    commits = json.loads((html / "index.json").read_text(encoding="utf-8"))["revision_to_hash"]
    listed: dict[str, list[str]] = {}
    for name, _, _, _, _, _, jumps in json.loads((html / "regressions.json").read_text(encoding="utf-8"))[
        "regressions"
    ]:
        for jump in jumps:
            listed.setdefault(commits[str(jump[1])], []).append(name)
    return listed


def page_of(clone: Path) -> str:
    """The clone's page, rendered from the clone's results."""
    run(sys.executable, "-m", "fffbench", "report", "--results", "results", "--out", "reports", folder=clone)
    return (clone / "reports" / "all.html").read_text(encoding="utf-8")


def on_page(page: str, slow: str) -> bool:
    """Whether the description of a chart says that a kernel is slower from the commit ``slow`` on."""
    said = rf"time_pass, fff_cpu, \d+: [^;]{{0,80}}; [^;]{{0,20}}x slower from {slow[:8]} on"
    return re.search(said, page) is not None


def keep_results(clone: Path, keep: Path, commits: list[str], slow: str) -> None:
    """Copy what asv stored of ``commits``, and which of them is the slow one, to the results folder ``keep``."""
    for path in sorted((clone / "results" / "asv").rglob("*.json")):
        if path.name in ("benchmarks.json", "machine.json") or path.name.split("-")[0] in {c[:8] for c in commits}:
            target = keep / path.relative_to(clone / "results")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    (keep / "branch.json").write_text(json.dumps({"commits": commits, "slow": slow}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
