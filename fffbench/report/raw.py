"""Where is the file that a number was read from? Beside the page, under the name that it has among the results.

The page links the raw files of the runs it names, and a page is published without the folder it was made from, so
they are copied: ``results/matrix/<machine>/<run>.json`` beside ``index.html`` is the file of that name in the
repository, byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from fffbench.errors import UserError
from fffbench.files import read_plain, write_plain
from fffbench.report.view import Link

ROOM = "results"
MOST = 2**27  # bytes of one file: a year of a machine's headline in one file has a tenth of it


def raw_files(paths: Iterable[str], folder: Path | None) -> tuple[Link, ...]:
    """The files of a run with the addresses at which a page finds them; no address where ``folder`` has no such file.

    A name that is not printable is not the file's own, so such a file is named and not linked.
    """
    return tuple(
        Link(f"{ROOM}/{path}", quote(f"{ROOM}/{path}") if folder and _inside(path, folder) else "") for path in paths
    )


def _inside(path: str, folder: Path) -> bool:
    pure = PurePosixPath(path)
    return not pure.is_absolute() and ".." not in pure.parts and (folder / pure).is_file()


def copy_files(links: Iterable[Link], folder: Path, out: Path) -> None:
    """Put the linked files beside the page in ``out``; a file that is there already, as it is, stays untouched."""
    for path in sorted({link.text.removeprefix(f"{ROOM}/") for link in links if link.to}):
        target = out / ROOM / path
        try:
            data = read_plain(folder / path, MOST)
            if target.is_file() and read_plain(target, MOST, links=True) == data:
                continue
        except (OSError, ValueError, UserError):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        write_plain(target, data)
