"""Under which name does asv file this machine? An asv plugin: the fingerprint's id, never the host name.

It also writes the entry that ``asv machine --yes`` would ask for, so ``asv run`` works at once, and holds the lock of
whoever measures on this machine while asv does: benchmarks run in processes of their own that end one after another,
so the suite itself could not hold it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from asv.machine import Machine, MachineCollection
from asv.util import UserError

from fffbench.errors import UserError as Refused
from fffbench.measure import fingerprint, lock
from fffbench.measure.lock import Lock

MEASURING = ("run", "continuous", "find", "profile")
OTHERS = ("check", "compare", "gh-pages", "machine", "preview", "publish", "rm", "setup", "show", "update")
_held: list[Lock] = []  # until asv ends


def setup() -> None:
    """Called by asv when it loads the plugin."""
    command = command_of(sys.argv[1:])
    if command in MEASURING and not _held:
        try:
            _held.append(lock.machine(f"asv {command}"))
        except Refused as error:
            raise UserError(str(error)) from None
    facts = fingerprint.stable()
    name = fingerprint.machine_id(facts)
    Machine.hardcoded_machine_name = name
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


def command_of(arguments: Sequence[str]) -> str:
    """The asv command among the words of a command line, which options and their values may precede."""
    return next((word for word in arguments if word in MEASURING + OTHERS), "")
