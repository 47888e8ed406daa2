"""How does a run over whole models begin, continue and end? As one over layers: lock, journal, result file.

``prepare`` plans and begins a journal, or finds that of an interrupted run of the same plan, sources and surroundings;
``measure`` fills it, and ``exporting`` makes a result file of it in ``results/models/<machine>/``.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fffbench import sources, timed
from fffbench.anonymity import neutral
from fffbench.devices import device
from fffbench.errors import UserError
from fffbench.measure import environment, fingerprint, host, lock, memory, provenance
from fffbench.measure.outcome import plain
from fffbench.measure.session import Progress
from fffbench.models.journal import SUFFIX, Header, read_journal
from fffbench.models.outcome import ModelOutcome
from fffbench.models.session import FIRST_COST, ModelPlan, ModelSession
from fffbench.models.worker import ENVIRONMENT
from fffbench.plan.models import ModelCell
from fffbench.plan.presets_of_models import ModelAxes, model_cells, model_preset
from fffbench.results.current import current
from fffbench.results.journal import Journal
from fffbench.results.models import ROOM
from fffbench.results.record import Machine
from fffbench.runs.naming import new_run
from fffbench.units import duration, size

Say = Callable[[str], None]

# Copies of a model's weights that exist at once: as built, what replaces a part of them, quantised or packed ones, and
# a layer widened to float64 for its check.
WEIGHT_COPIES = 2.5
LIBRARIES = 2 * 2**30  # torch, transformers and a compiler, in this process and its parent
SOURCES = ("plan", "implementations", "measure", "operators", "models")


@dataclass(frozen=True)
class ModelOptions:
    """What the user asked for; ``None`` leaves the preset's own value."""

    preset: str = "models"
    axes: ModelAxes = field(default_factory=ModelAxes)
    processes: int | None = None
    sample_seconds: float | None = None
    budget_seconds: float | None = None
    command: str = ""


@dataclass(frozen=True)
class ModelPlanned:
    """A run about to start or to continue."""

    header: Header
    plan: ModelPlan
    journal: Path
    done: tuple[ModelOutcome, ...]
    locks: contextlib.ExitStack

    @property
    def seconds(self) -> float:
        """What the run takes, roughly: nobody has measured a cell yet."""
        total = FIRST_COST * len(self.plan.cells) * self.plan.processes
        return min(total, self.plan.budget_seconds or total)


def runnable(options: ModelOptions) -> tuple[ModelPlan, list[tuple[ModelCell, str]]]:
    """The plan of what can run here, and the cells that cannot, with reasons."""
    from fffbench.models import build

    environment.clean()
    chosen = model_preset(options.preset)
    cells = model_cells(chosen, options.axes, fingerprint.usable_cores())
    build.load_classes()
    absent = {name: _not_here(name) for name in dict.fromkeys(cell.work.device for cell in cells)}
    free = memory.available()
    reasons = {cell: absent[cell.work.device] or _does_not_fit(cell, free) for cell in cells}
    plan = ModelPlan(
        tuple(cell for cell in cells if reasons[cell] is None),
        options.processes or chosen.processes,
        options.sample_seconds or chosen.sample_seconds,
        options.budget_seconds or chosen.budget_seconds,
    )
    return plan, [(cell, reason) for cell, reason in reasons.items() if reason is not None]


def _not_here(name: str) -> str | None:
    """Why nothing can be measured on a device here."""
    return device(name).absent() or device(name).unnamed()


def _does_not_fit(cell: ModelCell, free: int) -> str | None:
    if not device(cell.work.device).host_memory:  # it says itself when it is full
        return None
    one = cell.work.architecture
    neurons = max(one.ffn * (3 if one.gated else 2), 2 * cell.variant.neurons(one.ffn))
    numbers = one.layers * one.d * neurons + one.other_weights + one.d * one.vocabulary
    needed = int(WEIGHT_COPIES * numbers * (4 if cell.work.dtype == "fp32" else 2)) + LIBRARIES
    if needed <= memory.MARGIN * free:
        return None
    return f"needs about {size(needed)} of memory, {size(free)} are available"


def describe(options: ModelOptions) -> Iterator[str]:
    """What would be measured, a line a cell; measures nothing."""
    plan, skipped = runnable(options)
    yield from (cell.id for cell in plan.cells)
    yield from (f"{cell.id}  not here: {reason}" for cell, reason in skipped)
    total = FIRST_COST * len(plan.cells) * plan.processes
    yield f"{len(plan.cells)} cells, about {duration(min(total, plan.budget_seconds or total))}"


def prepare(options: ModelOptions, results_dir: Path, say: Say) -> ModelPlanned:
    """Plan, take the locks, and begin a journal or pick up an interrupted one; nobody else measures meanwhile."""
    plan, skipped = runnable(options)
    if not plan.cells:
        raise UserError(f"nothing to measure: no cell of this plan can run here; {skipped[0][1]}")
    with contextlib.ExitStack() as locks:
        doing = options.command or f"fffbench run --preset {options.preset}"
        locks.enter_context(lock.machine(doing))
        facts = fingerprint.stable()
        folder = results_dir / ROOM / fingerprint.machine_id(facts)
        locks.enter_context(lock.folder(folder, doing))
        key = _key(plan)
        found = _resumable(folder, key, say)
        if found is not None:
            journal, header, done = found
            good = sum(one.failure is None for one in done)
            say(f"continuing {header.run.run}: {good} process results are there already")
        else:
            header, journal, done = *_begun(options, plan, skipped, facts, folder, key, say), ()
        return ModelPlanned(header, plan, journal, done, locks.pop_all())


def _key(plan: ModelPlan) -> str:
    parts = [[cell.id for cell in plan.cells], plan.processes, plan.sample_seconds, sources_digest()]
    text = repr([*parts, *provenance.surroundings(), sorted(ENVIRONMENT.items()), _transformers()])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def sources_digest() -> str:
    """Hash of what decides a measurement of whole models, as it is imported here."""
    root = Path(sources.__file__).parent
    files = [root / "nn.py", root / "swapping.py"]
    files += [path for room in SOURCES for path in (root / room).rglob("*") if path.suffix in provenance.SUFFIXES]
    return sources.digest([(path.relative_to(root).as_posix(), path) for path in files])


def _transformers() -> str:
    try:
        return version("transformers")
    except PackageNotFoundError:
        return "not installed"


def _begun(
    options: ModelOptions,
    plan: ModelPlan,
    skipped: list[tuple[ModelCell, str]],
    facts: dict[str, str],
    folder: Path,
    key: str,
    say: Say,
) -> tuple[Header, Path]:
    observed = fingerprint.observed() | {"transformers": _transformers()}
    observed |= {f"worker {name}": value for name, value in sorted(ENVIRONMENT.items())}
    machine = Machine(id=folder.name, stable=facts, observed=observed, host=host.anonymous())
    run = new_run(options.preset, folder, machine, say)
    header = Header(
        plan=key,
        run=run,
        processes=plan.processes,
        cells=[cell.id for cell in plan.cells],
        skipped=[(cell.id, str(plain(neutral(reason)))) for cell, reason in skipped],
        timed_sources=current(timed.MODELS) or timed.UNKNOWN,
    )
    journal = folder / f"{run.run}{SUFFIX}"
    Journal.create(journal, header.model_dump()).close()
    return header, journal


def _resumable(folder: Path, key: str, say: Say) -> tuple[Path, Header, tuple[ModelOutcome, ...]] | None:
    for path in sorted(folder.glob(f"*{SUFFIX}"), reverse=True):
        try:
            header, outcomes = read_journal(path)
        except UserError as error:
            say(str(error))
            continue
        if header.plan == key:
            return path, header, outcomes
    return None


def measure(planned: ModelPlanned, show: Callable[[Progress], None], told: Callable[[Any], None]) -> None:
    """Measure what the journal does not hold; every process's result is on the disk before the next begins."""
    from fffbench.runs.lifecycle import remove_stale_scratch

    before = sources_digest()
    with planned.locks, Journal(planned.journal) as journal:
        remove_stale_scratch()
        seed = int(hashlib.sha256(planned.header.run.run.encode()).hexdigest()[:16], 16)
        for outcome in ModelSession(planned.plan, planned.done, show, seed).outcomes():
            if sources_digest() != before:
                raise UserError(
                    "the sources of what is measured changed during the run, so it ends here; what was measured before "
                    "is kept under the sources of then, and the same command starts a new run"
                )
            journal.append({"outcome": outcome.to_json()})
            told(outcome)
        journal.append({"load after": fingerprint.load()})
