"""What does a run measure, how long will it take, and is it the continuation of one that was killed?

``prepare`` plans the cells and begins a journal, or finds the one of the same
plan and sources. From there ``runs.lifecycle`` measures into it, and
``suite.export`` makes a result file of it.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fffbench import timed
from fffbench.anonymity import neutral
from fffbench.devices import DEVICES, HOST
from fffbench.errors import UserError
from fffbench.implementations.registry import broken, implementation, implementations
from fffbench.implementations.registry import reasons as registry_reasons
from fffbench.measure import environment, fingerprint, forecast, host, lock, provenance
from fffbench.measure.outcome import NEVER, Outcome, plain
from fffbench.measure.processes import Round
from fffbench.measure.session import Plan
from fffbench.plan.blocks import in_block
from fffbench.plan.matrix import Axes, Names, cells, preset
from fffbench.plan.presets import Preset
from fffbench.plan.workload import Cell, parse_cell
from fffbench.results.current import current
from fffbench.results.journal import Journal
from fffbench.results.record import Machine, RunInfo, Skipped
from fffbench.runs import forecasts, journals
from fffbench.runs.journals import Described, Header
from fffbench.runs.naming import new_run
from fffbench.runs.release import processes_of_visit
from fffbench.runs.sources import Sources, measured_sources


@dataclass(frozen=True)
class Options:
    """What the user asked for; ``None`` leaves the preset's own value."""

    preset: str = "quick"
    axes: Axes = field(default_factory=Axes)
    processes: int | None = None
    sample_seconds: float | None = None
    budget_seconds: float | None = None
    only: frozenset[str] | None = None  # ids of cells: of the others nothing is said or measured
    cells: tuple[Cell, ...] | None = None  # just these instead of a preset's, under a name that no preset has
    command: str = ""  # what the user typed, where it was not ``fffbench run``

    @property
    def in_visits(self) -> bool:
        """Whether it is a whole preset whose processes are spread over several visits (``runs.release``)."""
        return self.cells is None and self.only is None and preset(self.preset).visits > 1

    @property
    def typed(self) -> str:
        """The command that asks for this, for messages."""
        return self.command or f"fffbench run {' '.join(self._arguments())}"

    def _arguments(self) -> Iterator[str]:
        yield f"--preset {self.preset}"
        names = {"routings": "routing", "caches": "cache", "calls": "call", "shapes": "shape"}
        for field_, values in vars(self.axes).items():
            if values:
                yield f"--{names.get(field_, field_)} {','.join(getattr(value, 'id', str(value)) for value in values)}"
        if self.processes is not None:
            yield f"--processes {self.processes}"
        if self.sample_seconds is not None:
            yield f"--seconds {self.sample_seconds:g}"
        if self.budget_seconds is not None:
            yield f"--budget {self.budget_seconds:g}s"


@dataclass(frozen=True)
class Planned:
    """A run about to start or to continue."""

    run: RunInfo
    plan: Plan
    forecast: dict[Cell, float]
    journal: Path
    sources: Sources
    done: tuple[Outcome, ...] = ()
    locks: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)  # closed when measuring has ended

    @property
    def seconds(self) -> float:
        """What the whole run is expected to take, within its budget."""
        left = sum(
            cost * self.plan.processes - sum(cost for outcome in self.done if _settles(outcome, cell))
            for cell, cost in self.forecast.items()
        )
        total = left + self.plan.processes * forecast.ROUND_SECONDS
        return min(total, self.plan.budget_seconds or total)


def _settles(outcome: Outcome, cell: Cell) -> bool:
    """Whether ``outcome`` leaves nothing more to measure of its process of ``cell``."""
    return outcome.cell == cell.id and (outcome.failure is None or outcome.retry == NEVER)


def runnable(options: Options) -> tuple[Plan, list[tuple[Cell, str]]]:
    """The plan of what can run here, and the cells that cannot, with reasons."""
    environment.clean()
    chosen = preset(options.preset) if options.cells is None else Preset(options.preset, "", ())
    for name in options.axes.implementations:
        if name in broken():
            raise UserError(broken()[name])
    wanted = dict.fromkeys(options.cells, True) if options.cells is not None else cells_of(chosen, options)
    if options.only is not None:
        wanted = {cell: keep for cell, keep in wanted.items() if cell.id in options.only}
    answers = registry_reasons([(implementation(cell.implementation), cell.workload) for cell in wanted])
    reasons = dict(zip(wanted, answers, strict=True))
    runnable = [cell for cell, reason in reasons.items() if reason is None]
    unnamed = {name: DEVICES[name].unnamed() for name in {cell.workload.device for cell in runnable}}
    reasons |= {cell: _no_such_call(cell) or unnamed[cell.workload.device] for cell in runnable}
    plan = Plan(
        tuple(cell for cell in wanted if reasons[cell] is None),
        options.processes or chosen.processes,
        options.sample_seconds or chosen.sample_seconds,
        options.budget_seconds or chosen.budget_seconds,
        frozenset(cell for cell, keep in wanted.items() if keep),
    )
    return plan, [(cell, reason) for cell, reason in reasons.items() if reason is not None]


def cells_of(chosen: Preset, options: Options) -> dict[Cell, bool]:
    """The cells of a preset on this machine, with the axes asked for; True for those to keep."""
    names = Names(
        {name: item.family for name, item in implementations().items()},
        {name: item.devices for name, item in implementations().items()},
        {name: item.kinds for name, item in implementations().items()},
    )
    return cells(chosen, options.axes, names, fingerprint.usable_cores(), fingerprint.physical_cores())


def _no_such_call(cell: Cell) -> str | None:
    """Why the device of ``cell`` cannot time the call that it asks for, or None."""
    device, call = cell.workload.place, cell.protocol.call
    return None if call in device.calls else f"{device.name} has the calls {', '.join(device.calls)}, not {call}"


def planned_cells(options: Options) -> dict[str, str | None]:
    """Every cell that ``options`` plan, by id: None, or why it cannot run here. Measures nothing."""
    plan, skipped = runnable(options)
    return {**dict.fromkeys((cell.id for cell in plan.cells), None), **{cell.id: why for cell, why in skipped}}


def of_block(options: Options, block: str) -> Options:
    """``options`` for the cells of one block alone (``plan.blocks``): of a preset of visits, one visit of it."""
    held = in_block(map(parse_cell, planned_cells(options)), block)
    typed = f"{options.typed} --block {block}"
    processes = options.processes
    if processes is None and options.in_visits:
        processes = processes_of_visit(preset(options.preset).processes, preset(options.preset).visits)
    return replace(options, only=frozenset(cell.id for cell in held), processes=processes, command=typed)


def costs_of(
    plan: Plan, ceilings: dict[str, dict[str, float]], known: forecasts.Learnt | None = None
) -> dict[Cell, float]:
    """The expected cost of one process of every cell, in seconds; ``known`` is what was measured here before."""
    known = known or forecasts.Learnt()

    def guess(cell: Cell) -> float:
        chosen = implementation(cell.implementation)
        return forecast.call_seconds(cell, chosen.family, ceilings, chosen.roofline_share)

    def cost(cell: Cell) -> float:
        slow = implementation(cell.implementation).slow_to_prepare
        return known.process(cell, guess, plan.sample_seconds, slow_to_prepare=slow)

    return {cell: cost(cell) for cell in plan.cells}


@dataclass(frozen=True)
class Expected:
    """A plan as it is expected to go: seconds by cell for all its processes, the cells that cannot run, and all."""

    seconds: dict[Cell, float]
    skipped: list[tuple[Cell, str]]
    processes: int
    total: float
    measured_before: int  # cells whose own time on this machine is stored


def expected(options: Options, results_dir: Path) -> Expected:
    """What ``prepare`` and ``measure`` would do; measures nothing."""
    plan, skipped = runnable(options)
    known = forecasts.learnt(results_dir, fingerprint.machine_id(fingerprint.stable()), others=True)
    costs = {cell: cost * plan.processes for cell, cost in costs_of(plan, known.ceilings, known).items()}
    total = sum(costs.values()) + plan.processes * forecast.ROUND_SECONDS
    return Expected(
        costs,
        skipped,
        plan.processes,
        min(total, plan.budget_seconds or total),
        sum(map(known.knows, plan.cells)),
    )


def prepare(options: Options, results_dir: Path, say: Callable[[str], None]) -> Planned:
    """Fingerprint the machine, measure its ceilings, plan the cells; pick up an interrupted run of the same plan.

    Nobody else can measure on this machine or into this folder from here to the end of ``measure``.
    """
    plan, skipped = runnable(options)
    for reason in broken().values():
        say(f"left out: {reason}")
    if not plan.cells:
        raise UserError(f"nothing to measure: no cell of this plan can run here; {skipped[0][1]}")
    with contextlib.ExitStack() as locks:
        doing = options.command or f"fffbench run --preset {options.preset}"
        locks.enter_context(lock.machine(doing))
        facts = fingerprint.stable()
        folder = results_dir / "matrix" / fingerprint.machine_id(facts)
        locks.enter_context(lock.folder(folder, doing))
        sources = measured_sources(implementation(name) for name in {cell.implementation for cell in plan.cells})
        key = plan_key(plan, sources, options)
        kept = journals.resumable(folder, key, say)
        if kept is not None:
            good = sum(outcome.failure is None for outcome in kept.outcomes)
            say(f"continuing {kept.run.run}: {good} process results are there already")
            run, done, journal = kept.run, kept.outcomes, kept.path
        else:
            run, journal = _begun(options, plan, skipped, facts, folder, say, key)
            done = ()
        others = journals.unfinished(results_dir, but=journal)
        if others is not None:
            say(others)
        plan = replace(plan, ceilings=run.machine.ceilings)
        known = forecasts.learnt(results_dir, folder.name)
        costs = costs_of(plan, run.machine.ceilings, known)
        return Planned(run, plan, costs, journal, sources, done, locks.pop_all())


def _begun(
    options: Options,
    plan: Plan,
    skipped: list[tuple[Cell, str]],
    facts: dict[str, str],
    folder: Path,
    say: Callable[[str], None],
    key: str,
) -> tuple[RunInfo, Path]:
    """A new run and its journal."""
    machine = folder.name
    say(f"measuring the ceilings of {machine}")
    threads = {HOST: {1}} | {name: set[int]() for name in dict.fromkeys(cell.workload.device for cell in plan.cells)}
    for cell in plan.cells:
        threads[cell.workload.device].add(cell.workload.threads)
    with Round() as worker:
        ceilings = worker.ceilings({name: sorted(counts) for name, counts in threads.items()})
    known = Machine(id=machine, stable=facts, observed=fingerprint.observed(), ceilings=ceilings, host=host.anonymous())
    run = new_run(options.preset, folder, known, say, [_skipped(cell, reason) for cell, reason in skipped])
    journal = folder / f"{run.run}{journals.SUFFIX}"
    described = {name: implementation(name) for name in sorted({cell.implementation for cell in plan.cells})}
    if unknown := [name for name in described if current(name) is None]:
        say(
            f"nobody can know the sources of {', '.join(unknown)} here (kernels built from others than those beside, "
            "or a package edited in place): the result says so, no run is pooled with it and no release counts it"
        )
    header = Header(
        plan=key,
        run=run,
        processes=plan.processes,
        cells=[cell.id for cell in plan.cells],
        implementations={
            name: Described(
                family=item.family, summary=str(plain(item.summary)), timed_sources=current(name) or timed.UNKNOWN
            )
            for name, item in described.items()
        },
        command=options.typed,
    )
    Journal.create(journal, journals.to_json(header)).close()
    return run, journal


def _skipped(cell: Cell, reason: str) -> Skipped:
    return Skipped(cell=cell.id, family=implementation(cell.implementation).family, reason=str(plain(neutral(reason))))


def plan_key(plan: Plan, sources: Sources, options: Options) -> str:
    """Identifies a run worth continuing: the same cells, effort, sources, libraries, surroundings, command."""
    parts: list[Any] = [[cell.id for cell in plan.cells], plan.processes, plan.sample_seconds, sources.digest]
    parts += provenance.surroundings()
    return _digest(repr([*parts, *([options.command] if options.command else [])]))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
