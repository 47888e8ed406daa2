"""Which figures did a version of this project publish? One file a version: ``results/published/<version>.json``.

Written when a version is published (``nox -s publish -- VERSION``) and read as any foreign file: what cannot be used is
a ``Refusal``. A figure is named by the question it answers (layer, machine, device, type and batch; a claim on a
device), never by which kernel or run answered it, so the next version's answer can be set beside it.

Format history (key ``format``):
1  first format.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from pydantic import FailFast, Field, ValidationError

from fffbench.errors import UserError
from fffbench.files import write_plain
from fffbench.results.documents import Document
from fffbench.results.listing import Refusal, shown_path
from fffbench.results.parsing import FieldError, parse_json, why
from fffbench.results.record import Text, _Plain

ROOM = "published"
FORMAT = 1
MOST_FILES, MOST_FIGURES = 1000, 20_000
VERSION = r"^[0-9A-Za-z][0-9A-Za-z.+-]{0,39}$"
Number = Annotated[float, Field(allow_inf_nan=False)]


class Figure(_Plain):
    """One published figure: the question it answers, in words, its value with its interval, and a claim's verdict."""

    key: Text
    what: Text
    value: Number | None = None
    low: Number | None = None
    high: Number | None = None  # None with a low one: no upper bound
    verdict: Text = ""


class Snapshot(Document):
    """The figures of one version, as they stood when it was published; ``date`` is that of its newest run."""

    version: Annotated[str, Field(pattern=VERSION)]
    date: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$")]
    figures: Annotated[list[Figure], Field(max_length=MOST_FIGURES), FailFast()]


def read_snapshots(root: Path | None) -> tuple[list[Snapshot], list[Refusal]]:
    """Every snapshot under ``root``, the newest first, and what could not be read."""
    found: list[Snapshot] = []
    refused: list[Refusal] = []
    folder = root / ROOM if root is not None else None
    if root is None or folder is None or not folder.is_dir():
        return found, refused
    for path in sorted(folder.glob("*.json"))[:MOST_FILES]:
        shown = shown_path(path, root)
        try:
            one = Snapshot.model_validate(parse_json(path))
        except ValidationError as error:
            refused.append(Refusal(shown, *why(error)))
        except FieldError as error:
            refused.append(Refusal(shown, error.field, str(error)))
        except (ValueError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            refused.append(Refusal(shown, "", f"cannot be read: {reason}"))
        else:
            if one.format != FORMAT:
                refused.append(Refusal(shown, "format", f"must be {FORMAT}, not {one.format}"))
            elif path.stem != one.version:
                refused.append(Refusal(shown, "version", f"{one.version} in a file that is called {path.name}"))
            else:
                found.append(one)
    return sorted(found, key=lambda one: (one.date, one.version), reverse=True), refused


def write_snapshot(root: Path, one: Snapshot) -> Path:
    """The file of ``one``, a line a figure, so that a diff of two versions reads."""
    lines = ",\n".join(json.dumps(figure.model_dump(exclude_defaults=True), allow_nan=False) for figure in one.figures)
    head = json.dumps({"format": one.format, "version": one.version, "date": one.date})[:-1]
    path = root / ROOM / f"{one.version}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_plain(path, f'{head}, "figures": [\n{lines}\n]}}\n')
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from error
    return path
