"""How does a run get a name and a file that no other run has, whatever the clock says?

The date in a name is for people. What makes it unique is drawn at random, so that runs of two machines, of one second,
or of a second that came twice (a clock set back) are told apart even when their folders are merged; and a file that is
there is never written over.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import time
from pathlib import Path

from fffbench.errors import UserError

DRAWN_BYTES = 3
TRIES = 100
DATED = re.compile(r"-(\d{4})(\d\d)(\d\d)-(\d\d)(\d\d)(\d\d)(?:-|$)")
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS)


def fresh(preset: str, folder: Path, now: time.struct_time) -> str:
    """``quick-20261127-142000-7f3a9c``: a name that no file in ``folder`` has."""
    taken = {path.name.partition(".")[0] for path in folder.iterdir()} if folder.is_dir() else set()
    for _ in range(TRIES):
        name = f"{preset}-{time.strftime('%Y%m%d-%H%M%S', now)}-{secrets.token_hex(DRAWN_BYTES)}"
        if name not in taken:
            return name
    raise UserError(f"{folder}: no free name for a run; move some results elsewhere")


def dates(folder: Path) -> dict[str, str]:
    """The runs in ``folder``, finished or not, by name, with the date that their name says."""
    found = {}
    for path in folder.iterdir() if folder.is_dir() else ():
        match = DATED.search(path.stem)
        if match and path.suffix in (".json", ".journal"):
            year, month, day, hour, minute, second = match.groups()
            found[path.stem] = f"{year}-{month}-{day}T{hour}:{minute}:{second}Z"
    return found


def publish(draft: Path, target: Path) -> Path:
    """Give the finished ``draft`` the name ``target``, or one with a number behind it where that is taken."""
    for number in range(1, TRIES):
        place = target if number == 1 else target.with_name(f"{target.stem}-{number}{target.suffix}")
        try:
            give(draft, place)
        except FileExistsError:
            continue
        draft.unlink()
        return place
    raise UserError(f"{target}: is there already, and so are {TRIES} with a number behind it; move them elsewhere")


def give(draft: Path, place: Path) -> None:
    """Give the file ``draft`` the name ``place`` as well; ``FileExistsError`` where that is taken."""
    try:
        os.link(draft, place)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        with place.open("xb") as out, draft.open("rb") as source:  # a file system without links
            shutil.copyfileobj(source, out)
            out.flush()
            os.fsync(out.fileno())
