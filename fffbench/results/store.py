"""What has been measured so far, on which machines?

Reads ``results/matrix/<machine>/*.json`` and asv's history beside it into plain, sorted, immutable data.
Files and cells that cannot be used are listed, never fatal.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from fffbench.collector import collector_paused
from fffbench.errors import UserError
from fffbench.results import chronology
from fffbench.results.asv import HistoryPoint, read_history
from fffbench.results.reader import FileContent, Refusal, SkippedCell, read_file, shown_path, without_duplicates
from fffbench.results.record import DIRTY, Machine, Record
from fffbench.results.regressions import Check, read_checks

MATRIX = "matrix"


@dataclass(frozen=True)
class Run:
    """One measuring session on one machine, with the machine as that run saw it.

    ``started`` is the date it is filed by; ``dated`` what its clock said, where that cannot be. ``commit`` ends in
    ``-dirty`` if the sources were changed; ``dirty`` is None where nobody can tell.
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

    @property
    def sources(self) -> str:
        """Commit and state, as a reader should see them."""
        state = {True: "dirty", False: "clean", None: "clean or dirty unknown"}[self.dirty]
        return f"commit {self.commit.removesuffix(DIRTY)}, {state}"


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

    def machine_of(self, record: Record) -> Machine:
        """The machine as the record's own run saw it."""
        return self.runs[record.run].machine


@collector_paused()
def load(results_dir: Path | str) -> Results:
    """Read every matrix result and asv's history; ``UserError`` only where ``results_dir`` itself cannot be read."""
    root = Path(results_dir)
    if not root.is_dir():
        raise UserError(f"results folder {str(root)!r} does not exist; measure first, or name another with --results")
    files, refused = _files(root)
    runs: dict[str, Run] = {}
    seen: dict[str, str] = {}
    records: list[Record] = []
    skipped: list[SkippedCell] = []
    for path in files:
        shown = shown_path(path, root)
        content = without_duplicates(_accept(read_file(path, root), runs, shown), seen, shown)
        records += content.records
        skipped += content.skipped
        refused += content.refused
    runs, moved = _filed(runs)
    if moved:
        records = [r.model_copy(update={"started": moved[r.run]}) if r.run in moved else r for r in records]
        skipped = [replace(s, started=moved[s.run]) if s.run in moved else s for s in skipped]
    records.sort(key=lambda record: (record.machine, record.started, record.run, record.cell.id))
    skipped.sort(key=lambda item: (item.machine, item.started, item.run, item.cell.id))
    machines = _newest_machines(runs)
    runs = {name: _with_ceilings(run, machines[run.machine.id]) for name, run in sorted(runs.items())}
    history = read_history(root)
    checks, unread = read_checks(root)
    return Results(
        records=tuple(records),
        machines=machines,
        skipped=tuple(dict.fromkeys(skipped)),
        refused=tuple(sorted([*refused, *history.refused, *unread])),
        runs=runs,
        history=tuple(history.points),
        checks=tuple(checks),
    )


def _files(root: Path) -> tuple[list[Path], list[Refusal]]:
    """The JSON entries of every machine's folder, sorted, and the entries that lie in the wrong place."""
    matrix = root / MATRIX
    files: list[Path] = []
    refused: list[Refusal] = []
    try:
        for entry in sorted(matrix.iterdir()) if matrix.is_dir() else []:
            if entry.is_symlink():
                refused.append(Refusal(shown_path(entry, root), "", "a link; results are read from plain folders only"))
            elif entry.is_dir():
                files += sorted(path for path in entry.iterdir() if path.name.endswith(".json") and path.name[0] != ".")
            elif entry.name.endswith(".json"):
                refused.append(Refusal(shown_path(entry, root), "", "lies outside a machine's folder"))
    except OSError as error:
        raise UserError(f"results folder {str(root)!r} cannot be read: {error.strerror}") from error
    return files, refused


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
        info.run, machine, info.started, info.preset, info.commit, paths, info.dirty, tuple(info.after)
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
