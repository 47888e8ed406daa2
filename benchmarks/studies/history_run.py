"""How fast was each kernel at each chosen commit? asv over all of them, every one built before any is timed.

``python -m benchmarks.studies.history_run`` makes asv's environment, builds the wheel of every commit into asv's cache,
then measures in two rounds: all commits in a random order, then all of them in the opposite one, so that an hour in
which the machine is slow is not read as a commit's step. ``--build`` only builds. asv alone would build a commit
between two measurements, while the processor is still hot from the compiler. Every kernel of the first screen that
runs on a CPU is measured on one core, beside a dense layer of torch's, which no commit changes.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
import tempfile
from collections.abc import Sequence

from benchmarks.studies.history_commits import ROOT, order, read

BENCHMARKS = (
    r"Optimised.time_pass\('fff_cpu', (1|128|16384)\)",
    r"Guarded.time_pass\('fff_cpu .*-t1x12-b(1|1024)-bf16-",
    r"Guarded.time_pass\('fff_cpu .*-(t1x7l32-b1024|t16x8-b128)-fp32-",
    r"Control.time_pass\('dense_linear', 1\)",
)


def build(commits: Sequence[str]) -> list[str]:
    """Build what asv's cache lacks of ``commits``, in the folder at hand; those that cannot be built."""
    environments, repositories = importlib.import_module("asv.environment"), importlib.import_module("asv.repo")
    settings = importlib.import_module("asv.config").Config.load("asv.conf.json")
    if settings.build_cache_size < len(commits):
        raise SystemExit(f"build_cache_size in asv.conf.json must be at least {len(commits)}, the commits to build")
    repository = repositories.get_repo(settings)
    (environment,) = environments.get_environments(settings, None)
    environment.create()
    failed = []
    for commit in commits:
        if environment._cache.get_cache_dir(commit) is not None:  # noqa: SLF001 - asv has no command that only builds
            continue
        try:
            environment.install_project(settings, repository, commit)
        except importlib.import_module("asv.util").ProcessError as error:
            print(f"{commit[:8]} cannot be built: {error}", file=sys.stderr)
            failed.append(commit)
    return failed


def measure(commits: Sequence[str]) -> int:
    """Run asv over ``commits``, in this order and back; asv's exit status, 2 where a benchmark failed."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as hashes:
        hashes.write("\n".join(commits) + "\n")
        hashes.flush()
        chosen = [word for pattern in BENCHMARKS for word in ("--bench", pattern)]
        command = (sys.executable, "-m", "asv", "run", "--interleave-rounds", "--record-samples", "--show-stderr")
        return subprocess.run((*command, *chosen, f"HASHFILE:{hashes.name}"), cwd=ROOT, check=False).returncode


def main(arguments: Sequence[str] | None = None) -> int:
    """Build, then measure; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies.history_run", description=__doc__)
    parser.add_argument("--build", action="store_true", help="only build the commits")
    parser.add_argument("commits", nargs="*", help="some of the chosen commits, by the start of their hashes")
    given = parser.parse_args(arguments)
    chosen = [item["commit"] for item in read()]
    asked = [commit for commit in chosen if not given.commits or commit.startswith(tuple(given.commits))]
    if failed := build(asked):
        print(f"left out: {', '.join(commit[:8] for commit in failed)}", file=sys.stderr)
    if given.build:
        return 1 if failed else 0
    return measure(order([commit for commit in asked if commit not in failed]))


if __name__ == "__main__":
    sys.exit(main())
