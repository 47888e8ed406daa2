"""How does a comparison of two revisions proceed, block by block, until it is decided?

Every block is one fresh worker (see ``worker``). Finished blocks are on disk
at once, so an interrupted comparison continues where it was. The plan decides
after which blocks the data are looked at; between looks nothing is.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fffbench.analysis import regression
from fffbench.analysis.regression import Bounds, Control, Plan
from fffbench.devices import HOST
from fffbench.errors import UserError
from fffbench.parent import end_with_parent
from fffbench.regress.suite import PLANTED_PERCENT, Case, Suite, suite_of
from fffbench.results.journal import Journal

BASE, HEAD, TWIN, PLANTED = "base", "head", "twin", "planted"
CASE_SECONDS = 0.04  # of turns for each side of a case in a block; a block of the default suite takes 1.2 s
BLOCK_LIMIT_SECONDS = 120.0
WORKER = Path(__file__).with_name("worker.py")
# one thread in numpy's BLAS: the drift control runs on the core the kernels run on
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

Request = dict[str, Any]
Answer = dict[str, Any]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Builds:
    """The builds of one comparison, an extension or a folder of sources each.

    Head, base, a second build of the base, and the base made slower.
    """

    base: Path
    head: Path
    twin: Path
    planted: Path

    def sides(self) -> dict[str, Path]:
        """Path by side."""
        return {BASE: self.base, HEAD: self.head, TWIN: self.twin, PLANTED: self.planted}


@dataclass(frozen=True)
class Outcome:
    """What a comparison found; ``blocks`` and ``bounds`` by case, ``seconds`` of the base by case."""

    answer: str
    reason: str
    cases: dict[str, str]
    bounds: dict[str, Bounds]
    blocks: dict[str, list[float]]
    base_seconds: dict[str, float]
    controls: tuple[Control, ...]
    control_blocks: tuple[list[float], ...]
    skipped: dict[str, str]


class Measured:
    """The blocks so far, and what follows from them; grows by ``add``."""

    def __init__(self, suite: Suite, plan: Plan) -> None:
        """Start with no block."""
        self._suite, self._plan = suite, plan
        self._ratios: dict[tuple[str, str], list[float]] = {}
        self._base: dict[str, list[float]] = {}
        self.skipped: dict[str, str] = {}
        self.count = 0

    def add(self, answer: Answer) -> None:
        """Take in the answer of one worker."""
        for case, sides in answer["times"].items():
            self._base.setdefault(case, []).append(float(np.median(sides[BASE])))
            for side, times in sides.items():
                if side != BASE:
                    ratio = regression.block_log_ratio(sides[BASE], times)
                    self._ratios.setdefault((case, side), []).append(ratio)
        for case, reasons in answer["reasons"].items():
            self.skipped[case] = "; ".join(f"{side}: {reason}" for side, reason in sorted(reasons.items()))
        self.count += 1

    def blocks(self, case: str, side: str = HEAD) -> list[float]:
        """Block log-ratios of a case."""
        return self._ratios.get((case, side), [])

    def compared(self) -> list[Case]:
        """The cases that both sides have."""
        return [case for case in self._suite.cases if case.name not in self.skipped]

    def answers(self) -> dict[str, str]:
        """The answer of every case at the last look reached."""
        cases = self.compared()
        if not cases or not self.count:
            return {case.name: regression.INCONCLUSIVE for case in cases}
        table = np.full((len(cases), self.count), np.nan)
        for row, case in enumerate(cases):
            values = self.blocks(case.name)
            table[row, : len(values)] = values
        codes, _ = regression.replay(table, self._plan)
        return {case.name: regression.NAMES[code] for case, code in zip(cases, codes, strict=True)}

    def controls(self) -> tuple[Control, ...]:
        """Drift, control pair and planted slow-down."""
        drift, twin, planted = self.control_blocks()
        found = (
            regression.drift_control(drift, self._plan),
            regression.twin_control(twin, self._plan),
            regression.planted_control(planted, PLANTED_PERCENT, self._plan),
        )
        return tuple(replace(control, name=self._suite.control(control.name)) for control in found)

    def control_blocks(self) -> tuple[list[float], list[float], list[float]]:
        """Block log-ratios of the controls, in their order."""
        suite = self._suite
        return (
            self.blocks(suite.drift.name),
            self.blocks(suite.twin.name, TWIN),
            self.blocks(suite.planted.name, PLANTED),
        )

    def next_cases(self) -> list[tuple[Case, tuple[str, str]]]:
        """Cases of the next block, with their sides; empty where everything is decided or the limit is reached."""
        if self.count >= self._plan.limit:
            return []
        answers = self.answers()
        due = [case for case in self.compared() if answers[case.name] == regression.INCONCLUSIVE]
        planted = self.count < self._plan.looks[0] or not self.controls()[2].passed
        if not due and not planted:
            return []
        chosen = [(case, (BASE, HEAD)) for case in [*due, self._suite.drift]]
        if planted:
            chosen += [(self._suite.twin, (BASE, TWIN)), (self._suite.planted, (BASE, PLANTED))]
        return chosen

    def outcome(self) -> Outcome:
        """The answer as things stand."""
        answers, controls = self.answers(), self.controls()
        answer, reason = regression.overall(list(answers.values()), controls)
        kept = {name: self.blocks(name) for name in answers}
        return Outcome(
            answer=answer,
            reason=reason,
            cases=answers,
            bounds={name: regression.bounds(blocks, self._plan) for name, blocks in kept.items() if len(blocks) > 1},
            blocks=kept,
            base_seconds={name: float(np.median(self._base[name])) for name in answers if name in self._base},
            controls=controls,
            control_blocks=self.control_blocks(),
            skipped=dict(self.skipped),
        )


def compare(
    builds: Builds,
    data: Path,
    journals: Path,
    *,
    suite: Suite | None = None,
    plan: Plan | None = None,
    deadline: float | None = None,
    say: Say = lambda _: None,
    work: Callable[[Request], Answer] | None = None,
    label: str = "",
) -> Outcome:
    """Measure until every case is decided, the plan's limit is reached or ``deadline`` (``time.monotonic``) has come.

    Blocks already in the journal of the same builds, suite, plan and ``label`` are taken from there; the journal
    is removed when the comparison has ended by itself. ``work`` measures one block (default: a fresh worker).
    """
    suite, plan = suite or suite_of(HOST), plan or Plan()
    work = work or run_worker
    measured = Measured(suite, plan)
    header = _header(builds, suite, plan, label)
    path = journals / f"{hashlib.sha256(json.dumps(header).encode()).hexdigest()[:16]}.jsonl"
    with _open(path, header) as journal:
        for entry in Journal.read(path, say)[1]:
            measured.add(entry)
        if measured.count:
            say(f"continuing after {measured.count} blocks")
        began, first = time.monotonic(), measured.count
        ended = False
        chosen = measured.next_cases()
        while chosen:
            if deadline is not None and time.monotonic() + _seconds_a_block(began, measured.count - first) > deadline:
                say(f"the time budget ends after {measured.count} blocks")
                break
            answer = work(_request(suite, builds, data, chosen, measured.count))
            journal.append(answer)
            measured.add(answer)
            chosen = measured.next_cases()  # another choice at a look only; after the first block without refused cases
            if measured.count in plan.looks:
                say(_progress(measured, plan))
        else:
            ended = True
    outcome = measured.outcome()
    if ended:
        path.unlink(missing_ok=True)
    return outcome


def run_worker(request: Request) -> Answer:
    """One block in a fresh worker."""
    environment = {name: value for name, value in os.environ.items() if name in ("PATH", "LD_LIBRARY_PATH", "HOME")}
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", str(WORKER)],
            input=json.dumps(request).encode(),
            capture_output=True,
            env={**environment, **ENVIRONMENT},
            timeout=BLOCK_LIMIT_SECONDS,
            preexec_fn=partial(end_with_parent, os.getpid()),
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UserError(f"a block took longer than {BLOCK_LIMIT_SECONDS:.0f} s; a kernel may hang") from error
    if done.returncode != 0:
        last = done.stderr.decode(errors="replace").strip().split("\n")[-1]
        raise UserError(f"a worker failed: {last or f'exit code {done.returncode}'}")
    answer: Answer = json.loads(done.stdout)
    return answer


def _request(
    suite: Suite, builds: Builds, data: Path, chosen: Sequence[tuple[Case, tuple[str, str]]], block: int
) -> Request:
    used = {side for _, sides in chosen for side in sides}
    # the fork order changes from block to block, so that no side is always the first child
    sides = [name for name in builds.sides() if name in used]
    turned = sides[block % len(sides) :] + sides[: block % len(sides)]
    return {
        "packages": [str(Path(np.__file__).parents[1])],
        "device": suite.device,
        "data": str(data),
        "seconds": CASE_SECONDS,
        "block": block,
        "sides": [{"name": name, "build": str(builds.sides()[name])} for name in turned],
        "cases": [{**case.request, "sides": [n for n in turned if n in sides_of]} for case, sides_of in chosen],
    }


def _header(builds: Builds, suite: Suite, plan: Plan, label: str) -> dict[str, Any]:
    return {
        "builds": {side: path.parent.name for side, path in builds.sides().items()},
        "cases": [case.request for case in suite.cases],
        "plan": regression.plan_json(plan),
        "label": label,
    }


def _open(path: Path, header: dict[str, Any]) -> Journal:
    return Journal(path) if path.exists() else Journal.create(path, header)


def _seconds_a_block(began: float, blocks: int) -> float:
    return (time.monotonic() - began) / blocks if blocks else 0.0


def _progress(measured: Measured, plan: Plan) -> str:
    answers = list(measured.answers().values())
    undecided = answers.count(regression.INCONCLUSIVE)
    return f"{measured.count} blocks (at most {plan.limit}), {undecided} of {len(answers)} cases undecided"
