"""Of which sources are the results from before every cell said so? Writes ``results/timed-sources.json``.

    python -m benchmarks.studies.timed_sources [--results DIR]

For each commit at which something was measured with nothing changed, the sources at that commit are taken from git and
their digests computed as a build would (``fffbench.timed``). Commits that this history does not have, and files of
changed checkouts, stay unknown.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

from fffbench import timed
from fffbench.results.current import FORMAT, TABLE
from fffbench.results.listing import files_of_room
from fffbench.results.models import ROOM
from fffbench.results.parsing import parse_json
from fffbench.results.reader import read_run
from fffbench.results.record import DIRTY, UNKNOWN_COMMIT
from fffbench.results.store import MATRIX

CHECKOUT = Path(__file__).resolve().parents[2]
SECONDS = 60.0


def commits(results: Path) -> list[str]:
    """The clean commits that result files name, as they name them."""
    found = set()
    for room in (MATRIX, ROOM):
        for path in files_of_room(results, room)[0]:
            run = read_run(parse_json(path), path.parent.name, lambda *_: None)
            if run is not None and run.dirty is False and run.commit != UNKNOWN_COMMIT:
                found.add(run.commit.removesuffix(DIRTY))
    return sorted(found)


def full(commit: str, checkout: Path = CHECKOUT) -> str | None:
    """The 40 digits of a commit of this history; None where it has no such."""
    try:
        return _git(checkout, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}^{{commit}}").decode()
    except subprocess.CalledProcessError:
        return None


def tree_of(commit: str, checkout: Path = CHECKOUT) -> dict[str, bytes]:
    """The sources at ``commit``, as ``timed.read_tree`` gives those of a folder."""
    present = _git(checkout, "ls-tree", "--name-only", commit, "--", "fffbench", timed.BUILD).decode().split()
    packed = _git(checkout, "archive", "--format=tar", commit, "--", *present, strip=False)
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        return dict(_sources(archive))


def table(results: Path, checkout: Path = CHECKOUT) -> dict[str, dict[str, str]]:
    """Digests by commit and implementation."""
    found = {}
    for name in commits(results):
        commit = full(name, checkout)
        if commit is None:
            print(f"{name}: not in this history; its results stay of unknown sources", file=sys.stderr)
        elif commit not in found:
            found[commit] = timed.digests(tree_of(commit, checkout))
    return dict(sorted(found.items()))


def _sources(archive: tarfile.TarFile) -> Iterator[tuple[str, bytes]]:
    for member in archive.getmembers():
        content = archive.extractfile(member) if member.isfile() else None
        name = member.name.removeprefix("fffbench/")
        if content is not None and (name == timed.BUILD or name.endswith(timed.SOURCES)):
            yield name, content.read()


def _git(checkout: Path, *arguments: str, strip: bool = True) -> bytes:
    done = subprocess.run(["git", "-C", str(checkout), *arguments], capture_output=True, check=True, timeout=SECONDS)
    return done.stdout.strip() if strip else done.stdout


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--results", type=Path, default=CHECKOUT / "results")
    results = parser.parse_args().results
    found = table(results)
    (results / TABLE).write_text(json.dumps({"format": FORMAT, "commits": found}, indent=1) + "\n", encoding="utf-8")
    print(f"{results / TABLE}: {len(found)} commits")


if __name__ == "__main__":
    main()
