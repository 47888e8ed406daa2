"""Did somebody else's code change what the processes around it may use?

Any process may set the CPUs, the priority and the limits of every other one of its user, and what is forked from that
one inherits them: so a kernel could slow its rivals, which share its worker and its run. Linux
only, like the measuring.
"""

from __future__ import annotations

import contextlib
import os
import resource
from dataclasses import dataclass, fields

LIMITS = tuple(number for name, number in sorted(vars(resource).items()) if name.startswith("RLIMIT_"))


@dataclass(frozen=True)
class Allowed:
    """What the system allows a process."""

    cpus: frozenset[int]
    priority: int
    policy: int
    limits: tuple[tuple[int, int], ...]


def read(pid: int) -> Allowed | None:
    """What ``pid`` is allowed now; None where it is gone, or the system does not say."""
    try:
        return Allowed(
            cpus=frozenset(os.sched_getaffinity(pid)),
            priority=os.getpriority(os.PRIO_PROCESS, pid),
            policy=os.sched_getscheduler(pid),
            limits=tuple(resource.prlimit(pid, number) for number in LIMITS),
        )
    except (AttributeError, OSError, ValueError):
        return None


class Surroundings:
    """Some processes, as they are allowed to run where this is made."""

    def __init__(self, *pids: int) -> None:
        """Note what each of ``pids`` is allowed."""
        self._before = {pid: found for pid in pids if (found := read(pid)) is not None}

    def changed(self) -> str | None:
        """What somebody has changed since, in words, or None."""
        for pid, before in self._before.items():
            now = read(pid)
            for field in fields(Allowed) if now is not None else ():
                if getattr(before, field.name) != getattr(now, field.name):
                    return f"the {field.name} of the {'process' if pid == os.getpid() else 'worker'}"
        return None

    def restore(self) -> bool:
        """Give every process back what it had; whether that was allowed."""
        for pid, before in self._before.items():
            now = read(pid)
            if now is None or now == before:
                continue
            with contextlib.suppress(OSError):
                os.sched_setaffinity(pid, before.cpus)
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, pid, before.priority)
            for number, limit in zip(LIMITS, before.limits, strict=True):
                with contextlib.suppress(OSError, ValueError):
                    resource.prlimit(pid, number, limit)
        return self.changed() is None
