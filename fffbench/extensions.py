"""What have other packages registered with us, and which of our own and of theirs goes by a name?

``importlib.metadata.entry_points`` stops at the first package with a damaged ``entry_points.txt``.

Implementations are untrusted and have a registry of their own. A device, a kind of layer or a kind of claim is a part
of the judge: its module is imported by whatever reads its name in a result file or a claim, so it must not import torch
when it is imported. What its import does is tried in a process of its own before (``apart``; this module is that
process), so that one that ends its process, hangs, or leaves threads or processes behind is refused by its name.
"""

from __future__ import annotations

import _thread
import contextlib
import importlib
import os
import pkgutil
import sys
import time
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from importlib.machinery import PathFinder
from importlib.metadata import EntryPoint, distributions
from pathlib import Path
from typing import Any, Generic, TypeVar

from fffbench import apart, contain
from fffbench.errors import UserError, one_of
from fffbench.surroundings import Surroundings

IMPLEMENTATIONS, DEVICES, PROBLEMS, CLAIM_KINDS = (
    f"fffbench.{kind}" for kind in ("implementations", "devices", "problems", "claim_kinds")
)
GROUPS = (IMPLEMENTATIONS, DEVICES, PROBLEMS, CLAIM_KINDS)

SUFFIXES = {".py", ".cpp", ".hpp", ".h", ".cu", ".cuh", ".so", ".ptx", ".cubin"}  # of files that decide what is run

STARTED_SECONDS = 0.1  # until a thread that an import started counts as one

T = TypeVar("T")

left_out: dict[str, None] = {}  # why somebody's was left out where all that can be used were asked for, in order


def registered(group: str) -> tuple[list[EntryPoint], dict[str, str]]:
    """The entry points of ``group``, and by package why its metadata cannot be read; of two of a name the first."""
    found: list[EntryPoint] = []
    unreadable: dict[str, str] = {}
    seen: set[str] = set()
    for package in distributions():
        name = "a package without a name"
        try:
            if group not in (package.read_text("entry_points.txt") or ""):
                continue
            name = contain.one_line(package.name or name)
            if name not in seen:
                seen.add(name)
                found += [point for point in package.entry_points if point.group == group]
        except Exception as error:  # noqa: BLE001 - whatever a parser of foreign text raises
            unreadable[name] = f"its metadata cannot be read: {contain.one_line(f'{type(error).__name__}: {error}')}"
    return found, unreadable


@cache
def _points(group: str) -> dict[str, EntryPoint]:
    """The entry points of ``group`` by name."""
    return {point.name: point for point in reversed(registered(group)[0])}


def files_of(entry_point: str) -> set[Path]:
    """The files of an implementation of another package: of that package, and of its distribution.

    Nothing of it is imported to find them.
    """
    top = entry_point.partition(":")[0].partition(".")[0]
    spec = PathFinder.find_spec(top)
    found = {Path(spec.origin)} if spec is not None and spec.origin else set()
    folders = (spec and spec.submodule_search_locations) or ()
    found |= {path for folder in folders for path in Path(folder).rglob("*") if path.suffix in SUFFIXES}
    for point in registered(IMPLEMENTATIONS)[0]:
        if point.value.split(":")[0].split(".")[0] == top and point.dist is not None:
            listed = (Path(str(point.dist.locate_file(name))) for name in point.dist.files or ())
            found |= {path for path in listed if path.suffix in SUFFIXES and path.is_file()}
    return found


class Extensions(Mapping[str, T], Generic[T]):
    """One object per name: the modules of a package of ours first, then the entry points of a group.

    Each module has it as ``attribute``. Others' are imported when their name is asked for.
    """

    def __init__(self, what: str, package: str, group: str, attribute: str, kind: type) -> None:
        """``what`` is one of them in a message; ``kind`` what every object must be (or a subclass of)."""
        self._what, self._package, self._group, self._attribute, self._kind = what, package, group, attribute, kind

    @cached_property
    def own(self) -> dict[str, T]:
        """Ours, by the names of their modules."""
        package = importlib.import_module(self._package)
        modules = [
            importlib.import_module(f"{self._package}.{info.name}") for info in pkgutil.iter_modules(package.__path__)
        ]
        return {
            module.__name__.rpartition(".")[2]: getattr(module, self._attribute)
            for module in modules
            if hasattr(module, self._attribute)
        }

    def __getitem__(self, name: str) -> T:
        """The object called ``name``; ``UserError`` where there is none, or the package that has it is broken."""
        if name in self.own:
            return self.own[name]
        if name not in _points(self._group):
            raise one_of(self._what, name, self)
        return _loaded(_points(self._group)[name], self._what, self._attribute, self._kind)  # type: ignore[no-any-return]

    def __iter__(self) -> Iterator[str]:
        """All names, ours first."""
        yield from self.own
        yield from (name for name in _points(self._group) if name not in self.own)

    def __contains__(self, name: object) -> bool:
        """Whether anybody goes by ``name``."""
        return name in self.own or name in _points(self._group)

    def usable(self) -> dict[str, T]:
        """All by name but those whose package is broken, which are ``left_out`` and refused by name."""
        broken = self.broken()
        left_out.update(dict.fromkeys(broken.values()))
        return {name: self[name] for name in self if name not in broken}

    def broken(self) -> dict[str, str]:
        """Those that cannot be used, by name, each with the reason in a line."""
        found = {}
        for name in _points(self._group):
            try:
                self[name]
            except UserError as error:
                found[name] = str(error)
        return found

    def __len__(self) -> int:
        """How many names there are."""
        return sum(1 for _ in self)


@cache
def _loaded(point: EntryPoint, what: str, attribute: str, kind: type) -> Any:
    where = f"{what} {point.name!r} ({point.value})"
    if (fault := _fault(point.value, attribute)) is not None:
        raise UserError(f"{where} cannot be imported: {fault}")
    try:
        with contextlib.redirect_stdout(sys.stderr):  # what a command prints is read by other programs
            found = getattr(point.load(), attribute)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # here, though not apart; sys.exit too: exit 0 would say that the command has ended
        said = contain.one_line(f"{type(error).__name__}: {error}")
        raise UserError(f"{where} cannot be imported: {said}") from error
    if not (isinstance(found, kind) or (isinstance(found, type) and issubclass(found, kind))):
        raise UserError(f"{where}: its {attribute} must be a {kind.__name__}")
    return found


@cache
def _fault(value: str, attribute: str) -> str | None:
    """What goes wrong where the module at ``value`` is imported in another process, or None."""
    around = Surroundings(os.getpid())
    try:
        apart.ask("fffbench.extensions", {"value": value, "attribute": attribute})
    except apart.PluginError as error:
        return str(error)
    finally:
        changed = around.changed()
        around.restore()
    return None if changed is None else f"it changed {changed} that asked it"


def tried(question: apart.Question) -> apart.Answer:
    """Import a module, here, and say what its import leaves behind."""
    getattr(EntryPoint("extension", question["value"], "").load(), question["attribute"])
    time.sleep(STARTED_SECONDS)
    if threads := _thread._count():  # noqa: SLF001 - those that threading does not know of, too
        raise apart.PluginError(f"its import leaves {threads} thread{'s' * (threads != 1)} running")
    if contain.descendants():
        raise apart.PluginError("its import leaves a process behind")
    return {}


if __name__ == "__main__":
    apart.serve(tried)
