"""Which sources decide the binary of a revision, and how do they get into a folder of their own?

A revision is anything git can name, the working tree as it lies on the disk, or
another folder of sources (where there is no git).
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fffbench.errors import UserError

WORKING_TREE = "working tree"
SILENT = "failed"  # what is said for git where it says nothing


@dataclass(frozen=True)
class Deciding:
    """What decides the kernels of one device: ``paths`` (all of which a revision must have) and file suffixes.

    ``younger`` are paths that older revisions do without.
    """

    paths: tuple[str, ...]
    suffixes: tuple[str, ...]
    younger: tuple[str, ...] = ()

    @property
    def read(self) -> tuple[str, ...]:
        """Every path that is read where it is there."""
        return (*self.paths, *self.younger)

    def holds(self, path: str) -> bool:
        """Whether the file at ``path`` in the repository is one of them."""
        return path.endswith(self.suffixes) and any(path == own or path.startswith(f"{own}/") for own in self.read)


# what the build of the extension reads; the rest of a revision cannot change its kernels
CPU = Deciding(("CMakeLists.txt", "fffbench/implementations/cpu"), (".cpp", ".hpp", ".txt"))
# CUDA sources are compiled at first use by the Python beside them, which also chooses and launches them
CUDA = Deciding(
    (
        "fffbench/__init__.py",
        "fffbench/errors.py",
        "fffbench/units.py",
        "fffbench/plan",
        "fffbench/implementations",
    ),
    (".py", ".cu", ".cuh"),
    # what the registry imports since it asks plugins, and since a device is a file
    (
        "fffbench/apart.py",
        "fffbench/contain.py",
        "fffbench/surroundings.py",
        "fffbench/parent.py",
        "fffbench/devices",
        "fffbench/problems",
        "fffbench/extensions.py",
        "fffbench/blaslib.py",
    ),
)


@dataclass(frozen=True)
class Revision:
    """A state of the sources: what the user called it, its commit (empty for the working tree), and its files."""

    name: str
    commit: str
    files: tuple[tuple[str, bytes], ...]  # path in the repository and content, sorted

    @property
    def digest(self) -> str:
        """Hash of everything that decides the binary."""
        total = hashlib.sha256()
        for path, content in self.files:
            total.update(f"{path}\0{len(content)}\0".encode() + content)
        return total.hexdigest()

    @property
    def shown(self) -> str:
        """The revision for a reader: its name, and the short commit where that says more."""
        if not self.commit or self.commit.startswith(self.name):
            return self.name
        return f"{self.name} ({self.commit[:10]})"


def repository(base: str = "") -> Path:
    """The root of the git checkout around the current folder; that folder itself where ``base`` is one of sources."""
    try:
        return Path(os.fsdecode(_git(Path.cwd(), "rev-parse", "--show-toplevel").removesuffix(b"\n")))
    except UserError as error:
        if _is_folder(base):
            return Path.cwd()
        raise UserError(
            "regress compares revisions of a git checkout, or folders of sources: "
            f"run it inside a checkout, or name a folder as the base ({error})"
        ) from error


def _is_folder(name: str) -> bool:
    """Whether ``name`` is a folder's; an empty one is not the current folder, and one that is too long is none."""
    try:
        return bool(name.strip()) and Path(name).is_dir()
    except (OSError, ValueError):
        return False


def read(root: Path, name: str | None, deciding: Deciding = CPU) -> Revision:
    """The revision called ``name``: what git knows by that name, else the folder; None is the working tree."""
    if name is None:
        return read_working_tree(root, deciding)
    try:
        return read_revision(root, name, deciding)
    except UserError:
        if not _is_folder(name):
            raise
    return read_folder(Path(name), deciding)


def read_revision(root: Path, name: str, deciding: Deciding = CPU) -> Revision:
    """The deciding sources of a git revision."""
    try:
        commit = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    except UserError as error:
        raise UserError(
            f"revision {name!r} is unknown to git{_more(root, error)}; "
            f"allowed: a commit, tag or branch of {root.name}, or a folder"
        ) from error
    text = commit.decode().strip()
    present = _git(root, "ls-tree", "--name-only", text, "--", *deciding.read).decode().split("\n")
    _check_kernels(f"revision {name!r}", deciding, present)
    files = []
    with tarfile.open(fileobj=io.BytesIO(_git(root, "archive", text, "--", *filter(None, present)))) as archive:
        for member in archive.getmembers():
            content = archive.extractfile(member) if member.isfile() else None
            if content is not None and deciding.holds(member.name):
                files.append((member.name, content.read()))
    return Revision(name, text, tuple(sorted(files)))


def _more(root: Path, error: UserError) -> str:
    """What may be the reason, in brackets: git's own words, or that history is missing here."""
    if not str(error).endswith(SILENT):
        return f" ({error})"
    shallow = _git(root, "rev-parse", "--is-shallow-repository").strip() == b"true"
    return " (this checkout is shallow: git fetch --unshallow brings the rest)" if shallow else ""


def read_working_tree(root: Path, deciding: Deciding = CPU) -> Revision:
    """The deciding sources as they lie on the disk, committed or not."""
    return Revision(WORKING_TREE, "", _files(root, deciding))


def read_folder(folder: Path, deciding: Deciding = CPU) -> Revision:
    """The deciding sources of another folder, such as an exported revision; called by the folder's own name."""
    _check_kernels(f"folder {folder.name!r}", deciding, [path for path in deciding.paths if (folder / path).exists()])
    return Revision(folder.resolve().name, "", _files(folder, deciding))


def _check_kernels(what: str, deciding: Deciding, present: Sequence[str]) -> None:
    if not all(path in present for path in deciding.paths):
        raise UserError(f"{what} has no kernels to build: {' and '.join(deciding.paths)} are needed")


def _files(root: Path, deciding: Deciding) -> tuple[tuple[str, bytes], ...]:
    found = []
    try:
        for own in deciding.read:
            for path in [root / own] if (root / own).is_file() else (root / own).rglob("*"):
                name = path.relative_to(root).as_posix()
                if path.is_file() and deciding.holds(name):
                    found.append((name, path.read_bytes()))
    except OSError as error:
        raise UserError(f"the sources cannot be read: {error.filename}: {error.strerror}") from error
    return tuple(sorted(found))


def write(revision: Revision, folder: Path) -> None:
    """Lay the files of ``revision`` out in ``folder``, and nothing else."""
    shutil.rmtree(folder, ignore_errors=True)
    for path, content in revision.files:
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def _git(folder: Path, *arguments: str) -> bytes:
    try:
        # in English, and without waiting for a password that nobody can type
        environment = {**os.environ, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, check=False, env=environment)
    except OSError as error:
        raise UserError(f"git cannot be run: {error.strerror}") from error
    if done.returncode != 0:
        message = " ".join(done.stderr.decode(errors="replace").split())
        raise UserError(f"git {arguments[0]}: {message or SILENT}")
    return done.stdout
