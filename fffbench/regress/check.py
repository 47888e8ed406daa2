"""What does ``fffbench regress`` do from end to end: builds, comparison, a file of results, a summary?"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fffbench.analysis import regression
from fffbench.analysis.regression import Plan
from fffbench.regress import build, planted, run, sources
from fffbench.regress.run import Builds, Outcome, Say
from fffbench.regress.sources import Revision
from fffbench.regress.suite import PLANTED_PERCENT, SUITE, Case, write_data
from fffbench.results import regressions
from fffbench.results.regressions import Check, Compared, ControlRow

WORKSPACE = Path("build") / "regress"  # under the repository: git ignores it
BUDGET_SECONDS = 600.0


@dataclass(frozen=True)
class Wanted:
    """What is to be compared; ``head`` None is the working tree."""

    base: str
    head: str | None = None
    cases: tuple[Case, ...] = SUITE
    plan: Plan = Plan()  # noqa: RUF009 - frozen
    budget: float = BUDGET_SECONDS


def build_all(base: Revision, head: Revision, workspace: Path, say: Say) -> Builds:
    """Build the four sides; ``BuildError`` names the revision that fails."""
    build.check_tools()

    def built(revision: Revision, copy: str, what: str) -> Path:
        began = time.monotonic()
        path = build.build(revision, copy, workspace)
        if (seconds := time.monotonic() - began) > 1:
            say(f"built {what} in {seconds:.0f} s")
        return path

    return Builds(
        base=built(base, run.BASE, f"base {base.shown}"),
        head=built(head, run.HEAD, f"head {head.shown}"),
        twin=built(base, run.TWIN, "the base again, for the control pair"),
        planted=built(planted.plant(base, PLANTED_PERCENT), run.PLANTED, f"the base with {PLANTED_PERCENT} % of work"),
    )


def check(wanted: Wanted, root: Path, say: Say) -> Check:
    """Compare two revisions of the checkout at ``root``."""
    began = time.monotonic()
    started = datetime.now(UTC).isoformat(timespec="seconds")
    base = sources.read_revision(root, wanted.base)
    head = sources.read_revision(root, wanted.head) if wanted.head else sources.read_working_tree(root)
    workspace = root / WORKSPACE
    builds = build_all(base, head, workspace, say)
    outcome = run.compare(
        builds,
        write_data(workspace),
        workspace / "journals",
        cases=wanted.cases,
        plan=wanted.plan,
        deadline=began + wanted.budget,
        say=say,
    )
    skipped = {**outcome.skipped, **cuda_skipped()}
    return as_check(outcome, wanted.plan, (base.shown, head.shown), started, time.monotonic() - began, skipped)


def cuda_skipped() -> dict[str, str]:
    """Why the CUDA kernels are not part of this check."""
    from fffbench.measure import fingerprint

    reason = "regress drives the C++ kernels" if fingerprint.gpu_names() else "no NVIDIA device here"
    return {"fff_cuda": f"{reason}; asv continuous compares CUDA kernels"}


def as_check(
    outcome: Outcome, plan: Plan, names: tuple[str, str], started: str, seconds: float, skipped: dict[str, str]
) -> Check:
    """The outcome as it is stored."""
    from fffbench.measure import fingerprint

    return Check(
        format=regressions.FORMAT,
        machine=fingerprint.machine_id(fingerprint.stable()),
        started=started,
        base=names[0],
        head=names[1],
        answer=outcome.answer,
        reason=outcome.reason,
        seconds=round(seconds, 1),
        plan=regression.plan_json(plan),
        cases=[_compared(outcome, name) for name in outcome.cases if name in outcome.bounds],
        controls=[
            ControlRow(name=item.name, passed=item.passed, said=item.said, blocks=[round(b, 5) for b in blocks])
            for item, blocks in zip(outcome.controls, outcome.control_blocks, strict=True)
        ],
        skipped=skipped,
    )


def _compared(outcome: Outcome, name: str) -> Compared:
    found = outcome.bounds[name]
    return Compared(
        case=name,
        answer=outcome.cases[name],
        ratio=round(found.ratio, 5),
        low=round(found.low, 5),
        high=round(found.high, 5),
        base_seconds=float(f"{outcome.base_seconds[name]:.4g}"),
        blocks=[round(value, 5) for value in outcome.blocks[name]],
    )


def store(found: Check, results: Path) -> Path:
    """Write ``found`` under ``results/regress/<machine>/``, whole or not at all."""
    folder = results / regressions.REGRESS / found.machine
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{found.started.replace(':', '').replace('+0000', 'Z')}.json"
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(found.model_dump(), indent=1) + "\n", encoding="utf-8")
    partial.replace(path)
    return path


def markdown(found: Check) -> str:
    """A summary for a pull request: the answer first, then every case and control."""
    icon = {regression.REGRESSION: "❌", regression.NONE: "✅", regression.INCONCLUSIVE: "❔"}[found.answer]
    plan = found.plan
    lines = [
        f"## {icon} {_safe(found.answer)}: {_safe(found.head)} against {_safe(found.base)}",
        "",
        f"{_safe(found.reason)}. On `{found.machine}`, {found.seconds:.0f} s.",
        "",
        "| kernel | answer | base | head / base | at least | at most | blocks |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {_safe(row.case)} | {row.answer} | {1e6 * row.base_seconds:.4g} us | {row.ratio:.3f} | {row.low:.3f} "
        f"| {row.high:.3f} | {len(row.blocks)} |"
        for row in found.cases
    ]
    lines += ["", "| control | | |", "|---|---|---|"]
    lines += [
        f"| {_safe(row.name)} | {'passed' if row.passed else '**failed**'} | {_safe(row.said)} |"
        for row in found.controls
    ]
    lines += [f"\nNot compared: {_safe(name)}: {_safe(reason)}." for name, reason in sorted(found.skipped.items())]
    looks = ", ".join(str(look) for look in _looks(plan["looks"]))
    lines.append(
        f"\n`regression`: slower than {_percent(plan['margin'])} is shown (a false alarm anywhere in the suite: "
        f"{_percent(plan['false_alarm'])} of runs at most). `none`: slower by {_percent(plan['tolerance'])} is "
        f"excluded. Looks after {looks} blocks."
    )
    return "\n".join(lines) + "\n"


def _percent(value: object) -> str:
    assert isinstance(value, int | float)
    return f"{100 * value:g} %"


def _looks(value: object) -> Sequence[object]:
    assert isinstance(value, list)
    return value


def _safe(text: str) -> str:
    """``text`` as one line of a Markdown table: branch names and compilers' words are not ours."""
    line = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return line.replace("|", "\\|").replace("`", "'")


def append_summary(text: str, path: Path | None) -> None:
    """Add ``text`` to the file given, and to the job summary where a workflow runs."""
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    for target in (path, Path(summary) if summary else None):
        if target is not None:
            with target.open("a", encoding="utf-8") as file:
                file.write(text)
