"""How does a run go from a preset to a committed result file?

Plan the cells, say how long they will take, measure them into an fsynced
journal, then let pytest-benchmark export the journal as JSON. A run that was
killed is found again by its plan and its sources, and continues.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fffbench.anonymity import neutral
from fffbench.errors import UserError
from fffbench.implementations.registry import broken, implementation, implementations
from fffbench.implementations.registry import reasons as registry_reasons
from fffbench.measure import environment, fingerprint, forecast, lock, provenance
from fffbench.measure.outcome import Outcome, outcome_from_json
from fffbench.measure.processes import Round
from fffbench.measure.session import Plan, Progress, Session
from fffbench.plan.matrix import Axes, Names, cells, preset
from fffbench.plan.workload import Cell, parse_cell
from fffbench.results import chronology
from fffbench.results import names as run_names
from fffbench.results.journal import Journal
from fffbench.results.record import FORMAT, OUT_OF_BUDGET, CellInfo, Check, Machine, RunInfo, Skipped
from fffbench.units import duration

JOURNAL_SUFFIX = ".journal"
DIGITS = 6  # a sample of a second keeps its microseconds; the clock's own grain is coarser on short ones


@dataclass(frozen=True)
class Options:
    """What the user asked for; ``None`` leaves the preset's own value."""

    preset: str = "quick"
    axes: Axes = field(default_factory=Axes)
    processes: int | None = None
    sample_seconds: float | None = None
    budget_seconds: float | None = None


@dataclass(frozen=True)
class Planned:
    """A run about to start or to continue."""

    run: RunInfo
    plan: Plan
    forecast: dict[Cell, float]
    journal: Path
    done: tuple[Outcome, ...] = ()
    locks: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)  # closed when measuring has ended

    @property
    def seconds(self) -> float:
        """What the whole run is expected to take, within its budget."""
        left = sum(
            cost * self.plan.processes - sum(cost for outcome in self.done if outcome.cell == cell.id)
            for cell, cost in self.forecast.items()
        )
        total = left + self.plan.processes * forecast.ROUND_SECONDS
        return min(total, self.plan.budget_seconds or total)


def _runnable(options: Options) -> tuple[Plan, list[tuple[Cell, str]]]:
    """The plan of what can run here, and the cells that cannot, with reasons."""
    environment.clean()
    chosen = preset(options.preset)
    names = Names(
        {name: item.family for name, item in implementations().items()},
        {name: item.devices for name, item in implementations().items()},
    )
    for name in options.axes.implementations:
        if name in broken():
            raise UserError(broken()[name])
    wanted = cells(chosen, options.axes, names, fingerprint.usable_cores(), fingerprint.physical_cores())
    answers = registry_reasons([(implementation(cell.implementation), cell.workload) for cell in wanted])
    reasons = dict(zip(wanted, answers, strict=True))
    on_gpu = [cell for cell, reason in reasons.items() if reason is None and cell.workload.device == "cuda"]
    unnamed = fingerprint.unnamed_accelerator() if on_gpu else None
    reasons |= dict.fromkeys(on_gpu, unnamed)
    plan = Plan(
        tuple(cell for cell in wanted if reasons[cell] is None),
        options.processes or chosen.processes,
        options.sample_seconds or chosen.sample_seconds,
        options.budget_seconds or chosen.budget_seconds,
        frozenset(cell for cell, keep in wanted.items() if keep),
    )
    return plan, [(cell, reason) for cell, reason in reasons.items() if reason is not None]


def _forecast(plan: Plan, ceilings: dict[str, dict[str, float]]) -> dict[Cell, float]:
    """The expected cost of one process of every cell, in seconds."""

    def cost(cell: Cell) -> float:
        chosen = implementation(cell.implementation)
        return forecast.process_seconds(
            forecast.call_seconds(cell, chosen.family, ceilings, chosen.roofline_share),
            plan.sample_seconds,
            device=cell.workload.device,
            slow_to_prepare=chosen.slow_to_prepare,
        )

    return {cell: cost(cell) for cell in plan.cells}


def describe(options: Options) -> Iterator[str]:
    """What ``prepare`` and ``measure`` would do, a line a cell; measures nothing."""
    plan, skipped = _runnable(options)
    costs = _forecast(plan, {})
    for cell in plan.cells:
        yield f"{cell.id}  about {duration(costs[cell] * plan.processes)}"
    for cell, reason in skipped:
        yield f"{cell.id}  not here: {reason}"
    total = sum(costs.values()) * plan.processes + plan.processes * forecast.ROUND_SECONDS
    yield f"{len(plan.cells)} cells, about {duration(min(total, plan.budget_seconds or total))}"


def prepare(options: Options, results_dir: Path, say: Callable[[str], None]) -> Planned:
    """Fingerprint the machine, measure its ceilings, plan the cells; pick up an interrupted run of the same plan.

    Nobody else can measure on this machine or into this folder from here to the end of ``measure``.
    """
    plan, skipped = _runnable(options)
    for reason in broken().values():
        say(f"left out: {reason}")
    if not plan.cells:
        raise UserError(f"nothing to measure: no cell of this plan can run here; {skipped[0][1]}")
    with contextlib.ExitStack() as locks:
        doing = f"fffbench run --preset {options.preset}"
        locks.enter_context(lock.machine(doing))
        facts = fingerprint.stable()
        folder = results_dir / "matrix" / fingerprint.machine_id(facts)
        locks.enter_context(lock.folder(folder, doing))
        run, done, journal = _begun(options, plan, skipped, facts, folder, say)
        plan = replace(plan, ceilings=run.machine.ceilings)
        return Planned(run, plan, _forecast(plan, run.machine.ceilings), journal, tuple(done), locks.pop_all())


def _begun(
    options: Options,
    plan: Plan,
    skipped: list[tuple[Cell, str]],
    facts: dict[str, str],
    folder: Path,
    say: Callable[[str], None],
) -> tuple[RunInfo, tuple[Outcome, ...], Path]:
    """The run that was interrupted, with what it measured; else a new one. And its journal."""
    key, machine = _plan_key(plan), folder.name
    found = _interrupted(folder, key)
    if found is not None:
        say(f"continuing {found[0].run}: {len(found[1])} process results are there already")
        return found
    say(f"measuring the ceilings of {machine}")
    threads = sorted({cell.workload.threads for cell in plan.cells if cell.workload.device == "cpu"} or {1})
    cuda = any(cell.workload.device == "cuda" for cell in plan.cells)
    with Round() as worker:
        ceilings = worker.ceilings(threads, cuda=cuda)
    now, measured = time.gmtime(), provenance.current()
    started = time.strftime(chronology.FORMAT, now)
    if measured.dirty is not False:  # None: nobody can tell
        how = "changed since" if measured.dirty else "not shown to be"
        say(f"the sources are {how} {measured.commit[:10]}; the result says so")
    run = RunInfo(
        format=FORMAT,
        run=run_names.fresh(options.preset, folder, now),
        preset=options.preset,
        started=started,
        commit=measured.shown,
        dirty=measured.dirty,
        sources=f"{measured.shipped}-{measured.compiled}",
        after=chronology.dated_no_earlier(started, run_names.dates(folder)),
        machine=Machine(id=machine, stable=facts, observed=fingerprint.observed(), ceilings=ceilings),
        skipped=[_skipped(cell, reason) for cell, reason in skipped],
    )
    journal = folder / f"{run.run}{JOURNAL_SUFFIX}"
    header = {
        "plan": key,
        "run": run.model_dump(),
        "processes": plan.processes,
        "cells": [cell.id for cell in plan.cells],
    }
    Journal.create(journal, header).close()
    return run, (), journal


def measure(planned: Planned, show: Callable[[Progress], None], told: Callable[[Outcome], None]) -> None:
    """Measure what the journal does not hold yet; every process's result is on the disk before the next begins."""
    with planned.locks, Journal(planned.journal) as journal:
        session = Session(planned.plan, planned.done, planned.forecast, show, seed=int(_digest(planned.run.run), 16))
        for outcome in session.outcomes():
            journal.append({"outcome": outcome.to_json()})
            told(outcome)
        journal.append({"load after": fingerprint.load()})


def export(planned_journal: Path) -> Path:
    """Turn a finished journal into ``<run>.json`` by running the matrix suite over it; the journal is then removed."""
    import pytest

    import fffbench.suite

    target = planned_journal.with_suffix(".json")
    draft = planned_journal.with_suffix(".draft")
    arguments = [
        str(Path(fffbench.suite.__file__).parent / "test_cells.py"),
        "-p", "fffbench.suite", "-p", "no:cacheprovider", "-q", "--no-header", "--no-summary",
        "-c", os.devnull, "--rootdir", str(Path(fffbench.suite.__file__).parent),
        "-W", "ignore", "--benchmark-quiet", "--capture=no", "--tb=short",
        f"--fffbench-journal={planned_journal}", f"--benchmark-json={draft}",
    ]  # fmt: skip
    told = io.StringIO()
    with contextlib.redirect_stdout(told):  # a run's output is its result file, not pytest's report of the export
        code = pytest.main(arguments)
    if code == pytest.ExitCode.INTERRUPTED:
        draft.unlink(missing_ok=True)
        raise KeyboardInterrupt
    if code != pytest.ExitCode.OK or not draft.exists():
        draft.unlink(missing_ok=True)
        raise UserError(f"{planned_journal}: no measured cell to export; it is kept. {told.getvalue()[-300:]}")
    with draft.open("r+", encoding="utf-8") as file:
        stored = json.load(file)
        file.seek(0)
        json.dump(_rounded(stored), file, separators=(",", ":"))
        file.truncate()
        file.flush()
        os.fsync(file.fileno())
    target = run_names.publish(draft, target)
    planned_journal.unlink()
    return target


def _rounded(value: Any) -> Any:
    """``value`` with every float at ``DIGITS`` significant digits: pytest-benchmark's file at a quarter of its size."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value


@dataclass(frozen=True)
class Finished:
    """What a journal amounts to: the run, its measured cells with their samples, and the cells without a time."""

    run: RunInfo
    measured: tuple[CellInfo, ...]


def collect(journal: Path) -> Finished:
    """Read a journal: group outcomes by cell; a cell with a failure in any process is skipped with that reason.

    So is a planned cell that the budget left without a process.
    """
    header, entries = Journal.read(journal)
    try:
        run = RunInfo.model_validate(header["run"])
        outcomes = [outcome_from_json(entry["outcome"]) for entry in entries if "outcome" in entry]
        processes = int(header["processes"])
        planned = [parse_cell(name) for name in header["cells"]]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{journal}: not a journal of this version: {' '.join(str(error).split())[:200]}") from error
    after = [entry["load after"] for entry in entries if "load after" in entry]
    grouped: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        grouped.setdefault(outcome.cell, []).append(outcome)
    skipped, measured = list(run.skipped), []
    skipped += [_skipped(cell, OUT_OF_BUDGET) for cell in planned if cell.id not in grouped]
    for name, group in grouped.items():
        failures = [outcome.failure for outcome in group if outcome.failure is not None]
        if failures:
            skipped.append(_skipped(parse_cell(name), failures[0]))
        else:
            measured.append(_cell_info(name, group, processes))
    observed = {**run.machine.observed, **({"load after": after[-1]} if after else {})}
    machine = run.machine.model_copy(update={"observed": observed})
    return Finished(run.model_copy(update={"skipped": skipped, "machine": machine}), tuple(measured))


def _cell_info(name: str, group: list[Outcome], processes: int) -> CellInfo:
    ordered = sorted(group, key=lambda outcome: outcome.process)
    worst = max(ordered, key=lambda outcome: outcome.error / outcome.tolerance if outcome.tolerance else 0.0)
    chosen = implementation(parse_cell(name).implementation)
    notes = list(dict.fromkeys(note for outcome in ordered for note in outcome.notes))
    if len(ordered) < processes:
        notes.append(f"{len(ordered)} of {processes} processes: the rest was out of the time budget")
    return CellInfo(
        cell=name,
        family=chosen.family,
        summary=chosen.summary,
        threads_ran=[outcome.threads_ran for outcome in ordered if outcome.threads_ran],
        processes=[list(outcome.samples) for outcome in ordered],
        check=Check(
            error=worst.error,
            tolerance=worst.tolerance,
            tokens=worst.tokens,
            diverged=worst.diverged,
            diverged_cap=worst.diverged_cap,
        ),
        distinct_rows=ordered[0].distinct_rows,
        prepare_seconds=min(outcome.prepare_seconds for outcome in ordered),
        extra_bytes=max(outcome.extra_bytes for outcome in ordered),
        planned_processes=processes,
        notes=notes,
    )


def _skipped(cell: Cell, reason: str) -> Skipped:
    return Skipped(cell=cell.id, family=implementation(cell.implementation).family, reason=neutral(reason))


def _interrupted(folder: Path, key: str) -> tuple[RunInfo, tuple[Outcome, ...], Path] | None:
    for path in sorted(folder.glob(f"*{JOURNAL_SUFFIX}"), reverse=True):
        if b"\n" not in path.read_bytes():
            path.unlink()  # killed while its header was written: nothing is in it
            continue
        header, entries = Journal.read(path)
        if header.get("plan") == key:
            outcomes = tuple(outcome_from_json(entry["outcome"]) for entry in entries if "outcome" in entry)
            return RunInfo.model_validate(header["run"]), outcomes, path
    return None


def _plan_key(plan: Plan) -> str:
    """Identifies a run worth continuing: the same cells, effort, sources, libraries and surroundings."""
    parts: list[Any] = [[cell.id for cell in plan.cells], plan.processes, plan.sample_seconds]
    parts += provenance.surroundings()
    return _digest(repr(parts))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
