"""What did asv measure, commit by commit?

Reads asv's own files, ``results/asv/<machine>/*.json`` (result files of
version 2), its ``machine.json`` and ``benchmarks.json``. They are as untrusted
as the matrix files: what cannot be used is refused by file and field.

asv's conventions: one row per benchmark, columns named once per file and cut
after the last that holds something; parameters as repr strings, their product
in row-major order; NaN is a skipped combination, null a failed one. The whole of that format is read here, which is
why this file is longer than 300 lines.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError

from fffbench.results.listing import Refusal, json_files, shown_path
from fffbench.results.parsing import FieldError, parse_json, printable, short, why
from fffbench.results.reader import MAX_REFUSALS
from fffbench.text import plain

ASV = "asv"
VERSION = 2  # of asv's result files; benchmarks.json is version 2 as well, machine.json version 1
NOT_RESULTS = ("machine.json", "benchmarks.json")
MAX_COMBINATIONS = 4096  # of one benchmark's parameters: ours have 9
MAX_PARAMETERS = 16  # of one benchmark; a text of a hundred characters can ask for any number of combinations
MAX_POINTS = 20_000  # of one file; the largest at hand has 23
MOST_POINTS = 100_000  # of all files together: 100 MB
SMALLEST, LARGEST = 1e-15, 1e18  # of a result in seconds or bytes: quotients of two stay numbers
MAX_SAMPLES = 1000  # of one point: asv keeps some ten
UNITS = {"time": "seconds", "timeraw": "seconds", "peakmem": "bytes", "mem": "bytes"}  # by the name's prefix

MEASURED, SKIPPED, FAILED = "measured", "skipped", "failed"

Line = Annotated[str, Field(min_length=1, max_length=200)]
Refuse = Callable[[str, str], None]


@dataclass(frozen=True)
class HistoryPoint:
    """One benchmark with one combination of parameters at one commit; ``low`` and ``high`` are asv's 99 % interval."""

    machine: str
    environment: str
    benchmark: str
    params: tuple[tuple[str, str], ...]  # name and value, in the benchmark's order
    unit: str
    version: str  # hash of the benchmark's source: other versions measure something else
    commit: str
    date: str
    state: str  # measured, skipped or failed
    value: float | None
    low: float | None
    high: float | None
    samples: tuple[float, ...]


class _File(BaseModel):
    """The parts of a result file that are used; asv adds others."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: int
    commit_hash: Annotated[str, Field(pattern=r"^[0-9a-f]{7,64}$")]
    env_name: Line
    date: Annotated[int, Field(ge=0, lt=2**43)]  # milliseconds; 2**43 is the year 2248
    params: dict[str, Any]
    result_columns: Annotated[list[Line], Field(max_length=64), FailFast()]
    results: Annotated[dict[str, list[Any]], Field(max_length=10_000)]


@dataclass(frozen=True)
class _Meaning:
    """What benchmarks.json says of a benchmark."""

    unit: str
    names: tuple[str, ...]
    version: str


@dataclass
class History:
    """Everything under ``results/asv`` in a fixed order, and what was refused."""

    points: list[HistoryPoint] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)


def read_history(root: Path) -> History:
    """The history under the results folder ``root``; empty where asv never ran."""
    history = History()
    folder = root / ASV
    meanings = _read_benchmarks(folder / "benchmarks.json", root, history)
    seen: dict[tuple[str, str, str], str] = {}
    files, unlisted = json_files(root, ASV)
    history.refused += unlisted
    for path in files:
        if path.name not in NOT_RESULTS:
            _read_commit(path, root, meanings, seen, history)
    history.points.sort(key=lambda p: (p.machine, p.environment, p.benchmark, p.params, p.date, p.commit, p.version))
    return history


def _refuser(path: Path, root: Path, history: History) -> Refuse:
    """A function that notes one refused part of ``path``; beyond the limit it only counts."""
    count = 0

    def refuse(where: str, reason: str) -> None:
        nonlocal count
        count += 1
        if count <= MAX_REFUSALS:
            history.refused.append(Refusal(shown_path(path, root), printable(where), reason))
        elif count == MAX_REFUSALS + 1:
            history.refused.append(Refusal(shown_path(path, root), "", "and more parts of this file"))

    return refuse


def _load(path: Path, refuse: Refuse) -> dict[str, Any] | None:
    try:
        data = parse_json(path, constants=True)
    except FieldError as error:
        refuse(error.field, str(error))
        return None
    except (ValueError, OSError) as error:
        refuse("", f"cannot be read: {error.strerror if isinstance(error, OSError) else error}")
        return None
    if not isinstance(data, dict):
        refuse("", f"must be a JSON object, not {type(data).__name__}")
        return None
    return data


def _read_benchmarks(path: Path, root: Path, history: History) -> dict[str, _Meaning]:
    """Unit, parameter names and version by benchmark; what is missing falls back on asv's naming rules."""
    found: dict[str, _Meaning] = {}
    try:
        path.lstat()
    except FileNotFoundError:
        return found
    except OSError:  # the folder, which says so itself
        return found
    refuse = _refuser(path, root, history)
    for name, value in (_load(path, refuse) or {}).items():
        if name == "version":
            continue
        if not isinstance(value, dict):
            refuse(name, f"must be an object, not {type(value).__name__}")
            continue
        names, unit, version = value.get("param_names", []), value.get("unit", "unit"), value.get("version", "")
        if not _texts(names) or not _texts([unit, version]):
            refuse(name, "param_names must be a list of texts, unit and version texts")
            continue
        found[name] = _Meaning(plain(unit), tuple(plain(text) for text in names), plain(version))
    return found


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) and len(item) <= 200 for item in value)


def _read_commit(
    path: Path, root: Path, meanings: dict[str, _Meaning], seen: dict[tuple[str, str, str], str], history: History
) -> None:
    refuse = _refuser(path, root, history)
    file = _read_file(path, refuse)
    if file is None:
        return
    machine = plain(path.parent.name)
    key = (machine, file.commit_hash, file.env_name)
    if key in seen:
        refuse("commit_hash", f"commit {file.commit_hash[:8]} with the same environment is already in {seen[key]}")
        return
    seen[key] = shown_path(path, root)
    points: list[HistoryPoint] = []
    for name, row in file.results.items():
        try:
            points += _read_benchmark(name, row, file, meanings.get(name), machine)
        except ValueError as error:
            refuse(f"results.{name}", printable(str(error)))
        if len(points) > MAX_POINTS:
            refuse("results", f"more than {MAX_POINTS} results of one commit")
            return
    if len(history.points) + len(points) > MOST_POINTS:
        refuse("results", f"with the files before it more than {MOST_POINTS} results, which is all that is read")
        return
    history.points += points


def _read_file(path: Path, refuse: Refuse) -> _File | None:
    data = _load(path, refuse)
    if data is None:
        return None
    version = data.get("version")
    if isinstance(version, int) and version > VERSION:
        refuse("version", f"version {short(version)} is newer than the newest read here, {VERSION}: update fffbench")
    elif version != VERSION or isinstance(version, bool):
        refuse("version", f"must be {VERSION}, not {short(version)}: this is not a result file of asv")
    else:
        return _validated(data, path.parent.name, refuse)
    return None


def _validated(data: dict[str, Any], folder: str, refuse: Refuse) -> _File | None:
    try:
        file = _File.model_validate(data, strict=True)
    except ValidationError as error:
        refuse(*why(error))
        return None
    given = file.params.get("machine")
    if given != folder:
        refuse("params.machine", f"{short(given)} lies in the folder of another machine, {short(folder)}")
        return None
    return file


def _read_benchmark(
    name: str, row: Sequence[Any], file: _File, meaning: _Meaning | None, machine: str
) -> list[HistoryPoint]:
    """Every combination of one benchmark's parameters; ValueError says which column is not as it must be."""
    if not 0 < len(name) <= 200 or not name.isprintable():
        raise ValueError("not a benchmark's name")
    if len(row) > len(file.result_columns):
        raise ValueError(f"{len(row)} columns, but result_columns names {len(file.result_columns)}")
    columns = dict(zip(file.result_columns, row, strict=False))
    params = columns.get("params") or []
    if not isinstance(params, list) or not all(_texts(values) for values in params):
        raise ValueError("params: must be a list of lists of texts")
    if len(params) > MAX_PARAMETERS:
        raise ValueError(f"params: more than {MAX_PARAMETERS} parameters")
    if math.prod(len(values) for values in params) > MAX_COMBINATIONS:
        raise ValueError(f"params: more than {MAX_COMBINATIONS} combinations")
    combinations = list(product(*params))
    values = _column(columns, "result", len(combinations))
    lows = _column(columns, "stats_ci_99_a", len(combinations))
    highs = _column(columns, "stats_ci_99_b", len(combinations))
    samples = _column(columns, "samples", len(combinations))
    names = meaning.names if meaning else ()
    version = columns.get("version")
    if version is not None and (not isinstance(version, str) or len(version) > 200):
        raise ValueError("version: must be a text")
    unit = meaning.unit if meaning else UNITS.get(name.rsplit(".", 1)[-1].split("_", 1)[0], "unit")
    date = datetime.fromtimestamp(file.date / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    points = []
    for index, combination in enumerate(combinations):
        state, value = _result(values[index])
        measured = state == MEASURED
        points.append(
            HistoryPoint(
                machine=machine,
                environment=plain(file.env_name),
                benchmark=name,
                params=tuple(
                    (names[place] if place < len(names) else f"param{place + 1}", _plain(text))
                    for place, text in enumerate(combination)
                ),
                unit=unit,
                version=plain(version or ""),
                commit=file.commit_hash,
                date=date,
                state=state,
                value=value,
                low=_bound("stats_ci_99_a", lows[index]) if measured else None,
                high=_bound("stats_ci_99_b", highs[index]) if measured else None,
                samples=_samples(samples[index]) if measured else (),
            )
        )
    return points


def _column(columns: dict[str, Any], name: str, count: int) -> list[Any]:
    """The column ``name`` with one entry per combination; null stands for as many nulls."""
    value = columns.get(name)
    if value is None:
        return [None] * count
    if not isinstance(value, list) or len(value) != count:
        raise ValueError(f"{name}: must be a list of {count}, one for each combination of params")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST:  # a NaN is not
        raise ValueError(f"must be a number, not {short(value)}")
    return float(value)


def _result(value: Any) -> tuple[str, float | None]:
    """State and value of one result."""
    if value is None:
        return FAILED, None
    if isinstance(value, float) and math.isnan(value):
        return SKIPPED, None
    try:
        number = _number(value)
    except ValueError as error:
        raise ValueError(f"result: {error}") from error
    if number < SMALLEST:
        raise ValueError(f"result: must be above 0 and no less than {SMALLEST:g}, not {short(value)}")
    return MEASURED, number


def _bound(name: str, value: Any) -> float | None:
    """One end of the interval; asv writes an infinity where it has too few samples for one."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    try:
        return _number(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _samples(value: Any) -> tuple[float, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise ValueError(f"samples: must be a list of lists, not of {type(value).__name__}")  # noqa: TRY004 - data
    if len(value) > MAX_SAMPLES:
        raise ValueError(f"samples: more than {MAX_SAMPLES} of one result")
    try:
        return tuple(_number(item) for item in value)
    except ValueError as error:
        raise ValueError(f"samples: {error}") from error


def _plain(text: str) -> str:
    """A parameter as a reader writes it: asv stores ``repr``, so a text has quotes around it."""
    quoted = len(text) > 1 and text[0] in "'\"" and text[0] == text[-1] and not set(text[1:-1]) & {text[0], "\\"}
    return plain(text[1:-1] if quoted else text)
