"""Is a file from the machine whose name it bears?

A machine's id ends with a hash of the facts that identify it. A file whose facts have another hash bears a name that
is not its own; of files with one id and different facts (four digits can be found by trying), the most common facts
are the machine's.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping

from fffbench.identity import DIGITS, NOT_IDENTITY, belongs
from fffbench.results.record import Machine

_HASHED = re.compile(rf"-([0-9a-f]{{{DIGITS}}})$")

Facts = tuple[tuple[str, str], ...]


def digests(stable: Mapping[str, str]) -> set[str]:
    """The ends that an id may have with these facts: the hash of all, and of those that identify."""
    identifying = {name: value for name, value in stable.items() if name not in NOT_IDENTITY}
    return {hashlib.sha256(repr(sorted(some.items())).encode()).hexdigest()[:DIGITS] for some in (stable, identifying)}


def misnamed(machine: Machine) -> str | None:
    """Why the facts of ``machine`` contradict its id, or None; an id without a hash says nothing about them."""
    said = _HASHED.search(machine.id)
    if said is None or said[1] in digests(machine.stable) or belongs(machine.id, machine.stable):
        return None
    others = ", ".join(sorted(digests(machine.stable)))
    return f"the facts do not belong to {machine.id!r}: their hash is {others}"


def facts(machine: Machine) -> Facts:
    """What makes two machines of one id the same."""
    return tuple(sorted((name, value) for name, value in machine.stable.items() if name not in NOT_IDENTITY))


def owners(files: Iterable[tuple[Machine, int]]) -> dict[str, Facts]:
    """For each id the facts of most of ``files`` (machine and number of cells); where as many, those of most cells."""
    votes: dict[str, dict[Facts, tuple[int, int]]] = {}
    for machine, cells in files:
        count = votes.setdefault(machine.id, {})
        before = count.get(facts(machine), (0, 0))
        count[facts(machine)] = (before[0] + 1, before[1] + cells)
    return {name: max(count, key=count.__getitem__) for name, count in votes.items()}
