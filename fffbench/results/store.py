"""What has been measured so far, on which machines?

Reads ``results/matrix/<machine>/*.json``, the same below ``archive``, and asv's history beside it into plain, sorted,
immutable data.
Files and cells that cannot be used are listed, never fatal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from sys import intern
from typing import Any

from fffbench import timed
from fffbench.collector import collector_paused
from fffbench.errors import UserError
from fffbench.results import chronology
from fffbench.results import current as current_sources
from fffbench.results.asv import HistoryPoint, read_history
from fffbench.results.identity import Facts, facts, owners
from fffbench.results.listing import Refusal, files_of_room, shown_path
from fffbench.results.open_jobs import OpenJob, read_open_jobs
from fffbench.results.reader import FileContent, SkippedCell, read_file, without_duplicates
from fffbench.results.record import Machine, Record, state_of_sources
from fffbench.results.regressions import Check, read_checks
from fffbench.results.superseded import Place, skipped_now, spoken

MATRIX = "matrix"
# What all files together may take: files that are large because they hold a lot take one to eight bytes for each of
# their own, however little is in a cell; files that are made to take memory take fifty.
MOST_MEMORY = 400 * 10**6
MEMORY_OF_A_BYTE = 10


@dataclass(frozen=True)
class Run:
    """One measuring session on one machine, with the machine as that run saw it.

    ``started`` is the date it is filed by; ``dated`` what its clock said, where that cannot be; ``ended`` when its file
    was written. ``commit`` ends in ``-dirty`` if the sources were changed; ``dirty`` is None where nobody can tell.
    """

    id: str
    machine: Machine
    started: str
    preset: str
    commit: str
    paths: tuple[str, ...]
    dirty: bool | None = None
    after: tuple[str, ...] = ()
    dated: str = ""
    ended: str = ""

    @property
    def sources(self) -> str:
        """Commit and state, as a reader should see them."""
        return state_of_sources(self.commit, dirty=self.dirty)


@dataclass(frozen=True)
class Results:
    """Everything loaded: records, skipped cells and history in a fixed order, machines and runs by id, and refusals."""

    records: tuple[Record, ...] = ()
    machines: dict[str, Machine] = field(default_factory=dict)
    skipped: tuple[SkippedCell, ...] = ()
    refused: tuple[Refusal, ...] = ()
    runs: dict[str, Run] = field(default_factory=dict)
    history: tuple[HistoryPoint, ...] = ()
    checks: tuple[Check, ...] = ()
    open_jobs: tuple[OpenJob, ...] = ()
    superseded: tuple[Record, ...] = ()  # of older sources, where there are newer ones: in no figure
    superseded_skipped: tuple[SkippedCell, ...] = ()  # skipped in runs that are superseded
    older: frozenset[Place] = frozenset()  # places of older sources alone, where others are of those of now
    known: dict[object, Any] = field(default_factory=dict, init=False, compare=False, repr=False)  # ``analysis.once``

    def machine_of(self, record: Record) -> Machine:
        """The machine as the record's own run saw it."""
        return self.runs[record.run].machine


@collector_paused()
def load(results_dir: Path | str) -> Results:
    """Read every matrix result and asv's history; ``UserError`` only where ``results_dir`` itself cannot be read."""
    root = root_of(results_dir)
    files, refused = files_of_room(root, MATRIX)
    found, _ = of_files(root, files, memory_for(files))
    return with_beside(found, root, refused)


def root_of(results_dir: Path | str) -> Path:
    """The folder of results; ``UserError`` where it cannot be read."""
    root = Path(results_dir)
    try:
        there = root.is_dir()
    except OSError as error:
        raise UserError(f"results folder {str(root)!r} cannot be read: {error.strerror}") from error
    if not there:
        raise UserError(f"results folder {str(root)!r} does not exist; measure first, or name another with --results")
    return root


def memory_for(files: Sequence[Path]) -> int:
    """How many bytes of memory what ``files`` hold may take together."""
    return max(MOST_MEMORY, MEMORY_OF_A_BYTE * sum(map(_size, files)))


def of_files(
    root: Path, files: Sequence[Path], allowed: int, table: current_sources.Table | None = None, *, keep: bool = True
) -> tuple[Results, int]:
    """What matrix ``files`` under ``root`` hold, as if there were no others, and how much memory all of it would take.

    Where that is more than ``allowed``, the largest files are left out. ``table`` is read where it is not given;
    ``keep`` is for ``read_file``.
    """
    contents, cost = _contents(root, files, allowed, keep=keep)
    table = table or current_sources.read_table(root)[0]
    refused: list[Refusal] = []
    known = owners((content.run.machine, len(content.records)) for content in contents.values() if content.run)
    runs: dict[str, Run] = {}
    seen: dict[str, str] = {}
    records: list[Record] = []
    skipped: list[SkippedCell] = []
    for shown, found in contents.items():
        content = without_duplicates(_accept(_of_machine(found, known, shown), runs, shown), seen, shown)
        records += _with_sources(content, table)
        skipped += content.skipped
        refused += content.refused
    runs, moved = _filed(runs)
    if moved:
        records = [replace(r, started=moved[r.run]) if r.run in moved else r for r in records]
        skipped = [replace(s, started=moved[s.run]) if s.run in moved else s for s in skipped]
    records.sort(key=lambda record: (record.machine, record.started, record.run, record.cell.id))
    skipped.sort(key=lambda item: (item.machine, item.started, item.run, item.cell.id))
    parted = spoken(records, current_sources.current)
    kept = dict.fromkeys(skipped_now(skipped, parted))
    machines = _newest_machines(runs)
    runs = {name: _with_ceilings(run, machines[run.machine.id]) for name, run in sorted(runs.items())}
    return Results(
        records=parted.records,
        machines=machines,
        skipped=tuple(kept),
        refused=tuple(refused),
        runs=runs,
        superseded=parted.superseded,
        superseded_skipped=tuple(dict.fromkeys(item for item in skipped if item not in kept)),
        older=parted.older,
    ), cost


def with_beside(found: Results, root: Path, refused: Iterable[Refusal]) -> Results:
    """``found`` with what lies beside the matrix: history, checks, jobs that are not done; ``refused`` as well."""
    _, unread_table = current_sources.read_table(root)
    history = read_history(root)
    checks, unread = read_checks(root)
    open_jobs, strange = read_open_jobs(root)
    every = (*found.refused, *refused, *unread_table, *history.refused, *unread, *strange)
    return replace(
        found,
        refused=tuple(sorted(every)),
        history=tuple(history.points),
        checks=tuple(checks),
        open_jobs=tuple(open_jobs),
    )


def load_file(path: Path) -> Results:
    """What one result file holds, alone."""
    content = read_file(path, path.parent)
    if content.run is None:
        return Results(refused=tuple(content.refused))
    runs: dict[str, Run] = {}
    content = _accept(content, runs, path.name)
    return Results(
        records=tuple(sorted(content.records, key=lambda record: record.cell.id)),
        machines=_newest_machines(runs),
        skipped=tuple(content.skipped),
        refused=tuple(content.refused),
        runs=runs,
    )


def _contents(root: Path, files: Iterable[Path], allowed: int, *, keep: bool) -> tuple[dict[str, FileContent], int]:
    """What every file holds, by its shown path; where all are more than memory allows, the largest are left out."""
    contents: dict[str, FileContent] = {}
    costs: dict[str, int] = {}
    total = every = 0
    for path in files:
        shown = shown_path(path, root)
        contents[shown] = read_file(path, root, keep=keep)
        costs[shown] = contents[shown].cost
        total += costs[shown]
        every += costs[shown]
        while total > allowed:
            largest = max(costs, key=lambda name: costs[name])
            reason = f"takes {costs[largest] / 1e6:.0f} MB of memory; all files together may take {allowed / 1e6:.0f}"
            contents[largest] = FileContent(refused=[Refusal(largest, "", f"{reason}, and the others take the rest")])
            total -= costs.pop(largest)
    return contents, every


def _with_sources(content: FileContent, table: current_sources.Table) -> list[Record]:
    """The records of a file; those of before each said what was timed have it from its commit."""
    run = content.run
    unsaid = {record.cell.implementation for record in content.records if record.timed_sources == timed.UNKNOWN}
    if run is None or not unsaid:
        return content.records
    known = {name: intern(table.of(run, name)) for name in unsaid}
    return [
        record
        if record.timed_sources != timed.UNKNOWN or known[record.cell.implementation] == timed.UNKNOWN
        else replace(record, timed_sources=known[record.cell.implementation])
        for record in content.records
    ]


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0


def _of_machine(content: FileContent, known: dict[str, Facts], shown: str) -> FileContent:
    """``content``, or its refusal where its machine is another one than those of most files with its id."""
    if content.run is None or facts(content.run.machine) == known[content.run.machine.id]:
        return content
    differ = {name for name, _ in set(facts(content.run.machine)) ^ set(known[content.run.machine.id])}
    what = ", ".join(sorted(differ))[:200]
    reason = f"another machine than that of the other files with the id {content.run.machine.id!r}: {what} differ"
    return FileContent(refused=[*content.refused, Refusal(shown, "fffbench.machine.stable", reason)])


def _accept(content: FileContent, runs: dict[str, Run], shown: str) -> FileContent:
    """``content`` with its run entered into ``runs``; empty where that run id belongs to another run."""
    info = content.run
    if info is None:
        return content
    known = runs.get(info.run)
    if known is not None and (known.machine.id, known.started) != (info.machine.id, info.started):
        reason = f"run {info.run!r} is already the run of {known.machine.id} started {known.started}"
        return FileContent(refused=[*content.refused, Refusal(shown, "fffbench.run", reason)])
    paths = (*known.paths, shown) if known else (shown,)
    machine = known.machine if known and known.machine.ceilings else info.machine
    runs[info.run] = Run(
        info.run,
        machine,
        info.started,
        info.preset,
        info.commit,
        paths,
        info.dirty,
        tuple(info.after),
        ended=info.ended,
    )
    return content


def _filed(runs: dict[str, Run]) -> tuple[dict[str, Run], dict[str, str]]:
    """``runs`` with the dates they are filed by, and of those whose own date cannot be, the date instead."""
    dates = chronology.effective((run.id, run.started, run.after) for run in runs.values())
    moved = {name: date for name, date in dates.items() if date != runs[name].started}
    for name, date in moved.items():
        runs[name] = replace(runs[name], started=date, dated=runs[name].started)
    return runs, moved


def _newest_machines(runs: dict[str, Run]) -> dict[str, Machine]:
    """Every machine as its newest run saw it, with the newest measured ceilings there are."""
    machines: dict[str, Machine] = {}
    for run in sorted(runs.values(), key=lambda run: (run.machine.id, run.started, run.id)):
        before = machines.get(run.machine.id)
        now = run.machine
        if before is not None and not now.ceilings:
            now = now.model_copy(update={"ceilings": before.ceilings})
        machines[now.id] = now
    return machines


def _with_ceilings(run: Run, newest: Machine) -> Run:
    """``run`` with the machine's ceilings where it measured none itself: they belong to the machine, not the run."""
    if run.machine.ceilings:
        return run
    return replace(run, machine=run.machine.model_copy(update={"ceilings": newest.ceilings}))
