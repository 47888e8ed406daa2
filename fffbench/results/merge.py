"""How do results from elsewhere come into a folder of results, in any order and any number of times?

A name says which run a file is from, and is drawn at random (``names``), so two files of one name and other content
are two people's, or one that was changed: both cannot be true. Everything is looked at before anything is written;
where one name has two contents, all such names are listed and nothing is merged. A file that is there is never
written over, and one that is there with the same bytes is left alone, so a merge that was cut short is done again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from fffbench.errors import UserError
from fffbench.files import read_plain
from fffbench.results import names
from fffbench.results.listing import LINK, Refusal
from fffbench.results.packed import Packed, result_files
from fffbench.results.parsing import MAX_BYTES, FieldError, parse_json, why
from fffbench.results.reader import read_run
from fffbench.results.regressions import REGRESS, Check

STAGING = ".merging-"  # within the folder of results, so that giving a file its name copies nothing
SHOWN = 50  # conflicts named in one line of error


@dataclass
class Merged:
    """What a merge did: places that were filled, places that had the same file already, and what was left out."""

    added: list[str] = field(default_factory=list)
    present: list[str] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)


class ConflictError(UserError):
    """Some names have two contents; ``places`` lists every one of them."""

    def __init__(self, conflicts: dict[str, list[str]]) -> None:
        """``conflicts``: where the differing files lie, by place."""
        self.places = tuple(sorted(conflicts))
        shown = "; ".join(f"{place} ({' and '.join(conflicts[place])})" for place in self.places[:SHOWN])
        more = f"; and {len(self.places) - SHOWN} more" if len(self.places) > SHOWN else ""
        super().__init__(f"same name and other content, so nothing was merged: {shown}{more}")


def merge(sources: Sequence[Path], results: Path) -> Merged:
    """Add the result files of ``sources`` (folders, tars, zips) to the folder ``results``, made if need be.

    ``ConflictError`` names every file of which there are two contents; then, as after any other ``UserError``, the
    folder is as before. Time is linear in the bytes of the sources; memory is that of the largest file.
    """
    made = not results.exists()
    results.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=STAGING, dir=results))
    try:
        merged, staged = _staged(sources, results, staging)
        for place in staged:
            _settle(staging / place, results / place, merged, place)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if made and not any(results.iterdir()):
            results.rmdir()
    merged.refused = sorted(set(merged.refused))
    return merged


def _staged(sources: Sequence[Path], results: Path, staging: Path) -> tuple[Merged, list[str]]:
    """What was found, with every new file, checked and written to ``staging``."""
    merged = Merged()
    known: dict[str, tuple[str, bytes]] = {}  # where each place's content was first seen, and its hash
    conflicts: dict[str, list[str]] = {}
    staged = []
    for source in sources:
        for item in result_files(source):
            if isinstance(item, Refusal):
                merged.refused.append(item)
                continue
            digest = hashlib.sha256(item.data).digest()
            if item.place not in known:
                there = _there(results, item)
                if there is not None:
                    known[item.place] = (str(results / item.place), hashlib.sha256(there).digest())
                    merged.present.append(item.place)
            if item.place in known:
                where, before = known[item.place]
                if before != digest:
                    conflicts.setdefault(item.place, [where]).append(item.found)
                continue
            draft = staging / item.place
            draft.parent.mkdir(parents=True, exist_ok=True)
            _write(draft, item.data)
            refusal = _unusable(draft, item)
            if refusal is not None:
                draft.unlink()
                merged.refused.append(refusal)
                continue
            known[item.place] = (item.found, digest)
            staged.append(item.place)
    if conflicts:
        raise ConflictError(conflicts)
    return merged, sorted(staged)


def _there(results: Path, item: Packed) -> bytes | None:
    """What lies in ``results`` where ``item`` belongs; None where nothing does. ``UserError`` for a link on the way."""
    place = results / item.place
    for folder in (place.parent.parent, place.parent):
        if folder.is_symlink():
            raise UserError(f"{folder}: {LINK}; nothing was merged")
    try:
        return read_plain(place, MAX_BYTES)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{place}: {reason}; move it away and merge again") from error


def _unusable(draft: Path, item: Packed) -> Refusal | None:
    """Why the file is no result of the machine in whose folder it lay, or None.

    Cells are not looked at: those that cannot be used are refused one by one wherever results are read.
    """
    reasons: list[tuple[str, str]] = []
    try:
        data = parse_json(draft)
        if item.room != REGRESS:
            read_run(data, item.machine, lambda where, reason: reasons.append((where, reason)))
        elif Check.model_validate(data).machine != item.machine:
            reasons.append(("machine", "lies in another machine's folder"))
    except ValidationError as error:
        reasons.append(why(error))
    except FieldError as error:
        reasons.append((error.field, str(error)))
    except ValueError as error:
        reasons.append(("", f"cannot be read: {error}"))
    return Refusal(item.found, *reasons[0]) if reasons else None


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _settle(draft: Path, place: Path, merged: Merged, shown: str) -> None:
    """Give the finished ``draft`` its name; where somebody else has just done so, with the same bytes only."""
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        names.give(draft, place)
    except FileExistsError:
        if read_plain(place, MAX_BYTES) != draft.read_bytes():
            raise ConflictError({shown: [str(place), "a file that appeared while merging"]}) from None
        merged.present.append(shown)
    else:
        merged.added.append(shown)
