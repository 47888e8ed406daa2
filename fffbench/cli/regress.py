"""The command that compares two revisions: ``regress``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from fffbench.cli import notices
from fffbench.cli.shared import ResultsDir, Summary, share
from fffbench.errors import UserError
from fffbench.plan import options
from fffbench.text import plain
from fffbench.units import parse_duration

EXIT_REGRESSION = 1
EXIT_INCONCLUSIVE = 3


def regress(
    base: Annotated[str, typer.Argument(help="a commit, tag, branch or folder of sources to compare with")],
    head: Annotated[str | None, typer.Argument(help="the revision to judge; the working tree where not given")] = None,
    budget: Annotated[str, typer.Option(help="time budget, builds included, such as 10m")] = "10m",
    only: Annotated[str | None, typer.Option(help="comma-separated words: cases that contain one of them")] = None,
    margin: Annotated[float, share("--margin", 1, "slow-downs up to this share do not matter")] = 0.03,
    tolerance: Annotated[float, share("--tolerance", 2, "`none` excludes a slow-down of this share")] = 0.05,
    devices: Annotated[str, typer.Option(help="whose kernels: cpu, cuda or both")] = "cpu,cuda",
    results: ResultsDir = Path("results"),
    markdown: Summary = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the check as JSON")] = False,
) -> None:
    """Is HEAD (or the working tree) slower than BASE? Exit 0: none or unchanged, 1: regression, 3: inconclusive.

    Interrupted, the same command continues with the builds and blocks it has.
    """
    from fffbench.analysis import regression
    from fffbench.measure import lock
    from fffbench.regress import check, sources
    from fffbench.regress.build import BuildError
    from fffbench.results import regressions

    for what, name in (("BASE", base), ("HEAD", head)):
        if name is not None and not name.strip():
            raise UserError(f"{what} is empty (a variable that is not set?); name a commit, tag, branch or folder")
    suites = check.chosen(options.axes(devices=devices).devices, options.words("--only", only))
    try:
        plan = regression.Plan(margin=margin, tolerance=tolerance)
    except ValueError as error:
        raise UserError(f"--margin {margin:g} --tolerance {tolerance:g}: {error}") from error
    wanted = check.Wanted(base, head, suites, plan, parse_duration(budget))
    try:
        with lock.machine(f"fffbench regress {base}"):
            found = check.check(wanted, sources.repository(base), notices.say)
    except BuildError as error:
        print("\n".join(error.lines), file=sys.stderr)
        raise
    # where nothing was measured there is no result to keep
    path = None if found.answer == regressions.UNCHANGED else check.store(found, results)
    text = check.markdown(found)
    check.append_summary(text, markdown)
    print(json.dumps(found.model_dump(), indent=1) if as_json else text)
    print(plain(f"{found.answer}: {found.reason}{'' if path is None else f' ({path})'}"), file=sys.stderr)
    codes = {regression.NONE: 0, regressions.UNCHANGED: 0, regression.REGRESSION: EXIT_REGRESSION}
    raise typer.Exit(codes.get(found.answer, EXIT_INCONCLUSIVE))
