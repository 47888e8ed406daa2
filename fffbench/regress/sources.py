"""Which sources decide the binary of a revision, and how do they get into a folder of their own?

A revision is anything git can name, or the working tree as it lies on the disk.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from fffbench.errors import UserError

WORKING_TREE = "working tree"
# what the build of the extension reads; the rest of a revision cannot change its kernels
DECIDING = ("CMakeLists.txt", "fffbench/implementations/cpu")
SUFFIXES = (".cpp", ".hpp", ".txt")


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


def repository() -> Path:
    """The root of the git checkout around the current folder."""
    try:
        return Path(_git(Path.cwd(), "rev-parse", "--show-toplevel").decode().strip())
    except UserError as error:
        raise UserError("regress compares revisions of a git checkout: run it inside one") from error


def read_revision(root: Path, name: str) -> Revision:
    """The deciding sources of a git revision."""
    try:
        commit = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    except UserError as error:
        raise UserError(
            f"revision {name!r} is unknown to git; allowed: a commit, tag or branch of {root.name}"
        ) from error
    text = commit.decode().strip()
    present = _git(root, "ls-tree", "--name-only", text, "--", *DECIDING).decode().split("\n")
    if not all(path in present for path in DECIDING):
        raise UserError(f"revision {name!r} has no kernels to build: {' and '.join(DECIDING)} are needed")
    files = []
    with tarfile.open(fileobj=io.BytesIO(_git(root, "archive", text, "--", *DECIDING))) as archive:
        for member in archive.getmembers():
            content = archive.extractfile(member) if member.isfile() else None
            if content is not None and member.name.endswith(SUFFIXES):
                files.append((member.name, content.read()))
    return Revision(name, text, tuple(sorted(files)))


def read_working_tree(root: Path) -> Revision:
    """The deciding sources as they lie on the disk, committed or not."""
    paths = [root / DECIDING[0], *sorted((root / DECIDING[1]).rglob("*"))]
    try:
        files = [
            (path.relative_to(root).as_posix(), path.read_bytes())
            for path in paths
            if path.is_file() and path.name.endswith(SUFFIXES)
        ]
    except OSError as error:
        raise UserError(f"the working tree cannot be read: {error.filename}: {error.strerror}") from error
    return Revision(WORKING_TREE, "", tuple(sorted(files)))


def write(revision: Revision, folder: Path) -> None:
    """Lay the files of ``revision`` out in ``folder``, and nothing else."""
    shutil.rmtree(folder, ignore_errors=True)
    for path, content in revision.files:
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def _git(folder: Path, *arguments: str) -> bytes:
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, check=False)
    except OSError as error:
        raise UserError(f"git cannot be run: {error.strerror}") from error
    if done.returncode != 0:
        message = " ".join(done.stderr.decode(errors="replace").split())
        raise UserError(f"git {arguments[0]}: {message or 'failed'}")
    return done.stdout
