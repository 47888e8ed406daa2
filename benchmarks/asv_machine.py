"""Under which name does asv file this machine? An asv plugin: the fingerprint's id, never the host name.

It also writes the entry that ``asv machine --yes`` would ask for, so ``asv run`` works at once, and holds the lock of
whoever measures on this machine while asv does: benchmarks run in processes of their own that end one after another,
so the suite itself could not hold it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from asv.environment import Environment, ExistingEnvironment
from asv.machine import Machine, MachineCollection
from asv.util import UserError, check_output

from fffbench.errors import UserError as Refused
from fffbench.measure import environment, fingerprint, lock
from fffbench.measure.lock import Lock

MEASURING = ("run", "continuous", "find", "profile")
OTHERS = ("check", "compare", "gh-pages", "machine", "preview", "publish", "rm", "setup", "show", "update")
VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"
_held: list[Lock] = []  # until asv ends


def setup() -> None:
    """Called by asv when it loads the plugin."""
    environment.clean()
    command = command_of(sys.argv[1:])
    if command in MEASURING and not _held:
        try:
            _held.append(lock.machine(f"asv {command}"))
        except Refused as error:
            raise UserError(str(error)) from None
    facts = fingerprint.stable()
    name = fingerprint.machine_id(facts)
    Machine.hardcoded_machine_name = name
    _keep_paths_out()
    entry = {
        "machine": name,
        "os": facts["system"],
        "arch": facts["architecture"],
        "cpu": facts["cpu"],
        "num_cpu": facts["cores"],
        "ram": facts["memory"],
    }
    try:
        known = MachineCollection.load(name)
    except UserError:
        known = None
    if known != entry:
        try:
            MachineCollection.save(name, entry)
        except OSError as error:
            where = MachineCollection.get_machine_file_path()
            reason = f"asv keeps its machines in {where}, which cannot be written ({error.strerror})"
            raise UserError(f"{reason}; set HOME to a folder that can") from None


def _keep_paths_out() -> None:
    """Call an existing environment ``existing-py3.11``: asv puts its interpreter's path into names and results."""
    if getattr(ExistingEnvironment.__init__, "keeps_paths_out", False):
        return
    asvs_own = ExistingEnvironment.__init__

    def init(self: ExistingEnvironment, *arguments: Any) -> None:
        asvs_own(self, *arguments)
        self._python = check_output([self._executable, "-c", VERSION]).strip()

    init.keeps_paths_out = True  # type: ignore[attr-defined]
    ExistingEnvironment.__init__ = init
    ExistingEnvironment.name = Environment.name


def command_of(arguments: Sequence[str]) -> str:
    """The asv command among the words of a command line, which options and their values may precede."""
    return next((word for word in arguments if word in MEASURING + OTHERS), "")
