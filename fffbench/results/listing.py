"""Which files lie in the folders of results, and which entries are none?

What cannot be listed is a refusal of its own: one unreadable folder or one link costs nothing but itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fffbench.text import plain

MOST_FILES = 50_000  # in one room of a results folder; 500 machines with a release each have 11,750
ARCHIVE = "archive"  # a folder of measurements of older sources, with the same rooms
LINK = "a link; results are read from plain folders only"


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


def shown_path(path: Path, root: Path) -> str:
    """``path`` relative to the results folder, printable whatever bytes its name has."""
    return plain(os.fsencode(path.relative_to(root)).decode("utf-8", "replace"))


def files_of_room(root: Path, room: str) -> tuple[list[Path], list[Refusal]]:
    """The files of a room and of the same room in the archive, as ``json_files`` gives them."""
    files, refused = json_files(root, room)
    older, refused_older = json_files(root, f"{ARCHIVE}/{room}", endings=(".json", ".json.gz"))
    return [*files, *older], [*refused, *refused_older]


def json_files(root: Path, room: str, endings: tuple[str, ...] = (".json",)) -> tuple[list[Path], list[Refusal]]:
    """``root/room/<machine>/*.json``, sorted, and what is refused; nothing at all where the room does not exist.

    In the archive files are compressed (``.json.gz``).
    """
    files: list[Path] = []
    refused: list[Refusal] = []

    def entries(folder: Path) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as found:
                yield from sorted(found, key=lambda entry: entry.name)
        except FileNotFoundError:
            return
        except OSError as error:
            refused.append(Refusal(shown_path(folder, root), "", f"cannot be read: {error.strerror}"))

    for machine in entries(root / room):
        path = root / room / machine.name
        if machine.is_symlink():
            refused.append(Refusal(shown_path(path, root), "", LINK))
        elif not machine.is_dir(follow_symlinks=False):
            if machine.name.endswith(".json") and machine.name != "benchmarks.json":  # which is asv's
                refused.append(Refusal(shown_path(path, root), "", "lies outside a machine's folder"))
        else:
            names = [entry.name for entry in entries(path)]
            files += [path / name for name in names if name.endswith(endings) and not name.startswith(".")]
    if len(files) > MOST_FILES:
        more = f"{len(files)} result files; the first {MOST_FILES} are read"
        refused.append(Refusal(shown_path(root / room, root), "", more))
    return files[:MOST_FILES], refused
