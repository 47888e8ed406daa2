"""Which of two implementations is the faster, by the rule that ``regress`` is calibrated for?

The blocks, looks, margins and error rates are those of a regression check (``analysis.regression``), asked in both
directions: B slower than A, A slower than B, each with half of the chance of a false alarm. The same implementation
beside itself is the control. A slow-down cannot be planted into somebody else's kernel, so that control is not here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from fffbench.analysis import regression
from fffbench.analysis.regression import INCONCLUSIVE, Bounds, Control, Plan
from fffbench.errors import UserError
from fffbench.plan.workload import Cell, Protocol, Workload
from fffbench.regress.cuda import Server

SLOWER, FASTER, SAME = "slower", "faster", "same"  # B, compared with A
CASE_SECONDS = 0.04  # of turns for each side of a case in a block, as ``run``
A, B, AGAIN = "a", "b", "a again"
WARM = Protocol("warm", "kernel")

Say = Callable[[str], None]


@dataclass(frozen=True)
class Side:
    """An implementation's name, and the folder that holds this version of it (empty: the one that is installed)."""

    name: str
    folder: str = ""
    written: str = field(default="", compare=False)

    @property
    def shown(self) -> str:
        """As the user wrote it: the table is commented where others read it, and a whole path is nobody's business."""
        return self.written or (f"{self.name}@{self.folder}" if self.folder else self.name)


def read_side(text: str) -> Side:
    """``NAME`` or ``NAME@FOLDER``."""
    name, _, folder = text.partition("@")
    if not name.isidentifier():
        raise UserError(f"{text!r}: write an implementation's name, or NAME@FOLDER for a version of it in a folder")
    if "@" in text and not Path(folder).is_dir():
        raise UserError(f"{text!r}: there is no folder {folder!r}; NAME@FOLDER names the folder of a package or module")
    return Side(name, str(Path(folder).resolve()) if folder else "", text)


@dataclass(frozen=True)
class Row:
    """One workload: the answer about B, and B's time over A's with its bounds."""

    case: str
    answer: str
    ratio: float | None
    low: float | None
    high: float | None
    a_seconds: float | None
    b_seconds: float | None
    blocks: int


@dataclass(frozen=True)
class Duel:
    """What a comparison of two sides found; ``refused`` says of a workload which side could not, and why."""

    a: str
    b: str
    answer: str
    rows: tuple[Row, ...]
    control: Control
    refused: dict[str, str]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """As the command line prints it."""
        return asdict(self)


class _Blocks:
    """What was measured so far."""

    def __init__(self, cases: Sequence[Workload], plan: Plan) -> None:
        self._names = [work.id for work in cases]
        self._plan = replace(plan, false_alarm=plan.false_alarm / 2)  # each direction has its half
        self._ratios: dict[str, list[float]] = {name: [] for name in self._names}
        self._times: dict[str, dict[str, list[float]]] = {name: {A: [], B: []} for name in self._names}
        self._control: list[float] = []
        self.refused: dict[str, str] = {}
        self.count = 0

    def add(self, answer: dict[str, Any]) -> None:
        """Take in one block."""
        for case, sides in answer["times"].items():
            self._ratios[case].append(regression.block_log_ratio(sides[A], sides[B]))
            for side in (A, B):
                self._times[case][side].append(float(np.median(sides[side])))
            if AGAIN in sides:
                self._control.append(regression.block_log_ratio(sides[A], sides[AGAIN]))
        for case, reasons in answer["reasons"].items():
            self.refused[case] = "; ".join(f"{side}: {reason}" for side, reason in sorted(reasons.items()))
        self.count += 1

    def compared(self) -> list[str]:
        """The workloads that both sides can do."""
        return [name for name in self._names if name not in self.refused]

    def answers(self) -> dict[str, str]:
        """The answer about B by workload, at the last look reached."""
        names = self.compared()
        if not names or not self.count:
            return dict.fromkeys(names, INCONCLUSIVE)
        table = np.full((len(names), self.count), np.nan)
        for row, name in enumerate(names):
            table[row, : len(self._ratios[name])] = self._ratios[name]
        slower, _ = regression.replay(table, self._plan)
        faster, _ = regression.replay(-table, self._plan)
        found = {}
        for name, one, other in zip(names, slower, faster, strict=True):
            if regression.REGRESSION_CODE in (one, other):
                found[name] = SLOWER if one == regression.REGRESSION_CODE else FASTER
            else:
                found[name] = SAME if one == other == regression.NONE_CODE else INCONCLUSIVE
        return found

    def row(self, name: str, answer: str) -> Row:
        """What is known of one workload."""
        ratios, times = self._ratios[name], self._times[name]
        known: Bounds | None = regression.bounds(ratios, self._plan) if len(ratios) > 1 else None
        both = [float(np.median(times[side])) if times[side] else None for side in (A, B)]
        ratio, low, high = (known.ratio, known.low, known.high) if known else (None, None, None)
        return Row(name, answer, ratio, low, high, both[0], both[1], len(ratios))

    def control(self) -> Control:
        """A beside A must not move."""
        found = regression.twin_control(self._control, self._plan)
        return Control("A beside A", found.passed, found.said.replace("two builds of the base", "A beside A"))


def duel(first: Side, second: Side, cases: Sequence[Workload], plan: Plan, deadline: float, say: Say) -> Duel:
    """Measure block after block until every workload is decided, the plan ends or ``deadline`` (monotonic) has come."""
    began, blocks = time.monotonic(), _Blocks(cases, plan)
    sides = {A: first, B: second, AGAIN: first}
    with Server("fffbench.regress.duel_worker") as server:
        while blocks.count < plan.limit:
            answers = blocks.answers()
            due = [work for work in cases if answers.get(work.id) == INCONCLUSIVE]
            spent = time.monotonic() - began
            if not due or (blocks.count and time.monotonic() + spent / blocks.count > deadline):
                break
            # the control takes its turns in the first workload, as long as it decides something
            with_control = blocks.count < plan.looks[0] or not blocks.control().passed
            blocks.add(server(_request(sides, due, blocks.count, with_control=with_control)))
            if blocks.count in plan.looks:
                open_ = list(blocks.answers().values()).count(INCONCLUSIVE)
                say(f"{blocks.count} blocks (at most {plan.limit}), {open_} of {len(cases)} workloads undecided")
    answers, control = blocks.answers(), blocks.control()
    rows = tuple(blocks.row(name, answers[name]) for name in blocks.compared())
    return Duel(
        first.shown, second.shown, _overall(rows, control), rows, control, blocks.refused, time.monotonic() - began
    )


def _overall(rows: Sequence[Row], control: Control) -> str:
    """One answer: B is slower if it is anywhere, faster if it is somewhere and nowhere slower."""
    answers = {row.answer for row in rows}
    if not rows or not control.passed:
        return INCONCLUSIVE
    if SLOWER in answers:
        return SLOWER
    return INCONCLUSIVE if INCONCLUSIVE in answers else FASTER if FASTER in answers else SAME


def _request(sides: dict[str, Side], due: Sequence[Workload], block: int, *, with_control: bool) -> dict[str, Any]:
    names = [A, B, AGAIN] if with_control else [A, B]
    turned = names[block % len(names) :] + names[: block % len(names)]  # no side is always the first child
    cases = []
    for place, work in enumerate(due):
        own = [name for name in turned if name != AGAIN or place == 0]
        cell = Cell(sides[A].name, work, WARM)
        cases.append({"name": work.id, "cell": cell.id, "threads": work.threads, "sides": own})
    return {
        "seconds": CASE_SECONDS,
        "block": block,
        "sides": [{"name": n, "implementation": sides[n].name, "folder": sides[n].folder} for n in turned],
        "cases": cases,
    }
