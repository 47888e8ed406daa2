"""What does one result file hold, and which of its parts cannot be used?

A file is untrusted: it may be foreign, cut, hand-edited or hostile. Whatever
cannot be used becomes a ``Refusal`` that names file and field; the rest loads.
A file that is right throughout, as nearly all are, is validated by the same models
in one call, which makes no objects of what nobody reads, in half the time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from sys import intern
from typing import Annotated, Any

from pydantic import FailFast, ValidationError

from fffbench import timed
from fffbench.errors import UserError
from fffbench.plan.workload import Cell, parse_cell
from fffbench.results.identity import misnamed
from fffbench.results.listing import Refusal, shown_path
from fffbench.results.parsing import FieldError, has_constants, json_bytes, parsed, printable, short, why
from fffbench.results.plausible import doubt
from fffbench.results.record import FORMAT, CellInfo, Record, RunInfo, Skipped, _Plain, slim

MAX_REFUSALS = 20  # per file: a broken writer breaks every cell alike, and a reader needs to see it once
MAX_COUNT = 2**40  # no axis of a real workload reaches this; arithmetic on it stays exact in a float
# Bytes that a part of a file takes from reading to the finished page: a cell of 6 processes of 5 samples 2.8 kB when
# read and 6.5 kB when analysed (9380 cells). What all files together may take is the store's to say.
CELL_BYTES, SKIPPED_BYTES, PROCESS_BYTES, SAMPLE_BYTES = 6_000, 1_000, 150, 16


@dataclass(frozen=True, slots=True)
class SkippedCell:
    """A planned cell without a time, and the run that says so."""

    run: str
    machine: str
    started: str
    cell: Cell
    family: str
    reason: str


@dataclass
class FileContent:
    """What one file gave: its run (None where the whole file was refused), records, skipped cells and refusals."""

    run: RunInfo | None = None
    records: list[Record] = field(default_factory=list)
    skipped: list[SkippedCell] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)

    @property
    def cost(self) -> int:
        """About how many bytes of memory it takes to keep and to analyse this."""
        processes = sum(len(record.info.processes) for record in self.records)
        samples = sum(record.samples for record in self.records)
        cells = CELL_BYTES * len(self.records) + SKIPPED_BYTES * len(self.skipped)
        return cells + PROCESS_BYTES * processes + SAMPLE_BYTES * samples


@lru_cache(maxsize=20_000)  # machines of one kind measure the same cells
def _checked_cell(text: str) -> Cell:
    """The cell called ``text``, spelt as its own id, with counts that arithmetic can handle."""
    cell = parse_cell(text)
    work = cell.workload
    if cell.id != text:
        raise UserError(f"{text!r} is not spelt as its id, {cell.id!r}")
    for name, value in (("d", work.shape.d), ("n", work.shape.n), ("batch", work.batch), ("threads", work.threads)):
        if not 0 < value <= MAX_COUNT:
            raise UserError(f"{name}={value} is outside 1 to {MAX_COUNT}")
    return cell


def read_file(path: Path, root: Path, *, keep: bool = True) -> FileContent:
    """Everything usable in the result file ``path`` under the results folder ``root``; never raises for its content.

    Where ``keep`` says that it is kept with that of many other files, it is made ``slim``.
    """
    content = _read(path, shown_path(path, root))
    for record in content.records if keep else ():
        slim(record.info, record.cell)
    return content


def _read(path: Path, shown: str) -> FileContent:
    content = FileContent()
    refusals = 0

    def refuse(where: str, reason: str) -> None:
        nonlocal refusals
        refusals += 1
        if refusals <= MAX_REFUSALS:
            content.refused.append(Refusal(shown, where, reason))

    try:
        text = json_bytes(path)
        if (whole := _whole(text, path.parent.name)) is not None:
            return whole
        data = parsed(text)
    except FieldError as error:
        refuse(error.field, str(error))
        return content
    except (ValueError, OSError) as error:
        refuse("", f"cannot be read: {error.strerror if isinstance(error, OSError) else error}")
        return content
    content.run = read_run(data, path.parent.name, refuse)
    if content.run is None:
        return content
    _read_skipped(data["fffbench"].get("skipped", []), content, refuse)
    benchmarks = data.get("benchmarks")
    if not isinstance(benchmarks, list):
        refuse("benchmarks", f"must be a list, not {type(benchmarks).__name__}")
        return content
    for index, benchmark in enumerate(benchmarks):
        _read_cell(benchmark, f"benchmarks[{index}].extra_info.fffbench", content, refuse)
    if refusals > MAX_REFUSALS:
        content.refused.append(Refusal(shown, "", f"and {refusals - MAX_REFUSALS} more parts of this file"))
    return content


class _Extra(_Plain):
    fffbench: CellInfo


class _Benchmark(_Plain):
    extra_info: _Extra


class _File(_Plain):
    """A result file of which nothing has to be refused."""

    fffbench: RunInfo
    commit_info: Any = None
    datetime: Any = None
    benchmarks: Annotated[list[_Benchmark], FailFast()]


def _whole(data: bytes, folder: str) -> FileContent | None:
    """What the file of machine ``folder`` holds; None where it is not right throughout."""
    if has_constants(data):
        return None
    try:
        file = _File.model_validate_json(data)
        run = file.fffbench.honest(file.commit_info)
        if run.format != FORMAT or _wrong_machine(run, folder) is not None:
            return None
        skipped = [_skipped(run, item) for item in run.skipped]
        records = [_record(run, benchmark.extra_info.fffbench) for benchmark in file.benchmarks]
    except (ValidationError, UserError, FieldError):
        return None
    return FileContent(run.model_copy(update={"skipped": [], "ended": _ended(file.datetime)}), records, skipped)


def _ended(given: Any) -> str:
    """When the file was written, by pytest-benchmark's own field; empty where that is no time."""
    try:
        return datetime.fromisoformat(given).isoformat()
    except (TypeError, ValueError):
        return ""


def read_run(data: Any, folder: str, refuse: Callable[[str, str], None]) -> RunInfo | None:
    """The run of a parsed file from the folder of machine ``folder``; None after ``refuse(field, reason)``."""
    if not isinstance(data, dict) or not isinstance(data.get("fffbench"), dict):
        refuse("fffbench", "missing: this is not a result file of fffbench")
        return None
    info = data["fffbench"]
    version = info.get("format")
    if isinstance(version, int) and version > FORMAT:
        refuse(
            "fffbench.format", f"format {short(version)} is newer than the newest read here, {FORMAT}: update fffbench"
        )
        return None
    if version != FORMAT or isinstance(version, bool):
        refuse("fffbench.format", f"must be {FORMAT}, not {short(version)}")
        return None
    try:
        given = {**info, "skipped": [], "ended": _ended(data.get("datetime"))}
        run = RunInfo.model_validate(given).honest(data.get("commit_info"))
    except ValidationError as error:
        where, reason = why(error)
        refuse(f"fffbench.{where}", reason)
        return None
    wrong = _wrong_machine(run, folder)
    if wrong is not None:
        refuse(*wrong)
        return None
    return run


def _wrong_machine(run: RunInfo, folder: str) -> tuple[str, str] | None:
    if run.machine.id != folder:
        return "fffbench.machine.id", f"{run.machine.id!r} lies in the folder of another machine, {short(folder)}"
    contradiction = misnamed(run.machine)
    return None if contradiction is None else ("fffbench.machine.stable", contradiction)


def _read_skipped(items: Any, content: FileContent, refuse: Any) -> None:
    assert content.run is not None
    if not isinstance(items, list):
        refuse("fffbench.skipped", f"must be a list, not {type(items).__name__}")
        return
    for index, item in enumerate(items):
        try:
            content.skipped.append(_skipped(content.run, Skipped.model_validate(item)))
        except ValidationError as error:
            where, reason = why(error)
            refuse(f"fffbench.skipped[{index}].{where}", reason)
        except UserError as error:
            refuse(f"fffbench.skipped[{index}].cell", printable(str(error)))


def _skipped(run: RunInfo, item: Skipped) -> SkippedCell:
    """``UserError`` where it names no cell."""
    cell = _checked_cell(item.cell)
    return SkippedCell(run.run, run.machine.id, run.started, cell, intern(item.family), intern(item.reason))


def _read_cell(benchmark: Any, where: str, content: FileContent, refuse: Any) -> None:
    assert content.run is not None
    extra = benchmark.get("extra_info") if isinstance(benchmark, dict) else None
    raw = extra.get("fffbench") if isinstance(extra, dict) else None
    if raw is None:
        refuse(where, "missing: no samples by process and no check, so no speed")
        return
    try:
        content.records.append(_record(content.run, CellInfo.model_validate(raw)))
    except ValidationError as error:
        inner, reason = why(error)
        refuse(f"{where}.{inner}" if inner else where, reason)
    except FieldError as error:
        refuse(f"{where}.{error.field}", str(error))
    except UserError as error:
        refuse(f"{where}.cell", printable(str(error)))


def _record(run: RunInfo, info: CellInfo) -> Record:
    """``UserError`` where it names no cell, ``FieldError`` where it is not to be believed."""
    cell = _checked_cell(info.cell)
    doubted = doubt(cell, info)
    if doubted is not None:
        raise FieldError(*doubted)
    known = info.timed_sources or timed.UNKNOWN
    return Record(run.run, run.machine.id, run.started, cell, info, run.machine.host, known)


def without_duplicates(content: FileContent, seen: dict[str, str], shown: str) -> FileContent:
    """``content`` less the records that ``seen`` (record id -> file) holds already; ``seen`` is extended in place."""
    kept: list[Record] = []
    repeated: list[tuple[str, str]] = []
    for record in content.records:
        if record.id in seen:
            repeated.append((record.cell.id, seen[record.id]))
        else:
            seen[record.id] = shown
            kept.append(record)
    if not repeated:
        return content
    cell, where = repeated[0]
    reason = f"measured twice in run {content.run.run if content.run else ''}: {cell} is already in {where}"
    if len(repeated) > 1:
        reason += f", and {len(repeated) - 1} more"
    return replace(content, records=kept, refused=[*content.refused, Refusal(shown, "benchmarks", reason)])
