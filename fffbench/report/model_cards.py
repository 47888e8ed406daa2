"""Where does a whole model's figure come from? Cards as those of layers: samples by process, run, raw file, command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from fffbench.analysis.models import DENSE, ModelRow, work_title
from fffbench.analysis.stats import estimate_time
from fffbench.claims.model_claims import ModelVerdict
from fffbench.devices import threads_text
from fffbench.report.anchors import name_of
from fffbench.report.raw import raw_files
from fffbench.report.samples import medians_text, strip
from fffbench.report.view import Card, SideView
from fffbench.results.models import ModelRecord, ModelResults
from fffbench.results.record import RunInfo
from fffbench.results.store import Run
from fffbench.units import ratio, seconds

PUBLISHED, OWN = "m", "y"  # how names of cards begin


class ModelCards:
    """The cards of whole models that were asked for; ``folder`` holds the raw files.

    Those of a reader's own runs (``kind``) have names of their own, and lead to no machine of the archive.
    """

    def __init__(
        self,
        results: ModelResults,
        rows: Sequence[ModelRow],
        names: Mapping[str, str],
        folder: Path | None,
        kind: str = PUBLISHED,
    ) -> None:
        """Take the records with the rows that were made of them."""
        self._kind = kind
        self._results, self._rows, self._names, self._folder = results, rows, names, folder
        self._runs = {run.run: run for run in results.runs}
        self._dense = {(row.machine, row.work): row for row in rows if row.variant == DENSE}
        self._cards: dict[str, Card] = {}

    def time(self, row: ModelRow) -> str:
        """The name of the card of the time of ``row``; empty where its records are not here."""
        return self._link(row, seconds(row.time), [(row, row.mode)])

    def gain(self, row: ModelRow) -> str:
        """The name of the card of how many times as fast as the model as it is ``row`` is; empty likewise."""
        dense = self._dense.get((row.machine, row.work))
        if row.gain is None or dense is None:
            return ""
        ours = _best(row, dense.lost_modes)
        theirs = _best(dense, (*row.lost_modes, *dense.lost_modes))
        low, high = row.gain_interval or (None, None)
        return self._link(row, ratio(row.gain, low, high), [(row, ours), (dense, theirs)])

    def verdict(self, one: ModelVerdict) -> str:
        """The name of the card of what was measured for a claim; empty likewise."""
        known = {record.id: record for record in self._results.records if record.run in self._runs}
        found = [known[name] for name in one.records if name in known]
        if one.measured is None or not found:
            return ""
        key = name_of(self._kind, one.id, *dict.fromkeys(f"{record.machine}/{record.cell.id}" for record in found))
        rows = {(row.machine, row.work, row.variant): row for row in self._rows}
        sides = [(rows[record.machine, record.cell.work, record.cell.variant.id], record) for record in found]
        self._add(key, ratio(one.measured, one.low, one.high), f"{one.statement}", sides)
        return key

    @property
    def all(self) -> tuple[Card, ...]:
        """Every card that was asked for."""
        return tuple(self._cards.values())

    def _link(self, row: ModelRow, value: str, sides: Sequence[tuple[ModelRow, str]]) -> str:
        key = name_of(self._kind, row.machine, row.work.id, *(f"{one.variant}@{mode}" for one, mode in sides))
        if key in self._cards:
            return key
        found = [(one, record) for one, mode in sides for record in self._records(one, mode)]
        if not found:
            return ""
        self._add(key, value, " over ".join(f"{one.title} ({mode})" for one, mode in sides), found)
        return key

    def _add(self, key: str, value: str, title: str, found: Sequence[tuple[ModelRow, ModelRecord]]) -> None:
        row = found[0][0]
        work = row.work
        presets = dict.fromkeys(self._runs[record.run].preset for _, record in found)
        variants = dict.fromkeys(one.variant for one, _ in found)
        self._cards[key] = Card(
            id=key,
            value=value,
            title=title,
            protocol=f"{work_title(work)}, {self._names.get(row.machine, row.machine)}",
            sides=tuple(self._side(one, record) for one, record in found),
            command=f"fffbench run --preset {next(iter(presets))} --implementations {','.join(variants)} "
            f"--devices {work.device} --dtypes {work.dtype} --batches {work.batch} --threads {work.threads}",
        )

    def _records(self, row: ModelRow, mode: str) -> list[ModelRecord]:
        asked = (row.machine, row.work, row.variant, mode)
        return [
            record
            for record in self._results.records
            if (record.machine, record.cell.work, record.cell.variant.id, record.cell.mode) == asked
            and record.run in self._runs
        ]

    def _side(self, row: ModelRow, record: ModelRecord) -> SideView:
        run, processes = self._run(self._runs[record.run]), record.info.processes
        threads = threads_text(row.work.device, row.work.threads)
        return SideView(
            what=row.title,
            threads=", ".join(filter(None, (record.cell.mode, row.work.dtype, threads))),
            time=seconds(estimate_time(processes).value),
            processes=f"{len(processes)} process{'es' * (len(processes) != 1)}: {medians_text(processes)}",
            strip=strip(processes),
            run=run.id,
            date=run.started[:10],
            sources=run.sources,
            files=raw_files(run.paths, self._folder),
            link="",
            machine=f"all.html#machine-{record.machine}"
            if self._kind == PUBLISHED and record.machine in self._names
            else "",
        )

    def _run(self, run: RunInfo) -> Run:
        path = self._results.paths.get(run.run, "")
        return Run(run.run, run.machine, run.started, run.preset, run.commit, (path,) if path else (), run.dirty)


def _best(row: ModelRow, lost: Sequence[str]) -> str:
    """The fastest mode of ``row`` that is not ``lost``."""
    left = {mode: time for mode, time in row.modes.items() if mode not in lost}
    return min(left, key=left.__getitem__) if left else row.mode
