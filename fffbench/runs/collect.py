"""What does a journal amount to: which cells have a time, and why do the others have none?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from fffbench.measure.outcome import NEVER, Outcome, plain
from fffbench.results.record import OUT_OF_BUDGET, CellInfo, Check, RunInfo, Skipped
from fffbench.runs.journals import Described, Kept


@dataclass(frozen=True)
class Finished:
    """The run, its measured cells with their samples, and (in ``run.skipped``) the cells without a time."""

    run: RunInfo
    measured: tuple[CellInfo, ...]


def collect(kept: Kept) -> Finished:
    """Group outcomes by cell; a cell that failed by itself in any process is skipped with that reason.

    So is a planned cell that the budget left without a process. A process that somebody else ended costs the cell
    that process, and the record says so.
    """
    grouped: dict[str, list[Outcome]] = {}
    for outcome in kept.outcomes:
        grouped.setdefault(outcome.cell, []).append(outcome)
    skipped, measured = list(kept.run.skipped), []
    for cell in kept.cells:
        described = kept.header.implementations[cell.implementation]
        group = grouped.get(cell.id, [])
        reason = _reason(group)
        if reason is None:
            info = _cell_info(cell.id, group, kept, described)
            if isinstance(info, CellInfo):
                measured.append(info)
                continue
            reason = info
        skipped.append(Skipped(cell=cell.id, family=described.family, reason=reason))
    load = {} if kept.load_after is None else {"load after": kept.load_after}
    machine = kept.run.machine.model_copy(update={"observed": {**kept.run.machine.observed, **load}})
    return Finished(kept.run.model_copy(update={"skipped": skipped, "machine": machine}), tuple(measured))


def _reason(group: Sequence[Outcome]) -> str | None:
    """Why a cell with these outcomes has no time, or None where it has one."""
    failures = [outcome for outcome in group if outcome.failure is not None]
    own = [outcome for outcome in failures if outcome.retry == NEVER]
    if own:
        return own[0].failure
    if len(failures) < len(group):
        return None
    return f"{failures[-1].failure}; another run tries again" if failures else OUT_OF_BUDGET


def _cell_info(name: str, group: Sequence[Outcome], kept: Kept, described: Described) -> CellInfo | str:
    """The record of a cell; why there can be none, where the file format does not take it."""
    processes = kept.header.processes
    ordered = sorted((o for o in group if o.failure is None), key=lambda outcome: outcome.process)
    hosts = [kept.hosts.get((name, outcome.process), kept.run.machine.host) for outcome in ordered]
    lost = [str(outcome.failure) for outcome in group if outcome.failure is not None]
    worst = max(ordered, key=lambda outcome: outcome.error / outcome.tolerance if outcome.tolerance else 0.0)
    notes = list(dict.fromkeys(note for outcome in ordered for note in outcome.notes))
    if lost:
        notes.append(str(plain(f"{len(ordered)} of {processes} processes: one was lost ({lost[-1]})")))
    elif len(ordered) < processes:
        notes.append(f"{len(ordered)} of {processes} processes: the rest was out of the time budget")
    try:
        return CellInfo(
            cell=name,
            family=described.family,
            summary=described.summary,
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
            timed_sources=described.timed_sources,
            hosts=hosts if set(hosts) != {kept.run.machine.host} else [],
        )
    except ValidationError as error:
        first = error.errors()[0]
        return str(plain(f"measured, but a result file does not take it: {first['loc']}: {first['msg']}"))
