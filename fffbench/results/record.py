"""What is known about one measured cell, and about the machine it was measured on?

Format history of the result files (key ``fffbench.format``):
1  first format: pytest-benchmark's JSON, with one ``Machine`` and the skipped
   cells under ``fffbench`` and a ``CellInfo`` in each benchmark's ``extra_info``.

Records are immutable. Times are seconds per call; samples are grouped by the
process that took them, because the process is the unit of every interval.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from sys import intern
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, FailFast, Field, field_validator, model_validator

from fffbench import timed
from fffbench.plan.workload import FAULTY, Cell, faulty_name, parse_cell
from fffbench.results.chronology import MOST_LISTED
from fffbench.results.medians import Medians, middles
from fffbench.text import plain
from fffbench.units import LONGEST_SECONDS, MOST_ERROR, SHORTEST_SECONDS

FORMAT = 1
DIRTY = "-dirty"  # ends the commit of a changed checkout
UNKNOWN_COMMIT = "unknown"  # of a run outside a checkout that says nothing
# why a planned cell was skipped that the machine could have run
OUT_OF_BUDGET = "the time budget ended before its first process; cells that carry the preset's comparison came first"
FULL_PROCESSES = 6  # fewer fresh processes than this print as provisional

MAX_PROCESSES = 200  # of a cell: the command line asks for 100 at most
MAX_SAMPLES = 100_000  # of a process: those measured so far have 400 at most
MAX_FACTS = 1000  # about a machine
Text = Annotated[str, Field(max_length=2000), AfterValidator(plain)]  # on one line, and nothing in it but what prints
# A clock that counts nanoseconds cannot see less than one; quotients of what is left here are floats like any other.
Seconds = Annotated[float, Field(ge=SHORTEST_SECONDS, lt=LONGEST_SECONDS, allow_inf_nan=False)]
Duration = Annotated[float, Field(ge=0, lt=1e6, allow_inf_nan=False)]
Rate = Annotated[float, Field(ge=1, le=1e18, allow_inf_nan=False)]  # operations or bytes per second
Share = Annotated[float, Field(ge=0, le=MOST_ERROR, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, lt=2**53)]
Facts = Annotated[dict[Text, Text], Field(max_length=MAX_FACTS)]
Samples = Annotated[list[Seconds], Field(min_length=1, max_length=MAX_SAMPLES), FailFast()]
Threads = Annotated[float, Field(ge=0, lt=2**20, allow_inf_nan=False)]
ANONYMOUS = r"([0-9a-f]{12})?"  # a host, as ``measure.host`` calls it; empty where nobody knows
Host = Annotated[str, Field(pattern=f"^{ANONYMOUS}$")]
ThreadsRan = Annotated[list[Threads], Field(max_length=MAX_PROCESSES), FailFast()]


class _Plain(BaseModel):
    """Immutable, strict about types, deaf to unknown keys (a newer writer may add some within a format)."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class Machine(_Plain):
    """One hardware and software configuration.

    ``stable`` identifies it and gives the id; ``observed`` is what a run saw (load, versions, clocks);
    ``ceilings`` maps a measured ceiling (``fma_fp32``, ``dram``, ``cache``, ...; operations or bytes per second)
    to its value by thread count (``"1"``, ``"2"``; ``"0"`` for an accelerator); ``host`` tells hosts of one
    configuration apart and is no part of the id.
    """

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,79}$")]
    stable: Facts
    observed: Facts = {}
    ceilings: Annotated[
        dict[Text, Annotated[dict[Text, Rate], Field(max_length=MAX_FACTS)]], Field(max_length=MAX_FACTS)
    ] = {}
    host: Host = ""

    def ceiling(self, name: str, threads: int) -> float | None:
        """The measured ceiling ``name`` at ``threads``, or None where it was not measured."""
        return self.ceilings.get(name, {}).get(str(threads))


class Check(_Plain):
    """How far the output was from the float64 reference on the same inputs (worst process of the cell).

    Beyond the tolerance only in the family ``faulty``.
    """

    error: Share  # worst token: |y - ref|_2 over the scale of the token's output
    tolerance: Share  # what the error model of the dtype allows that token
    tokens: Count  # tokens compared
    diverged: Count  # tokens that left the reference path at a near-tie
    diverged_cap: Count  # tokens whose path passes a near-tie


class CellInfo(_Plain):
    """Everything the matrix suite stores beside the samples; lives in pytest-benchmark's ``extra_info``."""

    cell: Text
    family: Annotated[str, Field(pattern=r"^(dense|cmm|fff|reference|faulty)$")]
    summary: Text
    threads_ran: ThreadsRan = Field(default_factory=list)  # mean number of running threads, in each process
    processes: Annotated[list[Samples], Field(min_length=1, max_length=MAX_PROCESSES), FailFast()]
    check: Check
    distinct_rows: Share  # distinct neurons the batch visits, mean over the pool's batches
    prepare_seconds: Duration
    extra_bytes: Count  # memory the preparation added beyond the weights
    planned_processes: Count
    notes: Annotated[list[Text], Field(max_length=MAX_FACTS), FailFast()] = Field(
        default_factory=list
    )  # what a reader should know: the BLAS used, a budget that cut processes
    timed_sources: Text = ""  # digest of what is timed (``fffbench.timed``), so that two codes of one name are two
    # of each process, where not all ran on the host of the run: a job that continued on another node
    hosts: Annotated[list[Host], Field(max_length=MAX_PROCESSES), FailFast()] = Field(default_factory=list)

    @field_validator("cell")
    @classmethod
    def _parses(cls, text: str) -> str:
        parse_cell(text)  # UserError is not a ValueError: the reader reports it with file and field
        return text

    @model_validator(mode="after")
    def _faulty_by_name(self) -> CellInfo:
        """What is wrong on purpose says so twice, so that no slip makes a speed-up or a baseline of it."""
        if faulty_name(self.cell) != (self.family == FAULTY):
            raise ValueError(f"family {self.family!r} contradicts the name: those of family {FAULTY!r} begin with it")
        return self

    @model_validator(mode="after")
    def _a_host_each(self) -> CellInfo:
        if self.hosts and len(self.hosts) != len(self.processes):
            raise ValueError(f"{len(self.hosts)} hosts of {len(self.processes)} processes")
        return self


_NO_FIELDS: set[str] = set()  # one for all: a copy of a model copies it, and nothing else writes into it


def slim(info: CellInfo, cell: Cell) -> CellInfo:
    """``info`` in half the memory, in place: samples as arrays, and texts that all machines have in common once.

    Which fields a file had is known to nobody afterwards; pydantic keeps a set of their names of 1.7 kB with each cell.
    """
    shared: dict[str, object] = {name: intern(getattr(info, name)) for name in ("family", "summary", "timed_sources")}
    shared |= {"cell": cell.id, "processes": [array("d", samples) for samples in info.processes]}
    shared["threads_ran"] = array("d", info.threads_ran)
    shared["notes"] = [intern(note) for note in info.notes]
    info.__dict__.update(shared)  # a copy would cost more time than reading the file
    for model in (info, info.check):
        object.__setattr__(model, "__pydantic_fields_set__", _NO_FIELDS)
    return info


class Skipped(_Plain):
    """A cell that was planned and has no time, with the reason in words."""

    cell: Text
    family: Annotated[str, Field(pattern=r"^(dense|cmm|fff|reference|faulty)$")]
    reason: Text


def state_of_sources(commit: str, *, dirty: bool | None) -> str:
    """Commit and state, as a reader should see them; ``dirty`` is None where nobody can tell."""
    state = {True: "dirty", False: "clean", None: "clean or dirty unknown"}[dirty]
    return f"commit {commit.removesuffix(DIRTY)}, {state}"


class RunInfo(_Plain):
    """The part of a result file that is about the run as a whole (top-level key ``fffbench``).

    ``commit`` ends in ``-dirty`` where ``dirty`` is true; None says that nobody can tell. ``sources`` is a digest of
    what was measured. ``after`` lists runs that were there already but are dated no earlier (see ``chronology``).
    """

    format: int
    run: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,119}$")]
    preset: Text
    started: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
    commit: Text = UNKNOWN_COMMIT
    dirty: bool | None = None
    sources: Text = ""
    after: Annotated[list[Text], Field(max_length=MOST_LISTED), FailFast()] = []
    machine: Machine
    skipped: Annotated[list[Skipped], FailFast()] = []
    ended: Annotated[Text, Field(exclude=True)] = ""  # when its file was written, which pytest-benchmark says beside it

    def honest(self, commit_info: object) -> RunInfo:
        """This run with its commit called dirty where the file says so anywhere.

        Files before ``sources`` was stored may name a commit by hand; pytest-benchmark's ``commit_info`` beside it
        then says of the repository whether it is that commit, and whether it was changed.
        """
        bare, beside = self.commit.removesuffix(DIRTY), commit_info if isinstance(commit_info, dict) else {}
        dirty = True if self.commit != bare else self.dirty
        if not self.sources and not dirty:
            same = bare != UNKNOWN_COMMIT and str(beside.get("id", "")).startswith(bare)
            dirty = True if beside.get("dirty") is True else (False if same else None)
        marked = f"{bare}{DIRTY}" if dirty and bare != UNKNOWN_COMMIT else bare
        return self.model_copy(update={"commit": marked, "dirty": dirty})


@dataclass(frozen=True, slots=True)
class Record:
    """One cell of one run on one machine, as the analysis sees it.

    ``id`` (unique over all results: run and cell) is asked for thirty times. ``_medians`` are kept once asked for, in a
    slot: the dictionary of a ``cached_property`` takes 400 bytes.
    """

    run: str
    machine: str
    started: str
    cell: Cell
    info: CellInfo
    host: str = ""
    timed_sources: str = timed.UNKNOWN  # of equal ones the same was timed in the same way; unknown ones equal nothing
    parts: tuple[Record, ...] = ()  # of which it was made where several runs speak together
    id: str = field(default="", init=False, compare=False, repr=False)
    _medians: Medians | None = field(default=None, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Name it."""
        object.__setattr__(self, "id", f"{self.run}/{self.cell.id}")

    @classmethod
    def of_medians(
        cls, of: tuple[str, str, str], cell: Cell, info: CellInfo, kind: tuple[str, str], medians: Sequence[float]
    ) -> Record:
        """A record whose ``medians`` are known: ``of`` a run, machine and date, its ``kind`` a host and sources."""
        made = cls(*of, cell, info, *kind)
        found = Medians.on(medians, made.hosts if info.hosts else (made.host,), made.run)
        object.__setattr__(made, "_medians", found)
        return made

    @staticmethod
    def know_medians(records: Sequence[Record]) -> None:
        """Let each of ``records`` know its ``medians``, which are computed at once."""
        found = iter(middles([samples for record in records for samples in record.info.processes]))
        for record in records:
            hosts = record.hosts if record.info.hosts else (record.host,)
            medians = Medians.on([next(found) for _ in record.info.processes], hosts, record.run)
            object.__setattr__(record, "_medians", medians)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The host of each process."""
        return tuple(self.info.hosts) or (self.host,) * len(self.info.processes)

    @property
    def medians(self) -> Medians:
        """The median of each process, with its run and host: what every estimate is made of."""
        if self._medians is None:
            found = Medians.of(self.info.processes, self.hosts if self.info.hosts else (self.host,), self.run)
            object.__setattr__(self, "_medians", found)
            return found
        return self._medians

    def with_medians(self, medians: Medians) -> Record:
        """A copy of this whose ``medians`` are given, with what is known of other runs."""
        made = Record(
            self.run, self.machine, self.started, self.cell, self.info, self.host, self.timed_sources, self.parts
        )  # ``replace`` takes twice the time, and every record is copied
        object.__setattr__(made, "_medians", medians)
        return made

    @property
    def provisional(self) -> bool:
        """Whether fewer fresh processes than a full record has were measured."""
        return len(self.info.processes) < FULL_PROCESSES

    @property
    def samples(self) -> int:
        """Number of raw samples over all processes."""
        return sum(len(process) for process in self.info.processes)

    @property
    def error_share(self) -> float:
        """Error over tolerance; at most 1 by the check that let the record in."""
        return self.info.check.error / self.info.check.tolerance if self.info.check.tolerance else math.inf
