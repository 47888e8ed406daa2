"""Which figures does this version publish?

``python -m benchmarks.studies.publish VERSION`` writes ``results/published/VERSION.json`` from ``results/``: the
figures of the page's first screen, of its ledger and of its table of models, with their intervals and verdicts. The
page of what is measured later says what changed since. Run it last before a version is tagged, and commit the file.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from fffbench.errors import UserError
from fffbench.report import build, changes
from fffbench.report.analysed import analyse
from fffbench.report.models import models
from fffbench.report.published import load_published
from fffbench.results.snapshots import VERSION, Snapshot, write_snapshot


def published(version: str, folder: Path) -> Snapshot:
    """The figures under ``folder``."""
    if not re.fullmatch(VERSION, version):
        raise UserError(f"version {version!r}: letters, digits, dots, + and - are allowed, such as 0.2.0")
    analysis = analyse(load_published(folder))
    whole = models(folder, analysis.names)
    if not analysis.results.runs:
        raise UserError(f"{str(folder)!r} holds no runs: there is nothing to publish")
    now = changes.figures(analysis, build.first_of(analysis, whole), whole)
    return changes.snapshot(version, max(run.started[:10] for run in analysis.results.runs.values()), now)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the file and say where it is; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies.publish", description=__doc__.split("\n")[0])
    parser.add_argument("version", help="of the project, such as 0.2.0")
    parser.add_argument(
        "--results", type=Path, default=Path("results"), help="the folder of results (default: results)"
    )
    given = parser.parse_args(arguments)
    try:
        path = write_snapshot(given.results, published(given.version, given.results))
    except UserError as error:
        sys.stderr.write(f"fffbench: {error}\n")
        return 2
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
