"""Which runs were begun here and have not ended, and what do their journals hold?

A journal is read as any foreign file is: a line that is damaged, repeated, of
another plan or of a newer version is left out, the others count.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError

from fffbench.errors import UserError
from fffbench.measure.outcome import Outcome, outcome_from_json
from fffbench.plan.workload import Cell, parse_cell
from fffbench.results.journal import Entry, Journal, Say, describe_left_out
from fffbench.results.plausible import doubt_check
from fffbench.results.record import ANONYMOUS, FORMAT, Check, RunInfo

SUFFIX = ".journal"
MOST_CELLS = 100_000


class Described(BaseModel):
    """What a result file says of an implementation, as it was when the run began."""

    model_config = ConfigDict(frozen=True, strict=True)

    family: str
    summary: str
    timed_sources: str = ""  # digest of what is timed as it


class Header(BaseModel):
    """A journal's first line: the run, its key, what it plans, and the command that continues it."""

    model_config = ConfigDict(frozen=True, strict=True)

    plan: str
    run: RunInfo
    processes: int = Field(ge=1, le=1000)
    cells: Annotated[list[str], Field(max_length=MOST_CELLS), FailFast()]
    implementations: Annotated[dict[str, Described], Field(max_length=10_000)]
    command: str = ""


@dataclass(frozen=True)
class Kept:
    """What one journal holds and can be used."""

    path: Path
    header: Header
    outcomes: tuple[Outcome, ...]
    load_after: str | None = None
    hosts: dict[tuple[str, int], str] = field(default_factory=dict)  # of outcomes that the run's own host did not give

    @property
    def run(self) -> RunInfo:
        """The run as it began."""
        return self.header.run

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The cells that were planned."""
        return tuple(parse_cell(name) for name in self.header.cells)


def read(path: Path, say: Say | None = None) -> Kept:
    """What the journal at ``path`` holds; ``UserError`` where its header cannot be used.

    Lines that are left out are named, in one sentence, to ``say``.
    """
    first, entries, left_out = Journal.numbered(path)
    header = _header(path, first)
    cells = set(header.cells)
    outcomes: dict[tuple[str, int], Outcome] = {}
    load_after = None
    here = own = header.run.machine.host
    hosts: dict[tuple[str, int], str] = {}
    for number, entry in entries:
        if isinstance(entry.get("load after"), str):
            load_after = entry["load after"][:2000]
            continue
        if isinstance(entry.get("host"), str) and re.fullmatch(ANONYMOUS, entry["host"]):
            here = entry["host"]
            continue
        try:
            key = _take(entry, header, cells, outcomes)
        except ValueError as error:
            left_out[number] = str(error)
            continue
        hosts.pop(key, None)
        if here != own:
            hosts[key] = here
    if left_out and say is not None:
        say(describe_left_out(path, left_out, len(outcomes)))
    return Kept(path, header, tuple(outcomes.values()), load_after, hosts)


def _header(path: Path, entry: Entry) -> Header:
    version = entry.get("run", {}).get("format") if isinstance(entry.get("run"), dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise UserError(f"journal {str(path)!r} was written by a newer version of fffbench, which alone continues it")
    try:
        header = Header.model_validate(entry)
        for name in header.cells:
            _ = header.implementations[parse_cell(name).implementation]
    except (ValidationError, UserError, KeyError) as error:
        what = error.errors()[0]["loc"] if isinstance(error, ValidationError) else ("cells",)
        where = ".".join(map(str, what))
        raise UserError(f"journal {str(path)!r}: not a journal of this version ({where}); move it away") from error
    return header


def _take(entry: Entry, header: Header, cells: set[str], outcomes: dict[tuple[str, int], Outcome]) -> tuple[str, int]:
    """Enter the outcome in ``entry`` and return its cell and process; ``ValueError`` where it cannot be used.

    A success replaces the failure of an earlier attempt, and nothing replaces a success.
    """
    if "outcome" not in entry:
        raise ValueError("is of no kind that this version knows")
    try:
        outcome = outcome_from_json(entry["outcome"])
    except ValueError as error:
        raise ValueError(f"holds no outcome of this version ({error})") from error
    if outcome.cell not in cells or outcome.process >= header.processes:
        raise ValueError("is about a cell that was not planned")
    key = outcome.cell, outcome.process
    if key in outcomes and outcomes[key].failure is None:
        raise ValueError("repeats a process that is there already")
    if outcome.failure is None and (doubted := _doubt(outcome, header)):
        raise ValueError(f"cannot be believed ({doubted})")
    outcomes[key] = outcome
    return key


def _doubt(outcome: Outcome, header: Header) -> str | None:
    """Why a result file would refuse what ``outcome`` says; its cell would then be lost with all its processes."""
    cell = parse_cell(outcome.cell)
    described = header.implementations[cell.implementation]
    check = Check(
        error=outcome.error,
        tolerance=outcome.tolerance,
        tokens=outcome.tokens,
        diverged=outcome.diverged,
        diverged_cap=outcome.diverged_cap,
    )
    found = doubt_check(cell, described.family, check, outcome.distinct_rows)
    return None if found is None else ": ".join(found)


def paths(folders: Iterable[Path]) -> list[Path]:
    """The journals in ``folders``, in order of their names."""
    found: list[Path] = []
    for folder in folders:
        try:
            found += [path for path in folder.iterdir() if path.name.endswith(SUFFIX) and path.is_file()]
        except OSError:
            continue
    return sorted(found)


def resumable(folder: Path, key: str, say: Say) -> Kept | None:
    """The newest unfinished run with this key; other journals that cannot be used are named and left alone."""
    for path in reversed(paths([folder])):
        try:
            if b"\n" not in path.read_bytes()[: 2**24]:
                path.unlink()  # killed while its header was written: nothing is in it
                continue
            header = _header(path, Journal.numbered(path)[0])
        except (OSError, UserError) as error:
            say(str(error))
            continue
        if header.plan == key:
            return read(path, say)
    return None


def unfinished(results_dir: Path, but: Path | None = None) -> str | None:
    """A sentence on the runs below ``results_dir`` that never ended (other than ``but``), or None where all did."""
    folders = sorted(path for path in (results_dir / "matrix").glob("*") if path.is_dir() and not path.is_symlink())
    sentences = [sentence for path in paths(folders) if path != but and (sentence := _sentence(path))]
    if not sentences:
        return None
    count = "1 unfinished run" if len(sentences) == 1 else f"{len(sentences)} unfinished runs"
    more = f"; and {len(sentences) - 3} more" if len(sentences) > 3 else ""
    return f"{count}, not in the results: {'; '.join(sentences[:3])}{more}"


def _sentence(path: Path) -> str:
    """What one journal holds and how it is continued; empty where it holds nothing."""
    try:
        kept = read(path)
    except UserError:
        return f"{path}, which cannot be read"
    held = sum(outcome.failure is None for outcome in kept.outcomes)
    if not held:
        return ""
    command = kept.header.command or f"fffbench run --preset {kept.run.preset}"
    results = f"{held} process result{'' if held == 1 else 's'}"
    return f"{path.name} holds {results}, which `{command}` continues where machine and sources are the same"


def to_json(header: Header) -> dict[str, Any]:
    """As a journal's first line."""
    return header.model_dump()
