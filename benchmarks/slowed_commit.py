"""Does a commit that makes a kernel slower stand out? ``nox -s slowed_commit`` shows it, start to finish.

Clones this repository, commits a kernel that does its work twice on top, and
lets asv measure the last commits, compare the slowed one with the one before,
and judge it (``asv continuous``); then renders the clone's page. Fails unless
every view names the slowed kernel and none a control, and unless torch was
installed once. A measurement of eight minutes: nothing else should run.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
KERNEL = Path("fffbench/implementations/cpu/call.cpp")
BEGIN = "    if (plan_.strategy == Strategy::walk)\n        run_walk(job);"  # where a planned call chooses its strategy
TWICE = f"    for (int again = 0; again < 2; ++again)\n{BEGIN}"
LEAST = 1.2  # times slower: the second pass finds the caches warm, so work done twice costs 1.3 to 1.5 times as much
ALLOWED_SECONDS = 15 * 60  # for three commits, on two cores
ROW = re.compile(
    r"^\|\s*\+\s*\|[^|]*\|[^|]*\|\s*~?(?P<ratio>\d+(?:\.\d+)?)\s*\|(?P<name>.*)\|$"
)  # significant, in asv's table
ON_PAGE = re.compile(r"time_pass, fff_cpu, \d+: [^;]{0,80}; [^;]{0,40}x slower")  # in the description of a chart


def main() -> int:
    """Run every step; 1 if one does not show what it must."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commits", type=int, default=3, help="commits to measure, the slowed one included")
    parser.add_argument("--folder", type=Path, help="where the clone is kept; a temporary folder without it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fffbench-slowed-") as temporary:
        return demonstrate((options.folder or Path(temporary)).resolve() / "clone", options.commits)


def demonstrate(clone: Path, commits: int) -> int:
    """Make the slowed commit in ``clone`` and look at it as a user would."""
    if not clone.exists():
        run("git", "clone", "--quiet", str(ROOT), str(clone))
        slow_down(clone)
    asv(clone, "check")  # makes the environment and builds the newest commit: not part of the time for the commits
    torch = installed_torch(clone)
    start = time.monotonic()
    asv(clone, "run", f"HEAD~{commits}..HEAD")
    seconds = time.monotonic() - start
    compared = asv(clone, "compare", "HEAD~1", "HEAD")
    judged = asv(clone, "continuous", "--bench", "time_pass", "HEAD~1", "HEAD", allowed=(0, 1))
    page = page_of(clone)
    slower = {name: ratio for name, ratio in ratios(compared).items() if ratio >= LEAST}
    findings = {
        f"{commits} commits in {seconds:.0f} s, at most {ALLOWED_SECONDS * commits // 3} s": seconds
        <= ALLOWED_SECONDS * commits / 3,
        "torch was not installed again": installed_torch(clone) == torch,
        f"asv compare: {slower}": any("fff_cpu" in name for name in slower)
        and not any("Control" in name for name in slower),
        "asv continuous calls it a regression": "PERFORMANCE DECREASED" in judged,
        "the page's history says slower": ON_PAGE.search(page) is not None,
    }
    for what, holds in findings.items():
        print(f"{'yes' if holds else 'NO '}  {what}", flush=True)
    return 0 if all(findings.values()) else 1


def slow_down(clone: Path) -> None:
    """Commit a kernel that does its work twice."""
    source = clone / KERNEL
    text = source.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1:
        raise SystemExit(f"{KERNEL}: the place where a call is carried out has moved; mend BEGIN in {__file__}")
    source.write_text(text.replace(BEGIN, TWICE), encoding="utf-8")
    author = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.org")
    run("git", "-C", str(clone), *author, "commit", "--quiet", "--all", "--message", "Slowed: every call twice")


def asv(clone: Path, *arguments: str, allowed: tuple[int, ...] = (0,)) -> str:
    """Run asv in ``clone``; its output, shown as well."""
    return run(sys.executable, "-m", "asv", *arguments, folder=clone, allowed=allowed)


def run(*command: str, folder: Path | None = None, allowed: tuple[int, ...] = (0,)) -> str:
    """Run ``command``, show and return what it prints."""
    print("$", " ".join(command), flush=True)
    start, lines = time.monotonic(), []
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
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


def page_of(clone: Path) -> str:
    """The clone's page, rendered from the clone's results."""
    run(sys.executable, "-m", "fffbench", "report", "--results", "results", "--out", "reports", folder=clone)
    return (clone / "reports" / "index.html").read_text(encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
