"""How often is ``fffbench regress`` wrong, and how often are asv's rules? ``nox -s calibrate`` simulates and measures.

The real part runs the very check that ``regress`` runs, on builds whose truth
is known: two builds of the same sources, and kernels into which a slow-down was
planted; ``--device cuda`` does so with the CUDA kernels. ``asv_rates`` does the
same with asv. Every run is on disk when it ends; the same command continues.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks.studies import asv_rates
from benchmarks.studies.simulate import simulate
from fffbench.analysis import regression
from fffbench.analysis.regression import Plan
from fffbench.devices import HOST
from fffbench.devices.cuda import NAME as CUDA
from fffbench.errors import UserError
from fffbench.regress import build, check, cuda, planted, planted_cuda, run, sources
from fffbench.regress.run import Answer, Builds, Request
from fffbench.regress.suite import CUDA_TOKENS, Suite, suite_of, write_data

CALIBRATION = "calibration"
SAME = 0  # percent planted
# comparisons wanted by percent planted; every case of a run is one
COMPARISONS = {
    HOST: {SAME: 210, 5: 42, 10: 42, 20: 42},
    CUDA: {SAME: 24, 10: 12, 20: 12},  # 12 runs: six minutes on an H200
}
# work is planted into .cu files, so Triton's kernels have no known slow-down


def _cuda_kernels() -> Suite:
    suite = suite_of(CUDA)
    return replace(suite, cases=tuple(case for case in suite.cases if case.implementation == "fff_cuda"))


TRIALS = 4000
REGRESS, ASV = "regress", "asv"
STUDIES = (REGRESS, ASV)

One = Callable[[int, str], dict[str, Any]]  # percent planted and a label: a run as it is stored


def study(path: Path, comparisons: dict[int, int], trials: int, revision: str | None, end: float | None) -> None:
    """Bring the study of the C++ kernels in ``path`` to the wanted counts, continuing what is there."""
    root = sources.repository(revision or ".")
    subject = sources.read(root, revision, sources.CPU)
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

    def one(percent: int, label: str) -> dict[str, Any]:
        return _one(replace(builds, head=heads[percent]), data, workspace, suite_of(HOST), plan, label, None)

    _measure(path, state, comparisons, suite_of(HOST), one, end)


def study_cuda(path: Path, comparisons: dict[int, int], revision: str | None, end: float | None) -> None:
    """The same for the CUDA kernels of this machine's GPU; ``UserError`` where there is none."""
    if (reason := cuda.reason()) is not None:
        raise UserError(f"--device cuda: {reason}")
    root = sources.repository(revision or ".")
    subject, kernels = sources.read(root, revision, sources.CUDA), _cuda_kernels()
    plan = Plan()
    state = _load(path)
    state["plan"] = regression.plan_json(plan)
    workspace = root / check.WORKSPACE
    data = write_data(workspace, CUDA_TOKENS)
    with cuda.Server() as server:
        builds = cuda.build_all(subject, subject, kernels, workspace, data, server, _say)
        wanted = {f"head{n}": (planted_cuda.plant(subject, n), f"head{n}") for n in comparisons if n != SAME}
        slower = cuda.compile_all(wanted, kernels.cases, workspace, data, server, _say, CUDA)

        def one(percent: int, label: str) -> dict[str, Any]:
            sides = replace(builds, head=slower[f"head{percent}"]) if percent != SAME else builds
            return _one(sides, data, workspace, kernels, plan, label, server)

        _measure(path, state, comparisons, kernels, one, end)


def _measure(
    path: Path, state: dict[str, Any], comparisons: dict[int, int], suite: Suite, one: One, end: float | None
) -> None:
    """Runs of all kinds in turn, each stored when it ends, until there are enough or ``end`` has come."""
    while (kind := _next(of_device(state["runs"], suite.device), comparisons)) is not None:
        if end is not None and time.monotonic() > end:
            _say("the time budget ends; the same command continues")
            return
        number = len(state["runs"])
        state["runs"].append({"planted": kind, "device": suite.device, **one(kind, f"calibration {number}")})
        _store(path, state)
        last = state["runs"][-1]
        _say(f"run {number}: {kind} % planted: {last['answer']}, {last['blocks']} blocks, {last['seconds']:.0f} s")


def of_device(runs: Sequence[dict[str, Any]], device: str) -> list[dict[str, Any]]:
    """The runs of one device; those from before there were two are of the CPU."""
    return [item for item in runs if item.get("device", HOST) == device]


def _one(
    builds: Builds,
    data: Path,
    workspace: Path,
    suite: Suite,
    plan: Plan,
    label: str,
    work: Callable[[Request], Answer] | None,
) -> dict[str, Any]:
    began = time.monotonic()
    outcome = run.compare(builds, data, workspace / "journals", suite=suite, plan=plan, label=label, work=work)
    return {
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
    from benchmarks.studies import calibrated

    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies.calibrate", description=__doc__.split("\n")[0])
    parser.add_argument("--results", type=Path, default=Path("results"), help="the folder of results")
    parser.add_argument("--revision", help="whose kernels (default: the working tree; for asv its commit)")
    parser.add_argument("--device", choices=tuple(COMPARISONS), default=HOST, help="whose kernels; cuda: no asv")
    parser.add_argument("--study", choices=STUDIES, action="append", help="only this one; may be given twice")
    parser.add_argument("--budget", help="stop after this time, such as 20m; the same command continues")
    parser.add_argument("--trials", type=int, default=TRIALS, help="of every rule, model and slow-down")
    parser.add_argument("--scale", type=float, default=1.0, help="times the numbers of comparisons")
    parser.add_argument("--tables", action="store_true", help="measure nothing; write the tables of what is there")
    given = parser.parse_args(arguments)
    try:
        if not given.tables:
            _studies(given)
        for changed in calibrated.write(given.results.resolve().parent, given.results / CALIBRATION):
            _say(f"wrote {changed}")
    except ModuleNotFoundError as error:  # asv, on a machine lent for its GPU; the study itself is stored
        _say(f"the tables were not written: {error.name} is not installed here")
        return 0 if not given.tables else 2
    except (UserError, OSError) as error:
        _say(f"fffbench: {error}")
        return 2
    except KeyboardInterrupt:
        _say("interrupted; finished runs are kept, and the same command continues")
        return 130
    return 0


def _studies(given: argparse.Namespace) -> None:
    from fffbench.measure import fingerprint, lock
    from fffbench.units import parse_duration

    end = time.monotonic() + parse_duration(given.budget) if given.budget else None
    folder = given.results / CALIBRATION
    name = f"{fingerprint.machine_id(fingerprint.stable())}.json"
    suite = _cuda_kernels() if given.device == CUDA else suite_of(HOST)
    wanted = COMPARISONS[given.device]
    comparisons = {percent: max(len(suite.cases), round(n * given.scale)) for percent, n in wanted.items()}
    studies = given.study or STUDIES
    if REGRESS in studies:
        with lock.machine("fffbench calibrate"):
            if suite.device == HOST:
                study(folder / name, comparisons, given.trials, given.revision, end)
            else:
                study_cuda(folder / name, comparisons, given.revision, end)
    if ASV in studies and suite.device == HOST:  # asv takes the machine's lock itself, for every pair
        pairs = {percent: max(1, round(n * given.scale)) for percent, n in asv_rates.PAIRS.items()}
        workspace = sources.repository() / check.WORKSPACE / "asv"
        asv_rates.study(folder / ASV / name, workspace, given.revision or "HEAD", pairs, end, _say)


if __name__ == "__main__":
    sys.exit(main())
