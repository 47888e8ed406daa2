"""How many times faster than which dense layer is each conditional record, and how sure is that?

Baselines (``BASELINES``, always named) are taken at the subject's thread count (``same``) and with each side at its
own fastest thread count (``fastest``). All runs of a cell of a machine speak together (``evidence``), so a pair of
cells has one ratio. Both sides share batch, dtype, device, cache protocol and call. Dense times do not depend on
routing: dense records, measured with uniform routing on the tree's shape, serve every routing.

A side's fastest thread count is known only if it was measured on all threads of the machine and at every count at
which the other side was; else there is no ratio under that name, only the reason. Which of several is the fastest is
read off the runs that they have in common (``relative``), never off times of different runs.

A ratio is provisional for one reason, which ``evidence`` decides and words. Choosing the fastest of several measured
baselines favours the baseline slightly, which is the direction a sceptic asks for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from fffbench.analysis.baselines import (
    BASELINE_THREADS,
    BASELINES,
    BERT_WIDTH,
    ONE_THREAD,
    PUBLISHED_WIDTH,
    TABLE,
    WIDER,
    Cells,
    candidates_of,
    cells_of,
    fitting,
)
from fffbench.analysis.ceilings import ceilings_of
from fffbench.analysis.evidence import one_record_per_cell
from fffbench.analysis.once import OfOneMachine, once
from fffbench.analysis.relative import Relative
from fffbench.analysis.rivals import Untried
from fffbench.analysis.rows import Comparison, Speedup, Timed, Tried, measured_row, measured_rows, skipped_row
from fffbench.devices import DEVICES
from fffbench.plan.workload import Cell
from fffbench.problems.base import DENSE
from fffbench.results.reader import SkippedCell
from fffbench.results.record import Record
from fffbench.results.store import Results

Key = tuple[object, ...]
_MODES, _BASELINES = ({name: place for place, name in enumerate(names)} for names in (BASELINE_THREADS, BASELINES))
_TREE = slice(Speedup._fields.index("d"), Speedup._fields.index("leaf_width") + 1)


def _context(cell: Cell) -> Key:
    """What both sides of a ratio must share, besides the run and (for ``same``) the threads."""
    work = cell.workload
    return (work.shape.d, work.batch, work.dtype, work.device, cell.protocol.cache, cell.protocol.call)


@once
def speedups(results: Results) -> list[Speedup]:
    """Every row, in a fixed order: conditional records against each baseline, then the skipped cells."""
    found = measured(results)
    subjects: dict[Key, list[Timed]] = defaultdict(list)
    for item in found.conditional:
        cell = item.record.cell
        work = cell.workload
        key = (cell.implementation, cell.columns[0], work.routing, work.seed, *found.place(item.record))
        subjects[key].append(item)
    every: list[Comparison] = []
    for group in subjects.values():
        for subject in group:
            every += found.comparisons([subject], "same")
        every += found.comparisons(group, "fastest")
    rows = measured_rows(every, found.ceilings)
    rows += _skipped_rows(results, found)
    rows.sort(key=_order)
    return rows


@once
def measured(results: Results) -> Found:
    """What was measured in ``results``, sorted."""
    return Found(results)


def dense_over_dense(results: Results) -> list[Speedup]:
    """Dense layers of BERT's width against wider ones (the baseline ``wider``), for claims about that row.

    Same threads: against the same implementation at the width of the published tree; fastest: best against best.
    """
    found = measured(results)
    every: list[Comparison] = []
    for group in found.dense.values():
        plain = [item for item in group if item.record.cell.workload.shape.seen_by(DENSE).kind == DENSE]
        narrow = [item for item in plain if item.record.cell.workload.shape.n == BERT_WIDTH]
        wide = [item for item in plain if item.record.cell.workload.shape.n == PUBLISHED_WIDTH]
        for item in narrow:
            cell = item.record.cell
            for other in wide:
                same = other.record.cell.implementation == cell.implementation
                if same and other.record.cell.workload.threads == cell.workload.threads:
                    every.append(Comparison(item, other, WIDER, "same", None))
        if narrow and wide and not found.unknown_threads(narrow, wide):
            relative = Relative([*narrow, *wide])
            ours = relative.fastest(narrow)
            every.append(Comparison(ours, relative.fastest(wide, ours), WIDER, "fastest", None))
    return measured_rows(every, found.ceilings)


def _order(row: Speedup) -> Key:
    tree, own = row[_TREE], (row.family, row.implementation, row.threads)
    place = (row.machine, row.device, tree, row.shape, row.dtype, row.routing, row.cache, row.call, row.batch, *own)
    return (*place, _MODES[row.baseline_threads], _BASELINES[row.baseline], row.run)


class Found:
    """What was measured: cells by their place, and how many threads a machine has."""

    def __init__(self, results: Results) -> None:
        """Sort the deciding records of ``results``."""
        self.results = one_record_per_cell(results)
        self.dense: dict[Key, list[Timed]] = defaultdict(list)
        self.conditional: list[Timed] = []
        self._places: dict[Key, list[Timed]] = defaultdict(list)
        self._relative: dict[tuple[Key, ...], Relative] = {}
        self._chosen = OfOneMachine()
        self._dense_cells: dict[Key, Cells] = {}
        self.ceilings = ceilings_of(results)
        self._untried = Untried(results)
        self._all: dict[str, int] = {}
        places = {name: DEVICES[name] for name in {record.cell.workload.device for record in self.results.records}}
        for record in self.results.records:
            work, machine = record.cell.workload, results.machines[record.machine]
            if places[work.device].threaded:
                cores = machine.stable.get("cores", "")
                self._all.setdefault(record.machine, int(cores) if cores.isdecimal() and len(cores) < 6 else 1)
                self._all[record.machine] = max(self._all[record.machine], work.threads)
            if record.info.family not in ("dense", "cmm", "fff"):
                continue
            item, place = Timed(record), self.place(record)
            self._places[place].append(item)
            if record.info.family == "dense":
                self.dense[place].append(item)
            else:
                self.conditional.append(item)
        self._preferred = {
            (item.record.machine, item.record.cell.workload.device)
            for item in self.conditional
            if item.record.cell.protocol.call == places[item.record.cell.workload.device].headline_call
        }
        self._skipped: dict[Key, list[SkippedCell]] = defaultdict(list)
        for skipped in results.skipped:
            if skipped.family == "dense":
                self._skipped[skipped.machine, *_context(skipped.cell)].append(skipped)

    def main(self, machine: str, cell: Cell) -> bool:
        """Whether ``cell`` follows the headline's protocol: cold, uniform, the bare kernel.

        Where the device prefers another call and one was measured, by that: an eager launch of a small layer on a GPU
        measures the launch, which inside a model is hidden, as a graph hides it.
        """
        device = cell.workload.device
        call = DEVICES[device].headline_call if (machine, device) in self._preferred else "kernel"
        return (cell.protocol.cache, cell.workload.routing, cell.protocol.call) == ("cold", "uniform", call)

    @staticmethod
    def place(record: Record) -> Key:
        """The machine, and what both sides of a ratio share."""
        return (record.machine, *_context(record.cell))

    def _place_in(self, record: Record, dtype: str) -> Key:
        """The place of ``record`` with another dtype."""
        machine, d, batch, _, *rest = self.place(record)
        return (machine, d, batch, dtype, *rest)

    def _cells(self, place: Key) -> Cells:
        """The cells of the dense layers at ``place``."""
        if place not in self._dense_cells:
            self._dense_cells[place] = cells_of(self.dense.get(place, ()))
        return self._dense_cells[place]

    def relative(self, *places: Key) -> Relative:
        """All layers of ``places`` on one scale."""
        asked = places if len(places) == 1 else tuple(dict.fromkeys(places))
        if asked not in self._relative:
            self._relative[asked] = Relative(item for place in asked for item in self._places[place])
        return self._relative[asked]

    def rows(self, group: Sequence[Timed], mode: str) -> list[Speedup]:
        """The rows of ``comparisons``."""
        return measured_rows(self.comparisons(group, mode), self.ceilings)

    def comparisons(self, group: Sequence[Timed], mode: str) -> list[Comparison]:
        """One per baseline for a cell (``same``), or for the cells that differ in threads alone (``fastest``)."""
        own = self.place(group[0].record)
        subject = group[0] if len(group) == 1 else self.relative(own).fastest(group)
        record = subject.record
        threads = record.cell.workload.threads
        main = self.main(record.machine, record.cell)
        every = []
        for baseline, asked in TABLE.items():
            place = self._place_in(record, asked.dtype) if asked.dtype else own
            if not asked.applies(record.cell) or (asked.dtype and place not in self.dense):
                continue
            # the ten implementations of a layer at a place are beside the same dense ones, which are chosen once
            dense = self.dense.get(place, [])
            fits = fitting(baseline, record.cell, self._cells(place), threads if mode == "same" else None)
            others = [dense[index] for index in fits]
            unknown = self.unknown_threads(group, others) if others and mode == "fastest" else None
            if unknown or not others:
                why = unknown or self._missing(record, baseline)
                every.append(Comparison(subject, None, baseline, mode, why, main=main))
                continue
            relative = self.relative(own, place)
            pick: Key = (baseline, fits, own, place, relative.part[record.id])
            best, tried, reason = self._chosen.get(
                record.machine, pick, self._best, subject, others, relative, baseline
            )
            every.append(Comparison(subject, best, baseline, mode, reason, tried, main))
        return every

    def _best(
        self, subject: Timed, others: Sequence[Timed], relative: Relative, baseline: str
    ) -> tuple[Timed, Tried | None, str | None]:
        """The fastest of ``others`` on the subject's chain of runs, how it was found, and which may be faster."""
        best = relative.fastest(others, subject)
        if not TABLE[baseline].best_of_all:
            return best, None, None
        return (best, *self._untried.judge(best, others, relative))

    def _missing(self, record: Record, baseline: str) -> str:
        """Why there is no baseline: what a run says it skipped, or that it was not measured."""
        pick = TABLE[baseline].layer(record.cell.implementation)
        for item in self._skipped.get(self.place(record), ()):
            if pick in (None, item.cell.implementation):
                return f"no {baseline} baseline: {item.cell.implementation} was skipped ({item.reason})"
        return f"no {baseline} baseline was measured there"

    def across_types(self, subject: Timed, dtypes: Sequence[str]) -> Speedup | None:
        """``subject`` over the fastest dense layer of any of ``dtypes``, each side at its fastest thread count."""
        places = [self._place_in(subject.record, dtype) for dtype in dtypes]
        others = [
            other for place in places for other in candidates_of("best-dense", subject, self.dense.get(place, []))
        ]
        if not others:
            return None
        relative = self.relative(self.place(subject.record), *places)
        best = relative.fastest(others, subject)
        of_type = [item for item in others if item.record.cell.workload.dtype == best.record.cell.workload.dtype]
        tried, reason = self._untried.judge(best, of_type, relative)
        return measured_row(Comparison(subject, best, "best-dense", "fastest", reason, tried), self.ceilings)

    def unknown_threads(self, ours: Sequence[Timed], others: Sequence[Timed]) -> str | None:
        """Why a side's fastest thread count is not known, or None where both are."""
        record = others[0].record
        if not record.cell.workload.place.threaded:
            return None
        counts = [{item.record.cell.workload.threads for item in side} for side in (ours, others)]
        needed = {self._all[record.machine], *counts[0], *counts[1]}
        if ours[0].record.cell.implementation in ONE_THREAD:
            counts[0] |= needed
        lacking = [
            f"the {name} side was not measured on {', '.join(map(str, sorted(needed - known)))}"
            for name, known in zip((ours[0].record.info.family.upper(), "dense"), counts, strict=True)
            if needed - known
        ]
        return f"fastest number of threads not known: {' and '.join(lacking)} (threads)" if lacking else None


def _skipped_rows(results: Results, found: Found) -> list[Speedup]:
    """A row with null numbers and its reason for each planned conditional cell that no run has measured."""
    measured = {(record.machine, record.cell.id) for record in results.records}
    newest: dict[tuple[str, str], Speedup] = {}
    for item in sorted(results.skipped, key=lambda item: (item.started, item.run)):
        if item.family not in ("cmm", "fff") or (item.machine, item.cell.id) in measured:
            continue
        newest[item.machine, item.cell.id] = skipped_row(item, main=found.main(item.machine, item.cell))
    return list(newest.values())
