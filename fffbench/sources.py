"""Which commit are these sources of, and were they changed since?

Asked twice: when a wheel, an editable install or an sdist is built (``write_stamp``, from ``buildtools/backend.py``,
which has only the standard library), and when a run begins (``current``). A checkout is asked through git; an
installed package has a stamp from its build, and the digest in it says whether somebody edited it since. Of a
repository one merely stands in, or that the installation lies in, nothing is read.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

STAMP = "_built.json"  # in the package's folder, ignored by git
TIMED = "timed"  # in the stamp: what each implementation is timed by
UNKNOWN = "unknown"
SHOWN_DIGITS = 10  # of a commit, in a run's own field
DIGEST_DIGITS = 16
MEASURED = ("fffbench", "CMakeLists.txt", "pyproject.toml")  # a change elsewhere changes no measurement
SHIPPED = (".py", ".toml", ".cu", ".cuh")  # what a wheel has of the sources
COMPILED = (".cpp", ".hpp")  # what is in its kernels instead
OWN = re.compile(r'^name = "fffbench"$', re.MULTILINE)  # in pyproject.toml: the repository is this project's
NAMED = re.compile(r"([0-9a-f]{7,40})(-dirty)?")
GIT_SECONDS = 60.0
# Another owner's checkout (a container's mount) is read all the same, and no hook of it is run.
GIT = ("git", "--no-optional-locks", "-c", "safe.directory=*", "-c", "core.fsmonitor=false")


@dataclass(frozen=True)
class Sources:
    """The commit (40 digits, or ``unknown``), whether it was changed (None: nobody can say), the digests of both parts.

    ``shipped`` is of the Python, CUDA and TOML files, ``compiled`` of the C++ sources of the kernels.
    """

    commit: str
    dirty: bool | None
    shipped: str
    compiled: str

    @property
    def shown(self) -> str:
        """What a run stores: ten digits of the commit, ``-dirty`` behind them if it was changed."""
        short = self.commit[:SHOWN_DIGITS] if self.commit != UNKNOWN else UNKNOWN
        return f"{short}-dirty" if self.dirty else short


def current(package: Path | None = None, named: str | None = None) -> Sources:
    """The sources that run here; ``named`` (``FFFBENCH_COMMIT``) counts only where they cannot say themselves.

    ValueError where ``named`` is no commit.
    """
    package = package or Path(__file__).resolve().parent
    named = os.environ.get("FFFBENCH_COMMIT") if named is None else named
    match = NAMED.fullmatch(named) if named else None
    if named and match is None:
        raise ValueError(f"FFFBENCH_COMMIT={named[:60]!r}: allowed are 7 to 40 hexadecimal digits")
    found, stamp = _of_checkout(package.parent), _stamp(package)
    shipped, compiled = _digests(package)
    dirty: bool | None
    if found is not None:
        commit, dirty = found
        # kernels that were not built by this project's own build, or before the sources changed
        if stamp is None:
            dirty = dirty or None
        elif stamp.compiled != compiled:
            dirty = True
    elif stamp is not None and stamp.commit != UNKNOWN:
        commit, compiled = stamp.commit, stamp.compiled
        dirty = True if stamp.shipped != shipped else stamp.dirty
    elif match is not None:
        commit, dirty = match[1], True if match[2] else None
    else:
        commit, dirty = UNKNOWN, None
    return Sources(commit, dirty, shipped, compiled)


def write_stamp(root: Path, timed: Mapping[str, str] | None = None) -> Path:
    """Fix in the package under ``root`` what is being built there: from git, or from the stamp that an sdist has.

    ``timed`` are the digests of what each implementation is timed by (``timed.digests``).
    """
    package = root / "fffbench"
    shipped, compiled = _digests(package)
    found, before = _of_checkout(root), _stamp(package)
    if found is not None:
        made = Sources(*found, shipped, compiled)
    elif before is not None:
        changed = (before.shipped, before.compiled) != (shipped, compiled)
        made = Sources(before.commit, True if changed else before.dirty, shipped, compiled)
    else:
        made = Sources(UNKNOWN, None, shipped, compiled)
    path = package / STAMP
    path.write_text(json.dumps({**asdict(made), TIMED: dict(timed or {})}) + "\n", encoding="utf-8")
    return path


def built(package: Path) -> dict[str, str]:
    """The digests of what is timed that the build stored (``timed.digests``); empty where it stored none."""
    found = _written(package).get(TIMED)
    known = isinstance(found, dict) and all(isinstance(text, str) for item in found.items() for text in item)
    return found if known and isinstance(found, dict) else {}


def built_from_these(package: Path) -> bool:
    """Whether the compiled kernels were built from the C++ sources beside them, byte for byte."""
    stamp = _stamp(package)
    return stamp is not None and stamp.compiled == _digests(package)[1]


def edited(package: Path) -> bool:
    """Whether what is shipped of the package is no longer what the build stored, or nobody knows what that was."""
    stamp = _stamp(package)
    return stamp is None or stamp.shipped != _digests(package)[0]


def digest(files: Iterable[tuple[str, Path]]) -> str:
    """Hash over names and contents, in the order of the names."""
    found = hashlib.sha256()
    for name, path in sorted(files):
        content = path.read_bytes()
        found.update(f"{name}\0{len(content)}\0".encode() + content)
    return found.hexdigest()[:DIGEST_DIGITS]


def _digests(package: Path) -> tuple[str, str]:
    """Of what is shipped, and of what the kernels are compiled from (of nothing, in an installed package)."""
    files = [path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    named = [(path.relative_to(package).as_posix(), path) for path in files]
    build = package.parent / "CMakeLists.txt"
    return (
        digest(item for item in named if item[1].suffix in SHIPPED),
        digest([*(item for item in named if item[1].suffix in COMPILED), *([(build.name, build)] * build.is_file())]),
    )


def _stamp(package: Path) -> Sources | None:
    try:
        found = Sources(**{key: value for key, value in _written(package).items() if key != TIMED})
    except TypeError:
        return None
    texts = (found.commit, found.shipped, found.compiled)
    return found if all(isinstance(item, str) for item in texts) and found.dirty in (True, False, None) else None


def _written(package: Path) -> dict[str, Any]:
    """The stamp as it is; empty where there is none."""
    try:
        said = json.loads((package / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def _of_checkout(root: Path) -> tuple[str, bool] | None:
    """Commit and dirtiness of the checkout at ``root`` itself (not above it), if it is one of this project."""
    try:
        own = (root / ".git").exists() and OWN.search((root / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    head = _git(root, "rev-parse", "HEAD") if own else None
    if not head:
        return None
    return head, changed(root, *MEASURED)


def changed(root: Path, *paths: str) -> bool:
    """Whether something of ``paths`` in the checkout at ``root`` differs from its commit, or git cannot say."""
    found = _git(root, "status", "--porcelain", "--untracked-files=all", "--", *paths)
    return found is None or bool(found)


def _git(root: Path, *arguments: str) -> str | None:
    # inside a hook, GIT_DIR and its like name another repository
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = [*GIT, "-C", str(root), *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, env=environment, timeout=GIT_SECONDS, errors="replace"
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
