"""How is the extension of a revision built, once for each set of sources that decide it?

All builds of a comparison lie at paths of equal length and are made by the same
command, so that neither file names in the binary nor the length of its path
differ between the sides. A build is kept under the hash of its sources, its
compiler and the build tools; ``copy`` tells builds of the same sources apart.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fffbench.errors import UserError
from fffbench.parent import end_with_parent
from fffbench.regress import sources
from fffbench.regress.sources import Revision

KEY_DIGITS = 16
LAST_LINES = 12  # of the compiler's output, when a build fails
TARGET = "_cpu"


def build(revision: Revision, copy: str, workspace: Path, deadline: float | None = None) -> Path:
    """The path of the built extension; ``UserError`` with the compiler's last lines where it fails.

    ``deadline`` is a reading of ``time.monotonic()`` by which it must be there; a build takes a minute on two cores.
    """
    folder = workspace / "builds" / key(revision, copy)
    built = folder / f"{TARGET}{sysconfig.get_config_var('EXT_SUFFIX')}"
    if built.is_file():
        return built
    sources.write(revision, folder / "src")
    tree = folder / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    generator = ["-G", "Ninja"] if shutil.which("ninja", path=_path()) else []
    configure = ["cmake", "-S", "src", "-B", "tree", *generator, "-DCMAKE_BUILD_TYPE=Release", "-DFFFBENCH_FAULTS=OFF"]
    _run([*configure, f"-DPython_EXECUTABLE={sys.executable}"], folder, revision, deadline)
    compile_ = ["cmake", "--build", "tree", "--target", TARGET, "--parallel", str(os.cpu_count() or 1)]
    _run(compile_, folder, revision, deadline)
    found = sorted(tree.rglob(built.name))
    if not found:
        raise UserError(f"the build of {revision.shown} made no {built.name}")
    partial = folder / "partial"
    shutil.copyfile(found[0], partial)
    partial.rename(built)
    shutil.rmtree(tree, ignore_errors=True)
    return built


def key(revision: Revision, copy: str) -> str:
    """What names the build: sources, tools and copy; always of one length."""
    tools = [_compiler(), version_of("nanobind"), sys.version, copy]
    return hashlib.sha256("\0".join([revision.digest, *tools]).encode()).hexdigest()[:KEY_DIGITS]


def check_tools() -> None:
    """Refuse, before anything is measured, where the tools of a build are missing."""
    missing = [name for name in ("cmake",) if shutil.which(name, path=_path()) is None]
    missing += [name for name in ("nanobind",) if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"building a revision needs {' and '.join(missing)}: python -m pip install cmake ninja nanobind, "
            "or nox -s regress"
        )


def _compiler() -> str:
    name = os.environ.get("CXX", "c++")
    try:
        done = subprocess.run([name, "--version"], capture_output=True, text=True, check=False)
    except OSError:
        return name
    return done.stdout.split("\n", maxsplit=1)[0] + os.environ.get("CXXFLAGS", "")


def version_of(package: str) -> str:
    """The installed version of a distribution, or ``none``."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _path() -> str:
    """The search path with this interpreter's own tools first: pip puts cmake and ninja there."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def _run(command: list[str], folder: Path, revision: Revision, deadline: float | None = None) -> None:
    log = folder / "build.log"
    left = None if deadline is None else deadline - time.monotonic()
    with log.open("ab") as output:
        environment = {**os.environ, "PATH": _path()}
        try:
            # a group of its own, so that at the deadline the compilers end with it
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=partial(end_with_parent, os.getpid()),  # noqa: PLW1509 - one prctl, no lock taken
            )
        except OSError as error:
            raise UserError(f"{command[0]} cannot be run: {error.strerror}") from error
        try:
            code = process.wait(None if left is None else max(0.0, left))
        except subprocess.TimeoutExpired as error:
            raise UserError(
                f"the time budget ended while {revision.shown} was being built; the builds that are finished are kept, "
                "so run the same command again or give a larger --budget"
            ) from error
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if code != 0:
        lines = log.read_text(errors="replace").replace(str(folder), ".").strip().split("\n")[-LAST_LINES:]
        log.unlink()
        raise BuildError(revision, lines)


class BuildError(UserError):
    """A revision that does not build; the message is one line, ``lines`` the compiler's last ones."""

    def __init__(self, revision: Revision, lines: list[str]) -> None:
        """Name the revision, and say the first error among the last lines."""
        first = next((line for line in lines if "error" in line.lower()), lines[-1])
        super().__init__(f"{revision.shown} does not build: {first.strip()}")
        self.lines = tuple(lines)
