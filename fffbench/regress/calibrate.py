"""How often is ``fffbench regress`` wrong? A study by simulation and on this machine: ``nox -s calibrate``.

The real part runs the very check that ``regress`` runs, on builds whose truth
is known: two builds of the same sources, and kernels into which a slow-down was
planted. Every run is on disk when it ends; the same command continues.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from fffbench.analysis import regression
from fffbench.analysis.regression import Plan
from fffbench.errors import UserError
from fffbench.regress import build, check, planted, run, sources
from fffbench.regress.run import Builds
from fffbench.regress.simulate import simulate
from fffbench.regress.suite import SUITE, write_data

CALIBRATION = "calibration"
SAME = 0  # percent planted
# comparisons wanted by percent planted; every case of a run is one
COMPARISONS = {SAME: 210, 5: 42, 10: 42, 20: 42}
TRIALS = 4000


def study(path: Path, comparisons: dict[int, int], trials: int, revision: str | None, budget: float | None) -> None:
    """Bring the study in ``path`` to the wanted counts, continuing what is there."""
    root = sources.repository()
    subject = sources.read_revision(root, revision) if revision else sources.read_working_tree(root)
    plan = Plan()
    state = _load(path)
    state["plan"] = regression.plan_json(plan)
    if len(state["simulation"]) == 0 or state["trials"] != trials:
        _say(f"simulating {trials} trials of every rule, model and slow-down")
        state["simulation"] = [asdict(rate) for rate in simulate(trials, plan)]
        state["trials"] = trials
        _store(path, state)
    workspace = root / check.WORKSPACE
    builds = check.build_all(subject, subject, workspace, _say)
    heads = {SAME: builds.head}
    for percent in comparisons:
        if percent != SAME:
            _say(f"building the kernels with {percent} % of work planted")
            heads[percent] = build.build(planted.plant(subject, percent), f"head{percent}", workspace)
    data = write_data(workspace)
    end = None if budget is None else time.monotonic() + budget
    while (kind := _next(state["runs"], comparisons)) is not None:
        if end is not None and time.monotonic() > end:
            _say("the time budget ends; the same command continues")
            break
        number = len(state["runs"])
        state["runs"].append(_one(replace(builds, head=heads[kind]), data, workspace, kind, plan, number))
        _store(path, state)
        last = state["runs"][-1]
        _say(f"run {number}: {kind} % planted: {last['answer']}, {last['blocks']} blocks, {last['seconds']:.0f} s")


def _one(builds: Builds, data: Path, workspace: Path, percent: int, plan: Plan, number: int) -> dict[str, Any]:
    began = time.monotonic()
    label = f"calibration {number}"
    outcome = run.compare(builds, data, workspace / "journals", plan=plan, label=label)
    return {
        "planted": percent,
        "answer": outcome.answer,
        "cases": outcome.cases,
        "ratios": {name: round(found.ratio, 4) for name, found in outcome.bounds.items()},
        "spread": {name: round(_spread(blocks), 4) for name, blocks in outcome.blocks.items()},
        "controls": {control.name: control.passed for control in outcome.controls},
        "blocks": max((len(blocks) for blocks in (*outcome.blocks.values(), *outcome.control_blocks)), default=0),
        "seconds": round(time.monotonic() - began, 1),
    }


def _spread(blocks: Sequence[float]) -> float:
    import numpy as np

    return float(np.std(blocks, ddof=1)) if len(blocks) > 1 else 0.0


def _next(runs: Sequence[dict[str, Any]], comparisons: dict[int, int]) -> int | None:
    """The kind that is furthest behind, so that all kinds see the same hours of the machine."""
    done = {percent: sum(len(item["cases"]) for item in runs if item["planted"] == percent) for percent in comparisons}
    behind = {percent: done[percent] / wanted for percent, wanted in comparisons.items() if done[percent] < wanted}
    return min(behind, key=lambda percent: behind[percent]) if behind else None


def _load(path: Path) -> dict[str, Any]:
    empty: dict[str, Any] = {"format": 1, "machine": path.stem, "trials": 0, "plan": {}, "simulation": [], "runs": []}
    if not path.exists():
        return empty
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path.name} is no JSON; move it away to start anew") from error
    if not isinstance(found, dict) or found.get("format") != 1:
        raise UserError(f"{path.name} is no calibration of format 1; move it away to start anew")
    return {**empty, **found}


def _store(path: Path, state: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run or continue the study, then write its tables; the exit status."""
    from fffbench.cli.options import parse_duration
    from fffbench.measure import fingerprint
    from fffbench.regress import calibrated

    parser = argparse.ArgumentParser(prog="python -m fffbench.regress.calibrate", description=__doc__.split("\n")[0])
    parser.add_argument("--results", type=Path, default=Path("results"), help="the folder of results")
    parser.add_argument("--revision", help="whose kernels (default: the working tree)")
    parser.add_argument("--budget", help="stop after this time, such as 20m; the same command continues")
    parser.add_argument("--trials", type=int, default=TRIALS, help="of every rule, model and slow-down")
    parser.add_argument("--scale", type=float, default=1.0, help="times the comparisons (1: 210 and three times 42)")
    parser.add_argument("--tables", action="store_true", help="measure nothing; write the tables of what is there")
    given = parser.parse_args(arguments)
    try:
        if not given.tables:
            path = given.results / CALIBRATION / f"{fingerprint.machine_id(fingerprint.stable())}.json"
            comparisons = {percent: max(len(SUITE), round(n * given.scale)) for percent, n in COMPARISONS.items()}
            budget = parse_duration(given.budget) if given.budget else None
            study(path, comparisons, given.trials, given.revision, budget)
        for changed in calibrated.write(given.results.resolve().parent, given.results / CALIBRATION):
            _say(f"wrote {changed}")
    except (UserError, OSError) as error:
        _say(f"fffbench: {error}")
        return 2
    except KeyboardInterrupt:
        _say("interrupted; finished runs are kept, and the same command continues")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
