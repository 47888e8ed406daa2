"""Under which name does asv file this machine? An asv plugin: the fingerprint's id, never the host name.

It also writes the entry that ``asv machine --yes`` would ask for, so ``asv run`` works at once.
"""

from __future__ import annotations

from asv.machine import Machine, MachineCollection
from asv.util import UserError

from fffbench.measure import fingerprint


def setup() -> None:
    """Called by asv when it loads the plugin."""
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
        MachineCollection.save(name, entry)
