"""How do the results of hundreds of machines become a page in little memory? Machine by machine, on all cores.

Worker processes each take one machine after the other (``one_machine``), and write its part of every file; what crosses
machines is small and passes through here: which runs there are, what pairs of runs say of other machines, which dense
layers were tried elsewhere, claims and headlines. The page itself is made of the machines with a column alone. Every
byte is as it would be from all results at once, whatever the number of workers; where something crosses machines that
this cannot pass on (a run's id on two machines, dates that one machine's runs set for another's, files that together
take more memory than is allowed, runs that are the reader's own), all results are read at once instead.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from fffbench.analysis.fidelity import Climb
from fffbench.analysis.headline import Answer, headline_of
from fffbench.analysis.rivals import DenseTimes
from fffbench.analysis.speedup import speedups
from fffbench.analysis.spread import everywhere
from fffbench.claims import judging
from fffbench.claims.ledger import load_claims
from fffbench.collector import collector_paused
from fffbench.errors import UserError
from fffbench.plan.fidelity import LADDERS
from fffbench.report import csv_tables, html, waterfall
from fffbench.report.analysed import PUBLISHED, Analysis, Totals, of_all, places_of
from fffbench.report.csv_files import write_rows
from fffbench.report.one_machine import BATCHES, WIDTHS, Known, Survey, Told, survey, tell
from fffbench.report.published import own_runs
from fffbench.report.shown import devices
from fffbench.report.yours import NONE
from fffbench.results import chronology
from fffbench.results import current as current_sources
from fffbench.results.listing import Refusal, files_of_room
from fffbench.results.store import MATRIX, Results, memory_for, of_files, root_of, with_beside
from fffbench.results.superseded import older

LEAST = 2**25  # bytes of result files; with fewer a second pass costs more than it saves
Found = TypeVar("Found")
Note = Callable[[Sequence[Refusal]], None]


@dataclass(frozen=True)
class Rendered:
    """The page, and the lines of the terminal."""

    page: Path
    headline: str


def render(
    folder: Path, out: Path, note: Note = lambda _: None, *, least: int = LEAST, workers: int | None = None
) -> Rendered | None:
    """Render the results under ``folder`` to ``out``; None, with nothing written, where they are read at once instead.

    ``note`` is given what was refused, before the page is made.
    """
    root = root_of(folder)
    files, refused = files_of_room(root, MATRIX)
    machines: dict[str, list[Path]] = {}
    for path in files:
        machines.setdefault(path.parent.name, []).append(path)
    large = sum(path.stat(follow_symlinks=False).st_size for path in files if path.is_file()) >= least
    if len(machines) < 2 or not large or not judging.each_apart():
        return None
    with _parts(out) as parts, collector_paused():
        return _Many(root, dict(sorted(machines.items())), parts, workers or _cores()).render(out, refused, note)


class _Many:
    """The results of many machines under ``root``, of which each has a folder in ``parts``."""

    def __init__(self, root: Path, files: dict[str, list[Path]], parts: Path, workers: int) -> None:
        self._root, self._files, self._workers = root, files, workers
        self._parts = {name: parts / str(index) for index, name in enumerate(files)}

    def render(self, out: Path, refused: Sequence[Refusal], note: Note) -> Rendered | None:
        every = [path for paths in self._files.values() for path in paths]
        allowed = memory_for(every)
        table, _ = current_sources.read_table(self._root)
        current_sources.here()  # computed once, and not in every worker
        with _pool(self._workers) as pool:
            calls = [(self._root, paths, allowed, table, self._parts[name]) for name, paths in self._files.items()]
            surveys = _all([pool.submit(survey, *call) for call in calls])
        if self._crosses(surveys, allowed):
            return None
        results = self._together(surveys, refused)
        note(results.refused)
        known = Known(
            everywhere(one.pairs for one in surveys), DenseTimes(*(one.dense for one in surveys)), load_claims()
        )
        _Given.known = known
        with _pool(self._workers) as pool:
            pending = [
                pool.submit(_tell, one.pairs, self._parts[name]) for name, one in zip(self._files, surveys, strict=True)
            ]
            analysis = self._analysis(results, surveys, known, table, allowed)
            told = _all(pending)
        del _Given.known
        analysis = _with_all(analysis, told)
        page = html.publish(analysis, NONE, out, self._root, lambda: self._write(analysis, told, out))
        return Rendered(page, headline_of(analysis.answers, results.older, measured=analysis.totals.records > 0).text)

    def _crosses(self, surveys: Sequence[Survey], allowed: int) -> bool:
        """Whether something crosses machines that surveys of each alone cannot know."""
        runs = [run for one in surveys for run in one.runs.values()]
        if sum(one.cost for one in surveys) > allowed or len({run.id for run in runs}) < len(runs):
            return True
        filed = chronology.effective((run.id, run.dated or run.started, run.after) for run in runs)
        if any(filed[run.id] != run.started for run in runs):
            return True
        return bool(own_runs(Results(runs={run.id: run for run in runs}), self._root))

    def _together(self, surveys: Sequence[Survey], refused: Iterable[Refusal]) -> Results:
        """What is known of all machines, without their records; skipped cells of machines that have none."""
        compared, now = set().union(*(one.compared for one in surveys)), set().union(*(one.now for one in surveys))
        found = Results(
            machines={name: machine for one in surveys for name, machine in one.machines.items()},
            skipped=tuple(item for one in surveys for item in one.alone),
            refused=tuple(item for one in surveys for item in one.refused),
            runs=dict(sorted((name, run) for one in surveys for name, run in one.runs.items())),
            older=older(compared, now),
        )
        return with_beside(found, self._root, refused)

    def _analysis(
        self, results: Results, surveys: Sequence[Survey], known: Known, table: current_sources.Table, allowed: int
    ) -> Analysis:
        """The analysis of the machines with a column; of claims, headlines and ladders as far as these go."""
        counted: Counter[tuple[str, str]] = sum((one.records for one in surveys), Counter())
        shown = devices(counted, results.machines, results.older)
        columns = {device.machine for device in shown}
        own = [of_files(self._root, self._files[name], allowed, table)[0] for name in sorted(columns)]
        here = replace(
            results,
            records=tuple(record for one in own for record in one.records),
            skipped=tuple(
                sorted(
                    (*results.skipped, *(item for one in own for item in one.skipped)),
                    key=lambda item: (item.machine, item.started, item.run, item.cell.id),
                )
            ),
        )
        known.tell(here, {key: pairs for one in surveys for key, pairs in one.pairs.items() if key[0] in columns})
        elsewhere = [one for one in surveys if one.records and not {name for name, _ in one.records} & columns]
        totals = Totals(
            counted.total(),
            sum(one.superseded for one in surveys),
            sum(one.skipped for one in surveys),
            sum(one.skipped for one in elsewhere),
        )
        places = places_of(counted, results.machines)
        return of_all(here, PUBLISHED, shown, speedups(here), [], [], [], places, totals)

    def _write(self, analysis: Analysis, told: Sequence[Told], out: Path) -> None:
        """The files that have rows of every machine, from their parts in the order of machines."""
        parts = list(self._parts.values())
        columns = dict(csv_tables.MEASURED)
        if not analysis.totals.records:
            columns["cells.csv"] = columns["cells.csv"][:1]
        ways = max((one.columns for one in told), key=len)
        for name, head, pieces in (
            *((name, head, [part / name for part in parts]) for name, head in columns.items()),
            ("speedup.csv", csv_tables.SPEEDUP_COLUMNS, [part / "speedup.csv" for part in parts]),
            (waterfall.CSV, ways, [part / waterfall.CSV for part in parts]),
            (
                "breakeven.csv",
                csv_tables.BREAK_EVEN_COLUMNS,
                [part / piece for piece in (BATCHES, WIDTHS) for part in parts],
            ),
        ):
            if name == "skipped.csv":
                owed = self._parts_folder / "owed.csv"
                write_rows(owed, csv_tables.owed_rows(analysis.results.open_jobs), head, header=False)
                pieces.append(owed)
            write_rows(out / name, (), head)
            _append(out / name, pieces)

    @property
    def _parts_folder(self) -> Path:
        return next(iter(self._parts.values())).parent


class _Given:
    """What a worker has from the process that it was forked from: too much to be sent with every machine."""

    known: Known


def _tell(pairs: Any, out: Path) -> Told:
    return tell(_Given.known, pairs, out)


def _with_all(analysis: Analysis, told: Sequence[Told]) -> Analysis:
    """``analysis`` with the claims, headlines and ladders of all machines."""
    answers: list[Answer] = sorted(
        (answer for one in told for answer in one.answers), key=lambda answer: (answer.device, answer.machine)
    )
    order = {(ladder.claim, ladder.title, ladder.device): index for index, ladder in reversed([*enumerate(LADDERS)])}
    climbs: list[Climb] = sorted(
        (climb for one in told for climb in one.climbs), key=lambda one: order[one.claim, one.title, one.device]
    )
    claims = judging.judge_together([one.claims for one in told], {device for _, device in analysis.places})
    return analysis.with_all(claims, answers, climbs)


@contextmanager
def _parts(out: Path) -> Iterator[Path]:
    """A folder beside the page for the parts of its files, which goes away again."""
    made = [path for path in (out, *out.parents) if not path.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".parts-", dir=out))
    except OSError as error:
        raise UserError(f"report folder {str(out)!r} cannot be written: {error.strerror}") from error
    try:
        yield folder
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise UserError(f"report folder {str(out)!r} cannot be written: {error.strerror}{where}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for path in made:
            if not any(path.iterdir()):
                path.rmdir()


def _append(path: Path, pieces: Iterable[Path]) -> None:
    """``pieces`` behind the end of ``path``, each gone afterwards, so that the whole needs its room once."""
    with path.open("ab") as out:
        for piece in pieces:
            with piece.open("rb") as one:
                shutil.copyfileobj(one, out, 2**22)
            piece.unlink()


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Worker processes; one that dies ends the command with one line."""
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("fork"))
    try:
        yield pool
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process of the report died, as one does that the system ends for want of memory; the report was "
            "not written; run it again with more memory"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _all(pending: Sequence[Future[Found]]) -> list[Found]:
    """The results in their order."""
    return [one.result() for one in pending]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
