"""What is known about whole models that were measured?

One file a run in ``results/models/<machine>/``: the run under ``fffbench``, as in every result file here, and a list
of ``cells``, each with its raw samples by process, its check, and where its tokens went. Read as any foreign file: what
cannot be used is a ``Refusal`` that names file and field, and the rest loads.

Format history (key ``models_format``):
1  first format.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError, field_validator, model_validator

from fffbench import timed
from fffbench.errors import UserError
from fffbench.plan.models import ModelCell, parse_model_cell
from fffbench.results.current import Table, current, read_table
from fffbench.results.listing import Refusal, files_of_room, shown_path
from fffbench.results.parsing import FieldError, parse_json, printable, short, why
from fffbench.results.reader import read_run
from fffbench.results.record import FULL_PROCESSES, Machine, RunInfo, Text
from fffbench.results.superseded import Place, Taken, of_now
from fffbench.units import LONGEST_SECONDS, MOST_ERROR, SHORTEST_SECONDS

ROOM = "models"
FORMAT = 1
MAX_PROCESSES, MAX_SAMPLES, MAX_CELLS, MAX_LAYERS = 200, 10_000, 20_000, 1000

Refuse = Callable[[str, str], None]
Seconds = Annotated[float, Field(ge=SHORTEST_SECONDS, lt=LONGEST_SECONDS, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=MOST_ERROR, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, lt=2**53)]


class _Plain(BaseModel):
    """Immutable, strict about types, deaf to unknown keys."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class Check(_Plain):
    """How right the layers were (``error``: the worst token's share of what its type allows), and the prepared model.

    ``tokens`` of ``layers`` were held against float64; ``near`` of them had a turn near zero, ``turned`` went the other
    way there. ``mode_median`` and ``mode_beyond``: of a compiled or captured model against the same one run eagerly
    with the outputs of its replaced layers, the median difference of a token over its size, and the share of tokens
    beyond what is alike.
    """

    error: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
    tokens: Count
    layers: Count
    near: Count = 0
    turned: Count = 0
    mode_median: Share = 0.0
    mode_beyond: Share = 0.0


class Routing(_Plain):
    """Leaves of one layer by how many tokens each had: ``visits`` maps tokens to the number of such leaves."""

    tokens: Count
    leaves: Count
    visits: Annotated[dict[str, Count], Field(max_length=100_000)]

    @property
    def counts(self) -> list[int]:
        """Tokens of every leaf that had any, the most first."""
        pairs = sorted(((int(tokens), leaves) for tokens, leaves in self.visits.items()), reverse=True)
        return [tokens for tokens, leaves in pairs if tokens for _ in range(leaves)]

    @field_validator("visits")
    @classmethod
    def _numbers(cls, visits: dict[str, int]) -> dict[str, int]:
        if not all(key.isdecimal() and len(key) <= 15 for key in visits):
            raise ValueError("keys must be whole numbers of tokens")
        return visits


class ModelInfo(_Plain):
    """One cell: samples are seconds per forward pass, by process."""

    cell: Text
    processes: Annotated[
        list[Annotated[list[Seconds], Field(min_length=1, max_length=MAX_SAMPLES), FailFast()]],
        Field(min_length=1, max_length=MAX_PROCESSES),
        FailFast(),
    ]
    check: Check
    routing: Annotated[list[Routing], Field(max_length=MAX_LAYERS), FailFast()] = []
    weights_bytes: Count
    peak_bytes: Count  # of the process (CPU), or allocated on the device, while a forward pass ran
    build_seconds: Share
    prepare_seconds: Share
    joules: Annotated[list[Share], Field(max_length=MAX_PROCESSES), FailFast()] = []  # of a forward pass, by process
    planned_processes: Count
    notes: Annotated[list[Text], Field(max_length=100), FailFast()] = []
    timed_sources: Text = ""  # digest of what is timed (``fffbench.timed``)

    @field_validator("cell")
    @classmethod
    def _parses(cls, text: str) -> str:
        parse_model_cell(text)  # UserError is not a ValueError: the reader reports it with file and field
        return text

    @model_validator(mode="after")
    def _checked(self) -> ModelInfo:
        """No speed without its check: what replaced a layer and computes was held against float64."""
        kind = parse_model_cell(self.cell).variant.kind
        if kind not in ("dense", "none", "int8") and not self.check.tokens:
            raise ValueError("no token of its layers was compared with the float64 reference")
        return self


class ModelSkipped(_Plain):
    """A cell that was planned and has no time, with the reason in words."""

    cell: Text
    reason: Text


@dataclass(frozen=True)
class ModelRecord:
    """One cell of one run on one machine."""

    run: str
    machine: str
    started: str
    cell: ModelCell
    info: ModelInfo
    timed_sources: str = timed.UNKNOWN  # of equal ones the same was timed in the same way; unknown ones equal nothing

    @property
    def id(self) -> str:
        """Unique over all results: run and cell."""
        return f"{self.run}/{self.cell.id}"

    @property
    def provisional(self) -> bool:
        """Whether fewer fresh processes than a full record has were measured."""
        return len(self.info.processes) < FULL_PROCESSES


@dataclass
class ModelResults:
    """Everything loaded: records in a fixed order, machines by id, cells without a time (machine, cell, reason)."""

    records: list[ModelRecord] = field(default_factory=list)
    machines: dict[str, Machine] = field(default_factory=dict)
    skipped: list[tuple[str, ModelCell, str]] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    runs: list[RunInfo] = field(default_factory=list)
    paths: dict[str, str] = field(default_factory=dict)  # of each run its file, below the folder of results
    superseded: list[ModelRecord] = field(default_factory=list)  # of older sources, where there are newer ones
    older: frozenset[Place] = frozenset()  # places of older sources alone, where others are of those of now


def load_models(results_dir: Path | str, wanted: Callable[[str], bool] | None = None) -> ModelResults:
    """Read the files of whole models below ``results_dir``; nothing in them is fatal.

    All of them, or those whose path below it is ``wanted``: what others hold changes nothing.
    """
    root = Path(results_dir)
    files, refused = files_of_room(root, ROOM)
    table, unread = read_table(root)
    found = ModelResults(refused=[*refused, *unread])
    seen: set[str] = set()
    for path in files:
        if wanted is None or wanted(shown_path(path, root)):
            _read(path, root, table, found, seen)
    found.records.sort(key=lambda record: (record.machine, record.started, record.run, record.cell.id))
    _supersede(found)
    return found


def _supersede(found: ModelResults) -> None:
    """Where whole models were measured from the sources of now on a device, leave only those: see ``superseded``."""
    now = current(timed.MODELS)
    if now is None:
        return
    places = of_now(
        [
            Taken(_place(record), record.timed_sources == now, len(record.info.processes), record.cell.work.threads)
            for record in found.records
        ]
    )
    kept = [record for record in found.records if record.timed_sources == now or _place(record) not in places]
    found.superseded = [record for record in found.records if record.timed_sources != now and _place(record) in places]
    found.older = frozenset({_place(record) for record in kept} - places) if places else frozenset()
    found.records = kept


def _place(record: ModelRecord) -> Place:
    return record.machine, record.cell.work.device


def _read(path: Path, root: Path, table: Table, found: ModelResults, seen: set[str]) -> None:
    shown = shown_path(path, root)

    def refuse(where: str, reason: str) -> None:
        if len(found.refused) < 100:  # a broken writer breaks every cell alike
            found.refused.append(Refusal(shown, where, reason))

    try:
        data = parse_json(path)
    except FieldError as error:
        return refuse(error.field, str(error))
    except (ValueError, OSError) as error:
        return refuse("", f"cannot be read: {error.strerror if isinstance(error, OSError) else error}")
    run = read_run(data, path.parent.name, refuse)
    if run is None:
        return None
    version, cells, skipped = (data.get(name) for name in ("models_format", "cells", "skipped"))
    if version != FORMAT or isinstance(version, bool):
        return refuse("models_format", f"must be {FORMAT}, not {short(version)}")
    if not isinstance(cells, list) or not isinstance(skipped, list) or len(cells) + len(skipped) > MAX_CELLS:
        return refuse("cells", f"cells and skipped must be lists, of {MAX_CELLS} entries at most")
    found.runs.append(run)
    found.paths[run.run] = shown
    found.machines[run.machine.id] = run.machine
    _take_cells(cells, run, table.of(run, timed.MODELS), found, seen, refuse)
    _take_skipped(skipped, run, found, refuse)
    return None


def _take_cells(
    cells: list[Any], run: RunInfo, by_commit: str, found: ModelResults, seen: set[str], refuse: Refuse
) -> None:
    for index, entry in enumerate(cells):
        info = _entry(ModelInfo, entry, f"cells[{index}]", refuse)
        if info is None:
            continue
        measured = info.timed_sources or by_commit
        record = ModelRecord(run.run, run.machine.id, run.started, parse_model_cell(info.cell), info, measured)
        if record.id in seen:
            refuse(f"cells[{index}].cell", f"measured twice in run {run.run}")
            continue
        seen.add(record.id)
        found.records.append(record)


def _take_skipped(skipped: list[Any], run: RunInfo, found: ModelResults, refuse: Refuse) -> None:
    for index, entry in enumerate(skipped):
        lost = _entry(ModelSkipped, entry, f"skipped[{index}]", refuse)
        if lost is None:
            continue
        try:
            found.skipped.append((run.machine.id, parse_model_cell(lost.cell), lost.reason))
        except UserError as error:
            refuse(f"skipped[{index}].cell", printable(str(error)))


def _entry(kind: Any, entry: Any, where: str, refuse: Refuse) -> Any:
    try:
        return kind.model_validate(entry)
    except ValidationError as error:
        inner, reason = why(error)
        refuse(f"{where}.{inner}" if inner else where, reason)
    except UserError as error:
        refuse(f"{where}.cell", printable(str(error)))
    return None
