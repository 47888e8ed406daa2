"""What does ``fffbench regress`` do from end to end: builds, comparison, a file of results, a summary?"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from fffbench.analysis import regression
from fffbench.analysis.regression import Plan
from fffbench.anonymity import neutral
from fffbench.devices import HOST
from fffbench.devices.cuda import NAME as CUDA
from fffbench.errors import UserError
from fffbench.files import write_plain
from fffbench.regress import build, cuda, planted, run, sources
from fffbench.regress.run import Builds, Outcome, Say
from fffbench.regress.sources import Revision
from fffbench.regress.suite import CUDA_TOKENS, PLANTED_PERCENT, Suite, suites, write_data
from fffbench.results import regressions
from fffbench.results.names import publish
from fffbench.results.regressions import Check, Compared, ControlRow
from fffbench.text import markdown as escaped

WORKSPACE = Path("build") / "regress"  # under the repository: git ignores it
BUDGET_SECONDS = 600.0
DECIDING = {HOST: sources.CPU, CUDA: sources.CUDA}


def chosen(devices: Sequence[str], words: Sequence[str]) -> tuple[Suite, ...]:
    """The suites of ``devices``, of their cases those that contain one of ``words`` (all where there are none)."""
    found = []
    for suite in (suite for suite in suites() if suite.device in devices):
        cases = tuple(case for case in suite.cases if not words or any(word in case.name for word in words))
        found += [replace(suite, cases=cases)] if cases else []
    if not found:
        names = "; ".join(case.name for suite in suites() for case in suite.cases)
        raise UserError(f"--only {','.join(words)!r}: no case contains that; the cases are: {names}")
    return tuple(found)


@dataclass(frozen=True)
class Wanted:
    """What is to be compared; ``head`` None is the working tree. ``suites``: what of each device."""

    base: str
    head: str | None = None
    suites: tuple[Suite, ...] = field(default_factory=suites)
    plan: Plan = Plan()  # noqa: RUF009 - frozen
    budget: float = BUDGET_SECONDS


def build_all(base: Revision, head: Revision, workspace: Path, say: Say, deadline: float | None = None) -> Builds:
    """Build the four sides of the C++ kernels by ``deadline``; ``BuildError`` names the revision that fails."""
    build.check_tools()

    def built(revision: Revision, copy: str, what: str) -> Path:
        began = time.monotonic()
        path = build.build(revision, copy, workspace, deadline)
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
    """Compare two revisions of the checkout at ``root``, on every device that is wanted and is here.

    Kernels whose deciding sources are the same on both sides are not compared: their binaries are the same.
    """
    began = time.monotonic()
    started = datetime.now(UTC).isoformat(timespec="seconds")
    skipped = {name: why for suite in suites() if (why := absent(suite, wanted.suites)) for name in _kernels(suite)}
    names, due, same = (wanted.base, wanted.head or sources.WORKING_TREE), [], 0
    for suite in (suite for suite in wanted.suites if not absent(suite, wanted.suites)):
        base, head = (sources.read(root, name, DECIDING[suite.device]) for name in (wanted.base, wanted.head))
        names = base.shown, head.shown
        if base.digest == head.digest:
            same += 1
            skipped |= dict.fromkeys(_kernels(suite), "the same sources on both sides")
        else:
            due.append((suite, base, head))
    if same and not due:
        return _unchanged(wanted.plan, names, started, skipped)
    # the chance of a false alarm anywhere in the check is the plan's: each device gets its part
    plan = replace(wanted.plan, false_alarm=wanted.plan.false_alarm / max(1, len(due)))
    outcomes = []
    for number, (suite, base, head) in enumerate(due, start=1):
        # the first of two devices leaves the second half of the time
        deadline = began + wanted.budget * number / len(due)
        compare = _compare_cuda if suite.device == CUDA else _compare_cpu
        outcomes.append(compare(base, head, suite, plan, root / WORKSPACE, deadline, say))
    return as_check(outcomes, wanted.plan, names, started, time.monotonic() - began, skipped)


def _unchanged(plan: Plan, names: tuple[str, str], started: str, skipped: dict[str, str]) -> Check:
    found = as_check([], plan, names, started, 0.0, skipped)
    reason = "the sources that decide the kernels are the same on both sides, so there is nothing to compare"
    return found.model_copy(update={"answer": regressions.UNCHANGED, "reason": reason})


def _compare_cpu(
    base: Revision, head: Revision, suite: Suite, plan: Plan, workspace: Path, deadline: float, say: Say
) -> Outcome:
    builds = build_all(base, head, workspace, say, deadline)
    data, journals = write_data(workspace), workspace / "journals"
    return run.compare(builds, data, journals, suite=suite, plan=plan, deadline=deadline, say=say)


def _compare_cuda(
    base: Revision, head: Revision, suite: Suite, plan: Plan, workspace: Path, deadline: float, say: Say
) -> Outcome:
    data, journals = write_data(workspace, CUDA_TOKENS), workspace / "journals"
    with cuda.Server() as server:
        builds = cuda.build_all(base, head, suite, workspace, data, server, say)
        return run.compare(builds, data, journals, suite=suite, plan=plan, deadline=deadline, say=say, work=server)


def absent(suite: Suite, wanted: Sequence[Suite]) -> str | None:
    """Why the kernels of ``suite`` are not part of a check of ``wanted`` here, or None."""
    if all(other.device != suite.device for other in wanted):
        return "not asked for"
    return cuda.reason() if suite.device == CUDA else None


def _kernels(suite: Suite) -> list[str]:
    """The implementations that ``suite`` compares, by the first word of its cases' names."""
    return sorted({case.name.split()[0] for case in suite.cases})


def as_check(
    outcomes: Sequence[Outcome],
    plan: Plan,
    names: tuple[str, str],
    started: str,
    seconds: float,
    skipped: dict[str, str],
) -> Check:
    """The outcomes of all devices as they are stored, with one answer over all."""
    from fffbench.measure import fingerprint

    cases = [(outcome, name) for outcome in outcomes for name in outcome.cases]
    controls = [pair for item in outcomes for pair in zip(item.controls, item.control_blocks, strict=True)]
    answer, reason = regression.overall(
        [outcome.cases[name] for outcome, name in cases], [control for control, _ in controls]
    )
    return Check(
        format=regressions.FORMAT,
        machine=fingerprint.machine_id(fingerprint.stable()),
        started=started,
        base=neutral(names[0]),  # either may be a folder
        head=neutral(names[1]),
        answer=answer,
        reason=reason,
        seconds=round(seconds, 1),
        plan=regression.plan_json(plan),
        cases=[_compared(outcome, name) for outcome, name in cases if name in outcome.bounds],
        controls=[
            ControlRow(name=item.name, passed=item.passed, said=item.said, blocks=[round(b, 5) for b in blocks])
            for item, blocks in controls
        ],
        skipped={
            name: neutral(why) for said in (skipped, *(item.skipped for item in outcomes)) for name, why in said.items()
        },
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
    write_plain(partial, json.dumps(found.model_dump(), indent=1) + "\n")
    return publish(partial, path)  # a check of the same second is not written over


def markdown(found: Check) -> str:
    """A summary for a pull request: the answer first, then every case and control."""
    icons = {
        regression.REGRESSION: "❌",
        regression.NONE: "✅",
        regression.INCONCLUSIVE: "❔",
        regressions.UNCHANGED: "✅",
    }
    icon = icons[found.answer]
    plan = found.plan
    lines = [
        f"## {icon} {escaped(found.answer)}: {escaped(found.head)} against {escaped(found.base)}",
        "",
        f"{escaped(found.reason)}. On `{found.machine}`, {found.seconds:.0f} s.",
        "",
        "| kernel | answer | base | head / base | at least | at most | blocks |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {escaped(row.case)} | {row.answer} | {1e6 * row.base_seconds:.4g} us | {row.ratio:.3f} | {row.low:.3f} "
        f"| {row.high:.3f} | {len(row.blocks)} |"
        for row in found.cases
    ]
    lines += ["", "| control | | |", "|---|---|---|"]
    lines += [
        f"| {escaped(row.name)} | {'passed' if row.passed else '**failed**'} | {escaped(row.said)} |"
        for row in found.controls
    ]
    lines += [f"\nNot compared: {escaped(name)}: {escaped(reason)}." for name, reason in sorted(found.skipped.items())]
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


def append_summary(text: str, path: Path | None) -> None:
    """Add ``text`` to the file given, and to the job summary where a workflow runs."""
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    for target in (path, Path(summary) if summary else None):
        if target is not None:
            write_plain(target, text, append=True)
