"""What does one result file hold, and which of its parts cannot be used?

A file is untrusted: it may be foreign, cut, hand-edited or hostile. Whatever
cannot be used becomes a ``Refusal`` that names file and field; the rest loads.
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from fffbench.errors import UserError
from fffbench.plan.workload import FAULTY, Cell, parse_cell
from fffbench.results.record import FORMAT, CellInfo, Record, RunInfo, Skipped

MAX_BYTES = (
    256 * 2**20
)  # the largest honest file at hand (5000 cells) has 60 MB; beyond this, parsing may exhaust memory
MAX_REFUSALS = 20  # per file: a broken writer breaks every cell alike, and a reader needs to see it once
MAX_FIELD = 120  # characters of a field's name: its keys come from the file too
MAX_COUNT = 2**40  # no axis of a real workload reaches this; arithmetic on it stays exact in a float


@dataclass(frozen=True, order=True)
class Refusal:
    """One thing that was not loaded: the file, the field in it (may be empty), and why."""

    path: str
    field: str
    reason: str

    @property
    def line(self) -> str:
        """``matrix/m/x.json: fffbench.format: ...``."""
        return ": ".join(part for part in (self.path, self.field, self.reason) if part)


@dataclass(frozen=True)
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


class _BadValueError(ValueError):
    """Raised on the constants that JSON does not have."""


def shown_path(path: Path, root: Path) -> str:
    """``path`` relative to the results folder, printable whatever bytes its name has."""
    return os.fsencode(path.relative_to(root)).decode("utf-8", "replace")


def _no_constant(name: str) -> NoReturn:
    raise _BadValueError(f"{name} is not a JSON number")


def parse_json(path: Path, *, constants: bool = False) -> Any:
    """The JSON value in ``path``; ValueError with a reader's sentence when there is none.

    ``constants`` lets the words NaN and Infinity pass, which JSON does not have and asv writes.
    """
    status = os.lstat(path)
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("a link, not a file" if stat.S_ISLNK(status.st_mode) else "not a plain file")
    if status.st_size > MAX_BYTES:
        raise ValueError(f"{status.st_size} bytes; at most {MAX_BYTES} are read")
    try:
        return json.loads(path.read_bytes().decode("utf-8"), parse_constant=float if constants else _no_constant)
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 text (byte {error.start})") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"not complete JSON (line {error.lineno}, column {error.colno}: {error.msg})") from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except ValueError as error:  # an integer of more digits than Python converts, or a NaN
        raise ValueError(f"not valid JSON ({str(error)[:MAX_FIELD]})") from error


def why(error: ValidationError) -> tuple[str, str]:
    """Field and reason of the first complaint in ``error``."""
    first = error.errors(include_url=False, include_context=False)[0]
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
    given = first["input"]
    shown = "" if isinstance(given, dict | list) else f", not {short(given)}"
    return printable(where), f"{first['msg']}{shown}"


def short(value: object) -> str:
    """``value`` as a refusal may show it: printable and not long."""
    return printable(repr(value[:60] if isinstance(value, str) else value)[:80])


def printable(text: str) -> str:
    """``text`` cut to a field's length, without what cannot be encoded."""
    return text[:MAX_FIELD].encode("utf-8", "replace").decode("utf-8")


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


def read_file(path: Path, root: Path) -> FileContent:
    """Everything usable in the result file ``path`` under the results folder ``root``; never raises for its content."""
    content = FileContent()
    shown = shown_path(path, root)

    def refuse(where: str, reason: str) -> None:
        content.refused.append(Refusal(shown, where, reason))

    try:
        data = parse_json(path)
    except (ValueError, OSError) as error:
        refuse("", f"cannot be read: {error.strerror if isinstance(error, OSError) else error}")
        return content
    content.run = _read_run(data, path.parent.name, refuse)
    if content.run is None:
        return content
    _read_skipped(data["fffbench"].get("skipped", []), content, refuse)
    benchmarks = data.get("benchmarks")
    if not isinstance(benchmarks, list):
        refuse("benchmarks", f"must be a list, not {type(benchmarks).__name__}")
        return content
    for index, benchmark in enumerate(benchmarks):
        _read_cell(benchmark, f"benchmarks[{index}].extra_info.fffbench", content, refuse)
    if len(content.refused) > MAX_REFUSALS:
        more = len(content.refused) - MAX_REFUSALS
        content.refused = [*content.refused[:MAX_REFUSALS], Refusal(shown, "", f"and {more} more parts of this file")]
    return content


def _read_run(data: Any, folder: str, refuse: Any) -> RunInfo | None:
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
        run = RunInfo.model_validate({**info, "skipped": []}).honest(data.get("commit_info"))
    except ValidationError as error:
        where, reason = why(error)
        refuse(f"fffbench.{where}", reason)
        return None
    if run.machine.id != folder:
        refuse("fffbench.machine.id", f"{run.machine.id!r} lies in the folder of another machine, {short(folder)}")
        return None
    return run


def _read_skipped(items: Any, content: FileContent, refuse: Any) -> None:
    assert content.run is not None
    if not isinstance(items, list):
        refuse("fffbench.skipped", f"must be a list, not {type(items).__name__}")
        return
    run = content.run
    for index, item in enumerate(items):
        try:
            skipped = Skipped.model_validate(item)
            cell = _checked_cell(skipped.cell)
        except ValidationError as error:
            where, reason = why(error)
            refuse(f"fffbench.skipped[{index}].{where}", reason)
        except UserError as error:
            refuse(f"fffbench.skipped[{index}].cell", printable(str(error)))
        else:
            content.skipped.append(
                SkippedCell(run.run, run.machine.id, run.started, cell, skipped.family, skipped.reason)
            )


def _read_cell(benchmark: Any, where: str, content: FileContent, refuse: Any) -> None:
    assert content.run is not None
    extra = benchmark.get("extra_info") if isinstance(benchmark, dict) else None
    raw = extra.get("fffbench") if isinstance(extra, dict) else None
    if raw is None:
        refuse(where, "missing: no samples by process and no check, so no speed")
        return
    try:
        info = CellInfo.model_validate(raw)
        cell = _checked_cell(info.cell)
    except ValidationError as error:
        inner, reason = why(error)
        refuse(f"{where}.{inner}" if inner else where, reason)
        return
    except UserError as error:
        refuse(f"{where}.cell", printable(str(error)))
        return
    check = info.check
    failed = check.error > check.tolerance or check.diverged > check.diverged_cap
    if failed and info.family != FAULTY:
        refuse(f"{where}.check", f"{cell.implementation} failed its check, so its time is not shown")
        return
    run = content.run
    content.records.append(Record(run=run.run, machine=run.machine.id, started=run.started, cell=cell, info=info))


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
